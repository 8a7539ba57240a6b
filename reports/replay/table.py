"""The counterfactual table: a row for each policy, each figure with its lowest and highest draw, beside what was recorded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from envs.contract import CPU
from envs.scenario import Scenario
from reports.measures import ACCURACY, COST, LATENCY_P99, VIOLATIONS, Measure, cost_of
from reports.replay.play import AGAIN, Played
from reports.replay.recording import Recording

RECORDED = "recorded"
HELD = Measure("held", "held_units", "", -1, "Held", "units (cores, devices or replicas) held on average, overlap included")
CHANGES = Measure("changes", "changes", "", -1, "Changes", "decisions that changed the deployment")
FIGURES = (VIOLATIONS, HELD, COST, ACCURACY, LATENCY_P99)
DASH = "–"


@dataclass(frozen=True)
class Range:
    """A figure: its mean over the draws, the lowest and the highest; all the same where it was recorded."""

    value: float
    low: float
    high: float


UNKNOWN = Range(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Row:
    """One policy. `figures` by name of its measure; `against`: units held against the row `AGAIN`, a ratio, draw by draw."""

    policy: str
    figures: Mapping[str, Range]
    against: Range = UNKNOWN
    hindsight: bool = False
    draws: int = 1
    values: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # of each draw


def rows(recording: Recording, scenario: Scenario, played: Sequence[Played], hindsight: Sequence[str]) -> list[Row]:
    """The recorded row, then one for each policy in the order in which they were played."""
    names = list(dict.fromkeys(one.policy for one in played))
    of_one = per_replica(scenario)
    again = {one.draw: one.figures for one in played if one.policy == AGAIN}
    found = [recorded_row(recording, scenario)]
    for name in names:
        draws = sorted((one for one in played if one.policy == name), key=lambda one: one.draw)
        values = {f: tuple(one.figures[f] / (of_one if f == HELD.name else 1) for one in draws) for f in draws[0].figures}
        against = [one.figures["held"] / again[one.draw]["held"] - 1 for one in draws
                   if one.draw in again and again[one.draw]["held"] > 0]
        found.append(Row(name, {f: _range(v) for f, v in values.items()}, _range(against) if name != AGAIN else UNKNOWN,
                         name in hindsight, len(draws), values))  # fmt: skip
    return found


def recorded_row(recording: Recording, scenario: Scenario) -> Row:
    """What the record itself says; a dash where it says nothing."""
    known = recording.known
    found: dict[str, Range] = {VIOLATIONS.name: recorded_violations(recording, scenario)}
    held = recording.replicas[known]
    of_one = per_replica(scenario)
    if np.isfinite(recording.held[known]).any():
        found[HELD.name] = _same(float(np.nanmean(recording.held[known])) / of_one)
    elif recording.deployments:
        counts = [sum(d.units(name) for name in scenario.devices) for _, d in recording.deployments]
        first = [i for i, _ in recording.deployments]
        per_step = np.repeat(counts, np.diff([*first, recording.steps]))
        found[HELD.name] = _same(float(per_step[known[first[0] :]].mean()) / of_one)
    elif np.isfinite(held).any() and len(scenario.kinds) == 1:
        found[HELD.name] = _same(float(np.nanmean(held)))
    if np.isfinite(recording.cost).any():
        found[COST.name] = _same(float(np.nanmean(recording.cost)))
    if np.isfinite(recording.accuracy).any():
        told = np.isfinite(recording.accuracy)
        found[ACCURACY.name] = _same(float(recording.accuracy[told].sum() / max(np.nansum(recording.requests[told]), 1)))
    if recording.latencies is not None:
        found[LATENCY_P99.name] = _quantile(recording, 0.99)
    return Row(RECORDED, found)


def recorded_violations(recording: Recording, scenario: Scenario) -> Range:
    """The share of bad answers as told, or between what the buckets around the SLO allow."""
    told = np.isfinite(recording.violations) & recording.known
    if told.any():
        return _same(float(recording.violations[told].sum() / max(recording.requests[told].sum(), 1.0)))
    if recording.latencies is None or recording.latencies.counts.sum() == 0:
        return UNKNOWN
    slo_s = next(iter(scenario.applications.values())).slo_s
    failed = float(np.nansum(recording.failed))
    answered = float(recording.latencies.counts.sum())
    few, many = ((late + failed) / (answered + failed) for late in recording.latencies.above(slo_s))
    return Range((few + many) / 2, few, many)


def terminal_table(found: Sequence[Row], scenario: Scenario, width: int) -> Table:
    """A rich table, each figure with the lowest and highest draw under it."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), header_style="bold", show_edge=False, leading=1)
    table.add_column("policy", overflow="fold", max_width=24, min_width=14)
    shown = columns(scenario, found)
    for measure in shown:
        table.add_column(heading(measure, scenario), justify="right", no_wrap=True)
    table.add_column("held against\nas recorded", justify="right", no_wrap=True)
    for row in found:
        cells = [Text(row.policy, "dim" if row.hindsight else "bold" if row.policy == RECORDED else "")]
        cells += [_cell(measure, row.figures.get(measure.name, UNKNOWN)) for measure in shown]
        table.add_row(*cells, _cell(COST, row.against, sign=True))
    return table


