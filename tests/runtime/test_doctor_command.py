"""`tidal doctor`: what it finds wrong, in pages made by hand, in those of every scenario, and through a real Prometheus."""

import json
import shutil
import time
from http.server import BaseHTTPRequestHandler

import pytest
from simulated_service import SimulatedService, serving, swelling_load
from test_sources_prometheus import prometheus, until

from envs.scenario_file import load, names
from runtime import metrics as m
from runtime.__main__ import main
from runtime.deployment_json import to_json
from runtime.doctor.ask import seconds
from runtime.doctor.examine import examine_clock, examine_scrape_interval
from runtime.doctor.expected import NEEDED, ONLY_SOMETIMES, expected
from runtime.sources.page import parsed

EXPOSED = m.EXPOSED_AT.name


class Live(BaseHTTPRequestHandler):
    """A page of `text`, exposed now plus `ahead_s`, or for ever at `stuck_s`; and a control API of version `version`."""

    text, ahead_s, stuck_s, version, scenario, status = "", 0.0, None, "1", None, 200

    def do_GET(self):
        if self.path == "/metrics":
            at_s = time.time() + self.ahead_s if self.stuck_s is None else self.stuck_s
            lines = [f"{EXPOSED} {at_s!r}" if line.startswith(f"{EXPOSED} ") else line for line in self.text.splitlines()]
            self._answer(200, "\n".join(lines) + "\n")
        elif self.path == "/v1/deployment" and self.status == 200:
            deployment = to_json(self.scenario.initial_deployment)
            self._answer(200, json.dumps({"deployment": deployment, "version": self.version, "decision_id": ""}))
        else:
            self._answer(self.status, json.dumps({"error": "a bearer token is needed", "ready": True}))

    def _answer(self, status, body):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def page():
    """A page of live-demo after some intervals, with the version that a cluster adds."""
    scenario = load("live-demo")
    service = SimulatedService(scenario, swelling_load(scenario, 5, 50))
    service.advance_to(4 * scenario.interval_s)
    answers = "".join(f'{m.ANSWERS.name}{{service="classify",variant="{v}",tenant="default"}} 1\n' for v in scenario.variants)
    return service.page().decode() + f"{m.VERSION.name} 1\n" + answers


def doctor(capsys, *arguments):
    """Exit code, and the JSON that it prints."""
    code = main(["doctor", "--scenario", "live-demo", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def wrong(told):
    """(check or series, text) of all that is bad."""
    series = [(row["series"], "; ".join([*row["missing"], *map(" ".join, row["left_out"].items())])) for row in told["series"]
              if row["status"] == "bad"]
    return [(f["check"], f["text"]) for f in told["findings"] if f["status"] == "bad"] + series


def examined(capsys, page, *arguments, **attributes):
    with serving(Live, text=page, scenario=load("live-demo"), **attributes) as url:
        control = ["--control", url] if "version" in attributes or "status" in attributes else []
        return doctor(capsys, "--scrape", f"{url}/metrics", *control, *arguments)


QUICK = ("live-demo", "tenants", "video")  # kernels that other tests compile too; the others are much like one of them


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in names()])
def test_what_is_expected_is_what_a_cluster_of_any_scenario_exports(name):
    scenario = load(name)
    service = SimulatedService(scenario, swelling_load(scenario, 5, 20))
    there = set(parsed(service.page().decode()).values)
    asked = expected(scenario)
    for series, keys in asked.items():
        if series not in (m.VERSION, m.ANSWERS):  # a gateway adds these
            assert keys <= there, series.name
    known = set().union(*asked.values())
    others = {key[0] for key in there - known if key[-1] != "failed"}
    assert others <= {series.name for series in ONLY_SOMETIMES}
    assert set(m.CONTRACT) == set(asked) | set(ONLY_SOMETIMES)


def test_what_observations_are_made_of_is_needed():
    for series in (m.EXPOSED_AT, m.OFFERED, m.SETTLED, m.LATENCY, m.REPLICAS, m.BUSY_SERVERS):
        assert series in NEEDED
    for series in (m.COST, m.VERSION, m.ANSWERS, m.DEVICE_HELD):
        assert series not in NEEDED


