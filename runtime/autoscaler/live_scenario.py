"""Which parts of a scenario a running autoscaler takes up from its file, and which need a restart.

What names and shapes things stays: services, chains, variants, kinds, device types, tenants, the interval. What measures or
prices them may change: SLOs, weights, prices, budgets, accuracies, load times, profiles, bounds (`max_count`).
"""

from __future__ import annotations

from typing import Any

from envs.scenario import Scenario


def needs_restart(running: Scenario, wanted: Scenario) -> str:
    """What a running autoscaler cannot take up, in one line; "" where it can take up all."""
    now, then = _shape(running), _shape(wanted)
    changed = [part for part in now if now[part] != then[part]]
    if not changed:
        return ""
    return f"{running.name}: {', '.join(changed)} changed, which takes a restart of the autoscaler (its journal goes on)"


def _shape(scenario: Scenario) -> dict[str, Any]:
    return {
        "name": scenario.name, "interval_s": scenario.interval_s, "scrape": scenario.scrape,
        "devices": set(scenario.devices), "variants": set(scenario.variants), "tenants": set(scenario.tenants),
        "services": {name: (set(s.variants), s.tenant) for name, s in scenario.services.items()},
        "applications": {name: (a.services, a.cascade) for name, a in scenario.applications.items()},
        "candidates": [c.kinds for c in scenario.candidates],
    }  # fmt: skip
