"""An operator's limits as a YAML file: the fields of `envs.envelope.Limits`, all of them optional.

    max_rise: 2               # of each candidate's level, within change_window_s
    change_window_s: 120
    fall_cooldown_s: 300
    panic_violation_ratio: 0.1
    schedule: [...]           # floors, ceilings and pins for hours of the week: `runtime.autoscaler.schedule`
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import ConfigDict, ValidationError, create_model

from envs.envelope import Limits
from envs.scenario import Scenario
from envs.yaml_lines import read
from runtime.autoscaler.schedule import ScheduledLimits, Span


def read_limits(path: Path, scenario: Scenario) -> Limits:
    """The limits in a file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not YAML, names something else, or a limit makes no sense for the scenario.
    """
    try:
        values = read(path.read_text(encoding="utf-8"))
        said = dict(_form().model_validate({} if values is None else values))
        limits = ScheduledLimits(spans=said.pop("schedule"), zone=ZoneInfo(said.pop("timezone")), **said)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{path}: {': '.join([*map(str, first['loc']), first['msg']])}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    except (ZoneInfoNotFoundError, IsADirectoryError) as error:
        raise ValueError(f"{path}: timezone: {error}; give a name such as Europe/Berlin") from error
    if problem := next(filter(None, (_problem(each, scenario) for each in (limits, *limits.each()))), ""):
        raise ValueError(f"{path}: {problem}")
    return limits


def _form() -> Any:
    hints = get_type_hints(Limits)
    form: dict[str, Any] = {f.name: (hints[f.name], f.default) for f in fields(Limits)}
    form |= {"schedule": (tuple[Span, ...], ()), "timezone": (str, "UTC")}
    return create_model("Limits", __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **form)


def _problem(limits: Limits, scenario: Scenario) -> str:
    n = len(scenario.candidates)
    for name in ("min_levels", "max_levels"):
        bounds = getattr(limits, name)
        if bounds is not None and len(bounds) != n:
            return f"{name}: give {n} levels, one for each candidate of {scenario.name}, not {len(bounds)}"
    for i, (low, high) in enumerate(zip(limits.min_levels or (), limits.max_levels or ())):
        if low > high:
            return f"candidate {i}: min_levels {low} is above max_levels {high}"
    below = (f"{name}: {value} is below 0" for name, value in vars(limits).items()
             if isinstance(value, (int, float)) and value < 0)
    return next(below, "")