def test_a_whole_page_and_its_cluster_are_healthy(capsys, page):
    code, told = examined(capsys, page, version="1")
    assert (code, told["healthy"], wrong(told)) == (0, True, [])
    assert {f["check"] for f in told["findings"]} == {"target", "clock", "control API", "version"}
    assert len(told["series"]) == len(m.CONTRACT)


def test_missing_numbers_are_told_with_their_labels(capsys, page):
    cut = "\n".join(line for line in page.splitlines() if not line.startswith(m.SERVICE_QUEUE.name)
                    and 'fate="late"' not in line)
    code, told = examined(capsys, cut)
    assert code == 1
    assert wrong(told) == [(m.SETTLED.name, "application=classify,fate=late"), (m.SERVICE_QUEUE.name, "service=classify")]


def test_what_only_people_need_is_noted_and_does_not_make_it_ill(capsys, page):
    code, told = examined(capsys, "\n".join(line for line in page.splitlines() if m.COST.name not in line))
    assert code == 0
    assert [row["series"] for row in told["series"] if row["status"] == "note"] == [m.COST.name]


@pytest.mark.parametrize("value, why", [("NaN", "NaN"), ("+Inf", "inf")])
def test_numbers_that_are_none_are_told_as_what_they_are(capsys, page, value, why):
    lines = [f"{line.rpartition(' ')[0]} {value}" if line.startswith(f"{m.OFFERED.name}{{") else line
             for line in page.splitlines()]
    code, told = examined(capsys, "\n".join(lines))
    assert code == 1
    assert wrong(told) == [(m.OFFERED.name, f"application=classify; application=classify {why}")]


def test_a_number_that_is_there_twice_is_none(capsys, page):
    twice = next(line for line in page.splitlines() if line.startswith(f"{m.OFFERED.name}{{"))
    code, told = examined(capsys, page.replace(twice, f"{twice}\n{twice}", 1))
    assert code == 1 and wrong(told) == [(m.OFFERED.name, "application=classify; application=classify twice")]


def test_another_scenario_is_told_by_its_names(capsys, page):
    code, told = examined(capsys, page.replace('"classify"', '"translate"'))
    assert code == 1
    names = [text for check, text in wrong(told) if check == "names"]
    assert len(names) == 2 and all("translate: not of the scenario live-demo" in text for text in names)


def test_a_clock_that_is_wrong_and_a_page_that_stands_still_are_told_apart(capsys, page):
    code, told = examined(capsys, page, ahead_s=60.0)
    assert code == 1 and wrong(told)[0][0] == "clock" and " ahead of ours" in wrong(told)[0][1]
    code, told = examined(capsys, page, ahead_s=-60.0)
    assert code == 1 and wrong(told)[0][0] == "clock" and " behind ours" in wrong(told)[0][1]
    code, told = examined(capsys, page, stuck_s=time.time() - 60)
    assert code == 1 and wrong(told)[0][0] == "age" and "the autoscaler holds" in wrong(told)[0][1]


def test_what_is_no_page_of_ours_and_what_does_not_answer(capsys):
    code, told = examined(capsys, "up 1")
    assert code == 1 and ("target", f"not a page of the metric contract: no {EXPOSED}") in wrong(told)
    code, told = doctor(capsys, "--scrape", "http://127.0.0.1:9/metrics", "--prometheus", "http://127.0.0.1:9",
                        "--control", "http://127.0.0.1:9")
    assert code == 1 and [check for check, _ in wrong(told)] == ["reachable", "reachable", "control API"]


def test_one_target_of_two_that_is_silent_makes_it_ill(capsys, page):
    with serving(Live, text=page) as url:
        code, told = doctor(capsys, "--scrape", f"{url}/metrics", "--scrape", "http://127.0.0.1:9/metrics")
    assert code == 1 and [check for check, _ in wrong(told)] == ["target"]


