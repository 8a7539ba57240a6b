"""A scenario in which everything happens faster: the same problem, in less time.

All that takes time takes a part of it, and all that comes per second comes so many times as often; so a simulated cluster does
the same to the last request, only sooner. A live one does not shrink its own times (messages, timers), which weigh more then.
"""

from __future__ import annotations

from typing import Any

from envs.scenario import Part, Scenario

TIMES = ("interval_s", "decision_delay_s", "overhead_s", "in_place_resize_s")
PARTS = {"admission": ("queue_limit_s", "drop_after_s"), "failures": ("mean_time_s", "detection_s"),
         "scrape": ("interval_s", "delay_s")}  # fmt: skip
TABLES = {"variants": "load_s", "services": "slo_s", "applications": "slo_s"}


def faster(scenario: Scenario, factor: float) -> Scenario:
    """The scenario `factor` times as fast. Its workload is not touched: whoever plays it plays it that much faster."""
    changes: dict[str, Any] = {name: _less(getattr(scenario, name), factor) for name in TIMES}
    for name, fields in PARTS.items():
        changes[name] = _part(getattr(scenario, name), factor, *fields)
    for name, field in TABLES.items():
        changes[name] = {key: _part(row, factor, field) for key, row in getattr(scenario, name).items()}
    changes["tenants"] = {name: _part(row, 1 / factor, "quota_rps") for name, row in scenario.tenants.items()}
    changes["candidates"] = tuple(_part(row, factor, "max_wait_s") for row in scenario.candidates)
    return scenario.with_(**changes, profile=scenario.profile.scaled(1 / factor))


def _part(part: Part, factor: float, *fields: str) -> Part:
    """Made anew: a copy would keep what the part has worked out of the old times."""
    said = {name: getattr(part, name) for name in type(part).model_fields}
    return type(part)(**{**said, **{field: _less(said[field], factor) for field in fields}})


def _less(time_s: float | None, factor: float) -> float | None:
    return None if time_s is None else time_s / factor
