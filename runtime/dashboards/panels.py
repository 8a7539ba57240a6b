"""What the dashboard shows: rows of panels, each with its queries. `RATE` stands for the time that rates are over."""

from __future__ import annotations

from dataclasses import dataclass

from runtime import metrics as m

RATE = "$__rate_interval"  # Grafana's own: at least four scrapes


@dataclass(frozen=True)
class Panel:
    """One picture.

    Attributes:
        title: above it.
        unit: Grafana's name of it.
        queries: PromQL by legend; labels in braces.
        text: what to look for in it.
    """

    title: str
    unit: str
    queries: dict[str, str]
    text: str


def _rate(series: m.Series, *by: str, where: str = "") -> str:
    return f"sum by ({', '.join(by)}) (rate({series.name}{where}[{RATE}]))"


def _quantile(q: float) -> str:
    return f"histogram_quantile({q:g}, sum by (le, application) (rate({m.BUCKET}[{RATE}])))"


_ANSWERED = _rate(m.SETTLED, "application", where="{fate='answered'}")

ROWS: dict[str, tuple[Panel, ...]] = {
    "The service": (
        Panel("Offered load", "reqps", {"{{application}}": _rate(m.OFFERED, "application")},
              "Requests that arrive, served or not."),
        Panel("Violations", "percentunit",
              {"{{application}}": f'1 - {_ANSWERED} / {_rate(m.SETTLED, "application")}'},
              "Share of requests that were late, rejected, dropped or failed."),
        Panel("Latency", "s", {"p50 {{application}}": _quantile(0.5), "p95 {{application}}": _quantile(0.95),
                               "p99 {{application}}": _quantile(0.99)}, "Of answers, late ones too."),
        Panel("What became of requests", "reqps", {"{{fate}}": _rate(m.SETTLED, "fate")}, "By fate, all applications."),
        Panel("Accuracy", "percentunit",
              {"{{application}}": f'{_rate(m.ACCURACY, "application")} / {_rate(m.SETTLED, "application")}'},
              "Mean over all requests; one that is not answered in time counts 0."),
        Panel("Answers by variant", "reqps", {"{{service}} {{variant}}": _rate(m.ANSWERS, "service", "variant")},
              "Which model answered."),
    ),
    "The cluster": (
        Panel("Replicas by state", "short", {"{{state}}": f"sum by (state) ({m.REPLICAS.name})"},
              "Pending for long: replicas do not come up."),
        Panel("Ready replicas", "short", {"{{kind}}": f"{m.REPLICAS.name}{{state='ready'}}"}, "By kind."),
        Panel("Requests waiting", "short", {"{{service}}": f"sum by (service) ({m.SERVICE_QUEUE.name})"}, "By service."),
        Panel("How busy replicas are", "percentunit",
              {"{{kind}}": f'{_rate(m.BUSY_SERVERS, "kind")} / {_rate(m.READY_SERVERS, "kind")}'}, "Of the ready ones."),
        Panel("Devices", "short", {"held {{device}}": m.DEVICE_HELD.name, "budget {{device}}": m.DEVICE_BUDGET.name},
              "Cores or devices held, and how many may be."),
        Panel("Cost", "short", {"{{device}}": _rate(m.COST, "device")}, "Price of what is held."),
        Panel("Deployments", "short", {"version": m.VERSION.name}, "Each change adds one."),
        Panel("Age of the metrics", "s", {"{{instance}}": f"time() - {m.EXPOSED_AT.name}"},
              "Beyond an interval the autoscaler holds what is in force."),
    ),
    "The autoscaler": (
        Panel("Decisions", "ops", {"{{outcome}}": f"sum by (outcome) (rate(tidal_autoscaler_decisions_total[{RATE}]))"},
              "Conflict: somebody else changes the deployment too."),
        Panel("Held by the envelope", "ops", {"bound": f"rate(tidal_autoscaler_bound_decisions_total[{RATE}])"},
              "Decisions of the policy that the envelope changed."),
        Panel("State", "short", {"leading": "sum(tidal_autoscaler_leading)", "blind": "max(tidal_autoscaler_blind)",
                                 "breaker open": "max(tidal_autoscaler_breaker_open)"},
              "Leading: 1. Blind: the load is not known. Breaker: the baseline decides."),
        Panel("Time of a decision", "s",
              {"p99": f"histogram_quantile(0.99, sum by (le) (rate(tidal_autoscaler_tick_seconds_bucket[{RATE}])))",
               "mean": f"rate(tidal_autoscaler_tick_seconds_sum[{RATE}]) / rate(tidal_autoscaler_tick_seconds_count[{RATE}])"},
              "From the time of decision until its outcome is known."),
        Panel("Failures", "ops", {"metrics": f"rate(tidal_autoscaler_source_failures_total[{RATE}])",
                                  "control API": f"rate(tidal_autoscaler_actuator_failures_total[{RATE}])",
                                  "journal": f"rate(tidal_autoscaler_journal_failures_total[{RATE}])",
                                  "skipped": f"rate(tidal_autoscaler_skipped_ticks_total[{RATE}])"}, "All should be 0."),
    ),
}  # fmt: skip
