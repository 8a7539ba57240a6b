"""What pydantic found wrong with a scenario, said to the author of the file."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, get_args, get_origin

from envs.scenario import Part, Scenario
from envs.scenario_checks import Path


def item_type(annotation: Any) -> Any:
    """The type of the entries of a Mapping[str, X] or a tuple[X, ...]; None for any other type."""
    if is_table(annotation):
        return get_args(annotation)[1]
    return get_args(annotation)[0] if get_origin(annotation) is tuple else None


def is_table(annotation: Any) -> bool:
    """True for a Mapping[str, X]."""
    origin = get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def reason(error: Any) -> str:
    """The reason of one entry of `ValidationError.errors()`."""
    match error["type"]:
        case "missing":
            return "missing"
        case "extra_forbidden":
            known = _fields_at(error["loc"][:-1])
            near = difflib.get_close_matches(str(error["loc"][-1]), known, 1)
            return f"unknown field; did you mean '{near[0]}'?" if near else f"unknown field; known: {', '.join(known)}"
        case "value_error":
            return str(error["ctx"]["error"])
        case _:
            return f"{error['msg'].removeprefix('Input ')}, not {error['input']!r}"


def _fields_at(where: Path) -> list[str]:
    """The fields that the part at a path has."""
    part: Any = Scenario
    for step in where:
        if isinstance(part, type) and issubclass(part, Part):
            part = part.model_fields[str(step)].annotation
        else:
            part = item_type(part)
    fields = list(part.model_fields) if isinstance(part, type) and issubclass(part, Part) else []
    return [*fields, "capacities"] if part is Scenario else fields