def columns(scenario: Scenario, found: Sequence[Row]) -> list[Measure]:
    """Figures worth a column: accuracy only where there is a choice, cost only where units differ in price or it is money."""
    kept = [m for m in FIGURES if any(math.isfinite(row.figures.get(m.name, UNKNOWN).value) for row in found)]
    one_variant = len({v for s in scenario.services.values() for v in s.variants}) == 1
    plain = len(scenario.devices) == 1 and scenario.currency is None
    return [cost_of(scenario) if m is COST else m for m in kept
            if not (m is ACCURACY and one_variant) and not (m is COST and plain)]


def heading(measure: Measure, scenario: Scenario) -> str:
    """Name and unit of a column."""
    if measure is HELD:
        return f"held\n{unit(scenario)}"
    words = {VIOLATIONS: "% of requests", COST: "% of budget"}
    return f"{measure.name}\n{words.get(measure, measure.shown_unit)}"


def unit(scenario: Scenario) -> str:
    """What is held."""
    if len(scenario.kinds) == 1 or all(kind.shape.units == 1 for kind in scenario.kinds):
        return "replicas"
    return "cores" if set(scenario.devices) == {CPU} else "devices"


def per_replica(scenario: Scenario) -> int:
    """Units of one replica, where there is one kind only, and replicas are what is told."""
    return scenario.kinds[0].shape.units if len(scenario.kinds) == 1 else 1


def show(measure: Measure, found: Range, sign: bool = False) -> tuple[str, str]:
    """A figure and its range as people read them; the range is empty where there is none."""
    if not math.isfinite(found.value):
        return DASH, ""
    if measure in (HELD, CHANGES):
        return f"{found.value:.3g}", f"[{found.low:.3g}, {found.high:.3g}]" if found.low < found.high else ""
    told = measure.show(found.value, sign=sign, unit=False)
    return told, measure.interval(found.low, found.high, sign=sign) if found.low < found.high else ""


def record_rows(found: Sequence[Row], scenario: Scenario) -> list[dict[str, Any]]:
    """The table as rows of the JSON record and the CSV."""
    how = "mean, lowest and highest of the draws; the recorded row as the record says it"
    figures = (*FIGURES, CHANGES)
    return [{"figure": m.name, "policy": row.policy, "value": r.value, "low": r.low, "high": r.high,
             "unit": unit(scenario) if m is HELD else m.unit, "hindsight": row.hindsight, "draws": row.draws, "how": how}
            for row in found for m in figures if (r := row.figures.get(m.name, UNKNOWN)) is not UNKNOWN]  # fmt: skip


def _cell(measure: Measure, found: Range, sign: bool = False) -> Text:
    value, between = show(measure, found, sign)
    return Text.assemble(value, ("\n" + between, "dim")) if between else Text(value)


def _range(values: Sequence[float]) -> Range:
    row = np.asarray(values, dtype=np.float64)
    if not row.size or not np.isfinite(row).all():
        return UNKNOWN
    return Range(float(row.mean()), float(row.min()), float(row.max()))


def _same(value: float) -> Range:
    return Range(value, value, value)


def _quantile(recording: Recording, share: float) -> Range:
    """Edges of the bucket in which a quantile of the recorded latencies lies."""
    if recording.latencies is None or not recording.latencies.counts.sum():
        return UNKNOWN
    total = np.cumsum(recording.latencies.counts.sum(0))
    bucket = int(np.searchsorted(total, share * total[-1]))
    edges = np.concatenate([[0.0], recording.latencies.edges_s, [math.inf]])
    low, high = float(edges[bucket]), float(edges[bucket + 1])
    return Range(high if math.isfinite(high) else low, low, high if math.isfinite(high) else low)
