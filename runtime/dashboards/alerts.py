"""Alert rules: what an operator wants to be woken for, and what to look at first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runtime import metrics as m

VIOLATIONS = "tidal:violation_ratio:rate5m"
_ANSWERED = f"sum by (application) (rate({m.SETTLED.name}{{fate='answered'}}[5m]))"
_SETTLED = f"sum by (application) (rate({m.SETTLED.name}[5m]))"
_REFUSED = f"sum by (application) (rate({m.SETTLED.name}{{fate=~'rejected|dropped'}}[5m]))"


@dataclass(frozen=True)
class Alert:
    """One rule.

    Attributes:
        name: of the alert.
        condition: PromQL; any series it returns fires.
        lasts: how long it must hold.
        severity: page: somebody must look now; ticket: in office hours.
        summary: what is wrong; labels as Prometheus' templates.
        look: where to look first.
    """

    name: str
    condition: str
    lasts: str
    severity: str
    summary: str
    look: str


def alerts(job: str, autoscaler_job: str) -> tuple[Alert, ...]:
    """All of them, for these `job_name`s in Prometheus."""
    return (
        Alert("TidalTargetDown", f'up{{job="{job}"}} == 0', "1m", "page",
              "{{ $labels.instance }} cannot be scraped", "Is the gateway up? `tidal doctor --scrape URL`"),
        Alert("TidalMetricsAbsent", f"absent({m.EXPOSED_AT.name})", "2m", "page",
              "no Tidal cluster is scraped", "Prometheus' scrape_configs; `tidal doctor --prometheus URL --scenario NAME`"),
        Alert("TidalMetricsStale", f"time() - {m.EXPOSED_AT.name} > 30", "1m", "page",
              "metrics of {{ $labels.instance }} are {{ $value | humanizeDuration }} old", "Is the gateway hung?"),
        Alert("TidalViolationsHigh", f"{VIOLATIONS} > 0.05", "5m", "page",
              "{{ $value | humanizePercentage }} of {{ $labels.application }} violate the SLO",
              "`tidal explain`: what was decided; is the budget used up?"),
        Alert("TidalRefusing", f"{_REFUSED} / {_SETTLED} > 0.05", "2m", "page",
              "{{ $value | humanizePercentage }} of {{ $labels.application }} are rejected or dropped",
              "Load beyond the budget, or replicas that do not come up"),
        Alert("TidalBudgetUsedUp", f"{m.DEVICE_HELD.name} >= {m.DEVICE_BUDGET.name} and on () max({VIOLATIONS}) > 0.01", "10m",
              "ticket", "all {{ $labels.device }} are held, and requests violate their SLO", "Raise the budget"),
        Alert("TidalReplicaStuck", f"time() - {m.PENDING_SINCE.name} > 600", "1m", "ticket",
              "a replica of {{ $labels.kind }} has been pending for {{ $value | humanizeDuration }}",
              "`tidal status`; logs of its worker"),
        Alert("TidalFlapping", f"changes({m.VERSION.name}[10m]) > 20", "5m", "ticket",
              "{{ $value }} deployments in ten minutes", "`fall_cooldown_s` and `max_fall` of the limits"),
        Alert("TidalNobodyLeads", f'absent(tidal_autoscaler_leading{{job="{autoscaler_job}"}} == 1)', "1m", "page",
              "no autoscaler decides; the cluster keeps its last deployment", "Is `tidal autoscale` up? Its log, /healthz"),
        Alert("TidalSeveralLead", "sum(tidal_autoscaler_leading) > 1", "1m", "page",
              "{{ $value }} autoscalers decide at the same time", "They must share one journal folder"),
        Alert("TidalBlind", "tidal_autoscaler_blind == 1", "1m", "page",
              "the load is not known; what is in force stays", "`tidal doctor`; the autoscaler's log says why"),
        Alert("TidalPolicyFails", "tidal_autoscaler_breaker_open == 1", "1m", "ticket",
              "the policy failed several times; the baseline decides", "`tidal_autoscaler_policy_failures_total` by cause"),
        Alert("TidalAnotherWriter", 'increase(tidal_autoscaler_decisions_total{outcome="conflict"}[10m]) > 2', "0m", "ticket",
              "somebody else changes the deployment too", "Another autoscaler, or people: pin or pause"),
        Alert("TidalJournalFails", "increase(tidal_autoscaler_journal_failures_total[10m]) > 0", "0m", "ticket",
              "decisions are not journaled", "Is the disk full?"),
    )  # fmt: skip


def rules(job: str = "tidal", autoscaler_job: str = "tidal-autoscaler") -> dict[str, Any]:
    """The rule file of Prometheus, as a table."""
    recorded = {"record": VIOLATIONS, "expr": f"1 - {_ANSWERED} / {_SETTLED}"}
    told = [{"alert": a.name, "expr": a.condition, "for": a.lasts, "labels": {"severity": a.severity},
             "annotations": {"summary": a.summary, "look": a.look}} for a in alerts(job, autoscaler_job)]  # fmt: skip
    return {"groups": [{"name": "tidal", "rules": [recorded, *told]}]}
