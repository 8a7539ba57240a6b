"""Domain randomisation: one agent for many cold starts, metric lags and bursts, and for whatever else of a scenario may vary.

Cold starts, lags and other fields are fixed for a cluster and differ between clusters; bursts are laid over the training
load; load scales are the environment's own (`load_scale`). An observation tells the measured cold start and the age of what
it shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from envs.scenario import Scenario
from traces.load import RECORDED, Load

HEIGHTS, MINUTES = (1.5, 4.0), (1.0, 20.0)  # of a burst: factor on the load, length; both log-uniform
SECONDS_A_DAY = 86_400.0


def with_cold_start(scenario: Scenario, cold_start_s: float) -> Scenario:
    """A scenario each of whose variants takes this long to load; all else, its name too, stays."""
    return scenario.with_(variants={
        name: variant.model_copy(update={"load_s": cold_start_s}) for name, variant in scenario.variants.items()})


def members_of(scenario: Scenario, cold_starts_s: str, metric_lags_s: str, vary: str = "") -> list[Scenario]:
    """As many scenarios as the longest list is long: cold starts and lags in turn, other fields each in an order of its own.

    Args:
        scenario: what they are made from.
        cold_starts_s: numbers with commas, seconds; empty: as it is.
        metric_lags_s: likewise, of the time that a metric takes to be seen.
        vary: fields of the scenario by path, each with its values: ``failures.load_cv=0/0.5,services.*.slo_s=0.5/0.75``.

    Raises:
        ValueError: a text that is no list of numbers of seconds, a field that is not there, or a value that it cannot have.
    """
    cold_starts, lags = _numbers("cold_starts_s", cold_starts_s), _numbers("metric_lags_s", metric_lags_s)
    fields = [_field(word) for word in vary.split(",") if word.strip()]
    count = max(len(cold_starts), len(lags), *(len(values) for _, values in fields), 1)
    rng = np.random.default_rng(0)
    orders = [rng.permutation(count) for _ in fields]  # so that no field goes with another one
    members = []
    for i in range(count):
        member = with_cold_start(scenario, cold_starts[i % len(cold_starts)]) if cold_starts else scenario
        if lags:
            member = member.with_(scrape=member.scrape.model_copy(update={"delay_s": lags[i % len(lags)]}))
        for (path, values), order in zip(fields, orders):
            try:
                member = _with_field(member, path, values[order[i] % len(values)])
            except (AttributeError, KeyError):
                raise ValueError(f"vary: scenario '{scenario.name}' has no field '{'.'.join(path)}'") from None
        members.append(member)
    return members


def _field(word: str) -> tuple[list[str], list[float]]:
    """A path and its values."""
    path, _, values = word.strip().partition("=")
    try:
        return path.split("."), [float(value) for value in values.split("/")]
    except ValueError:
        raise ValueError(f"vary '{word}': give a field and its values, such as failures.load_cv=0/0.5") from None


def _with_field(part: Any, path: Sequence[str], value: float) -> Any:
    """A part in which the field at a path has a value, checked again; ``*`` is every name of a mapping."""
    if not path:
        return value
    first, rest = path[0], path[1:]
    if isinstance(part, Mapping):
        return {**part, **{name: _with_field(part[name], rest, value) for name in (part if first == "*" else [first])}}
    changed = {first: _with_field(getattr(part, first), rest, value)}
    return part.with_(**changed) if isinstance(part, Scenario) else type(part)(**{**dict(part), **changed})


def with_bursts(loads: Mapping[str, Load], per_day: float, rng: np.random.Generator) -> dict[str, Load]:
    """The loads with bursts at random times, one factor for all bins of a burst.

    Raises:
        ValueError: recorded arrivals, which have no rate.
    """
    return {name: _with_bursts(load, per_day, rng) for name, load in loads.items()} if per_day else dict(loads)


def _with_bursts(load: Load, per_day: float, rng: np.random.Generator) -> Load:
    if load.model == RECORDED:
        raise ValueError("bursts_per_day: recorded arrivals have no rate that could be raised; leave it at 0")
    rate_rps = load.rate_rps.copy()
    span_s = rate_rps.size * load.bin_s
    for _ in range(rng.poisson(per_day * span_s / SECONDS_A_DAY)):
        height, minutes = (float(np.exp(rng.uniform(*np.log(ends)))) for ends in (HEIGHTS, MINUTES))
        begin_s = rng.uniform(0, span_s)
        rate_rps[int(begin_s / load.bin_s) : int(np.ceil((begin_s + 60 * minutes) / load.bin_s))] *= height
    return load._replace(rate_rps=rate_rps)


def _numbers(name: str, text: str) -> Sequence[float]:
    try:
        found = [float(word) for word in str(text).split(",") if word.strip()]
    except ValueError:
        found = [-1.0]
    if any(not x >= 0 for x in found):
        raise ValueError(f"{name} '{text}': give seconds with commas between them, such as 10,60,300")
    return found