def test_metrics_of_another_version_than_the_control_api_says(capsys, page):
    code, told = examined(capsys, page, version="7")
    assert code == 1 and wrong(told)[0][0] == "version" and "the control API says 7" in wrong(told)[0][1]


def test_a_control_api_that_wants_a_token(capsys, page):
    code, told = examined(capsys, page, status=401)
    assert code == 1 and "HTTP 401 a bearer token is needed; give --token-file" in wrong(told)[0][1]


def test_the_table_says_it_all_in_words(capsys, page):
    cut = "\n".join(line for line in page.splitlines() if not line.startswith(m.SERVICE_QUEUE.name))
    with serving(Live, text=cut) as url:
        assert main(["doctor", "--scenario", "live-demo", "--scrape", f"{url}/metrics"]) == 1
    out = capsys.readouterr().out
    assert "missing service=classify" in out and "0 of 1" in out and out.strip().endswith("live-demo: 1 thing is wrong")


@pytest.mark.parametrize("arguments, said", [
    ([], "say what to look at"), (["--scrape", "localhost:9090"], "give a URL that begins with http://"),
    (["--scrape", "http://localhost:9090", "--interval", "0"], "--interval: give seconds > 0")])
def test_wrong_arguments_are_told_in_one_line(capsys, arguments, said):
    with pytest.raises(SystemExit) as caught:
        main(["doctor", "--scenario", "live-demo", *arguments])
    assert caught.value.code == 2 and said in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("text, value", [("1s", 1), ("1m30s", 90), ("200ms", 0.2), ("1h", 3600), ("", float("nan"))])
def test_durations_as_prometheus_writes_them(text, value):
    assert seconds(text) == pytest.approx(value, nan_ok=True)


@pytest.mark.parametrize("scrape_s, status", [(1, "ok"), (5, "ok"), (6, "note"), (10, "note"), (15, "bad")])
def test_a_scrape_interval_beside_an_interval_of_ten_seconds(scrape_s, status):
    assert examine_scrape_interval("prometheus", scrape_s, 10.0).status == status


@pytest.mark.parametrize("ahead_s, interval_s, status", [(0.2, 1, "ok"), (-0.3, 1, "bad"), (0.9, 10, "ok"), (-1.1, 10, "bad")])
def test_clocks_may_differ_by_a_tenth_of_the_interval_or_a_quarter_of_a_second(ahead_s, interval_s, status):
    assert examine_clock("scrape", ahead_s, interval_s, "the target").status == status


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="no prometheus: install the package prometheus")
def test_through_a_real_prometheus(capsys, tmp_path, page):
    with serving(Live, text=page, scenario=load("live-demo"), version="1") as url:
        target = url.removeprefix("http://")
        with prometheus(tmp_path, target) as server:
            arguments = ["--prometheus", server, "--control", url]
            seen = {("scrape interval", f"prometheus {target}"), ("age", f"prometheus {target}"), ("clock", "prometheus"),
                    ("clock", f"prometheus {target}"), ("version", "prometheus")}  # some need more than the first scrape
            code, told = until(lambda: _if(doctor(capsys, *arguments), lambda found: found[0] == 0 and seen <= said(found[1])))
            assert wrong(told) == []
            code, told = doctor(capsys, *arguments, "--interval", "0.1")
            assert code == 1 and "scrape interval" in [check for check, _ in wrong(told)]
            code, told = doctor(capsys, "--prometheus", server, "--job", "other")
            assert code == 1 and wrong(told) == [("targets", "none of job 'other'; it has tidal; give --job")]
    with prometheus(tmp_path, target) as server:  # the target has gone
        _, told = until(lambda: _if(doctor(capsys, "--prometheus", server), lambda found: found[1]["series"]
                                    and "scrape" in [check for check, _ in wrong(found[1])]))
        assert "target" in [check for check, _ in wrong(told)]


def said(told):
    return {(finding["check"], finding["source"]) for finding in told["findings"]}


def _if(found, true):
    return found if true(found) else None
