"""A live run made by hand, for tests of what is said about one."""

from dataclasses import replace

from runtime.demo.record import Kill, Made, Moment, Record

CLIENTS = {"requests": 200, "answered": 200, "late": 5, "slo_s": 0.25, "other_statuses": {},
           "served_by": {"large": 150, "small": 50}, "p50_s": 0.02, "p95_s": 0.1, "p99_s": 0.2,
           "began_s": 1000.0, "kept_up": True, "sent_late_ratio": 0.01, "client_cpu_s": 0.5}  # fmt: skip
KILL = Kill(5.0, 4711, replica=1, variant="large", seen_s=5.02, replaced_s=6.5)


def made(t_s=4.0, changes="1 x large → 1 x small", reason="load 93 -> 140 req/s", status="applied"):
    return Made(t_s, "infadapter", reason, "1 x small", changes, status)


def moment(t_s, rps=20.0, p99_s=0.1, violations=0.0):
    return Moment(t_s, rps, violations, 0.01, p99_s, {"large": 1}, {"small": 1})


def run(**changes):
    moments = (moment(1.0), moment(2.0, None, None, None), moment(3.0, 40.0, 0.4, 0.5))
    whole = Record("live-resnets", "infadapter", "scrape", "twenty minutes", 10, 0.25, {"small": 0.7, "large": 0.8}, CLIENTS,
                   (made(-2.0, ""), made(), made(6.0, "other shares"), made(8.0, "", status="unchanged")), KILL, moments, (),
                   {"serve": "tidal serve --scenario <x>"})  # fmt: skip
    return replace(whole, **changes)
