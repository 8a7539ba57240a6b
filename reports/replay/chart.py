"""The course of a replay as SVG that needs no script: the load, then a lane for each policy beside what was held."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import numpy as np

from envs.scenario import Scenario
from reports.replay.play import AGAIN, Played
from reports.replay.recording import Recording
from reports.replay.schedule import held_counts
from reports.replay.table import per_replica, unit

WIDTH, LEFT, HEAD, GAP = 1120, 52, 20, 26
LOAD, LANE = 130, 64  # heights
POINTS = 480


def chart(recording: Recording, scenario: Scenario, played: Sequence[Played]) -> str:
    """The whole chart, of the draw whose course was kept."""
    lanes = [one for one in played if one.course is not None and one.policy != AGAIN]
    height = HEAD + LOAD + GAP + len(lanes) * (LANE + GAP) + GAP
    was = held_counts(recording)
    of_one = per_replica(scenario)
    most = max([float(np.nanmax(np.asarray(one.course["held_units"]))) / of_one for one in lanes if one.course is not None]
               + [float(was.max()) if was is not None and len(scenario.kinds) == 1 else 1.0])  # fmt: skip
    parts = [*_load(recording)]
    for number, one in enumerate(lanes):
        parts += _lane(one, recording, was if len(scenario.kinds) == 1 else None, most, of_one, unit(scenario),
                       HEAD + LOAD + GAP + number * (LANE + GAP) + 6)  # fmt: skip
    parts += _gaps(recording, height)
    parts += _times(recording, height)
    return (f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="Load and {unit(scenario)} held over time" '
            f'style="min-width:640px">{"".join(parts)}</svg>')  # fmt: skip


def _load(recording: Recording) -> Iterator[str]:
    rates = folded(recording.requests, POINTS) / recording.step_s
    most = float(np.nanmax(rates)) * 1.08
    floor = HEAD + LOAD
    yield from _panel("offered load, req/s", HEAD, floor, most)
    yield f'<path class="load" d="{_line(rates, floor, LOAD / most)}"/>'


def _lane(one: Played, recording: Recording, was: np.ndarray | None, most: float, of_one: int, held: str,
          top: float) -> Iterator[str]:
    course = one.course
    if course is None:
        return
    floor = top + LANE
    yield from _panel(f"{one.policy}: {held} held", top, floor, most)
    bad = folded(course["violation_ratio"].fillna(0.0).to_numpy(dtype=np.float64), POINTS)
    wide = (WIDTH - LEFT - 4) / len(bad)
    for i in np.flatnonzero(bad > 0.001):
        tall = max(1.0, float(bad[i]) * LANE)
        yield (f'<rect class="bad" x="{LEFT + i * wide:.1f}" width="{wide:.1f}" y="{floor - tall:.1f}" height="{tall:.1f}">'
               f"<title>{100 * bad[i]:.1f} % violations</title></rect>")  # fmt: skip
    if was is not None:
        yield f'<path class="was" d="{_line(folded(was, POINTS), floor, LANE / most)}"/>'
    held_units = folded(course["held_units"].to_numpy(dtype=np.float64) / of_one, POINTS)
    yield f'<path class="held" d="{_line(held_units, floor, LANE / most)}"/>'


def folded(values: np.ndarray, points: int) -> np.ndarray:
    """Means of neighbours, so that at most so many points are left; nan where nothing is known."""
    size = max(1, math.ceil(len(values) / points))
    padded = np.append(values, np.full(-len(values) % size, np.nan)).reshape(-1, size)
    known = np.isfinite(padded).sum(axis=1)
    return np.asarray(np.where(known > 0, np.nansum(padded, axis=1) / np.maximum(known, 1), np.nan))


def _panel(title: str, top: float, floor: float, most: float) -> Iterator[str]:
    yield f'<text x="{LEFT}" y="{top - 6:.0f}">{html.escape(title)}</text>'
    step = 10 ** math.floor(math.log10(most))
    step = next(s for s in (step / 5, step / 2, step, 2 * step) if most / s <= 5)
    for i in range(int(most / step) + 1):
        y = floor - (floor - top) * i * step / most
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - 4}" y1="{y:.1f}" y2="{y:.1f}"/>'
        if not (floor - top < 80 and i % 2):
            yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{i * step:g}</text>'


def _gaps(recording: Recording, height: float) -> Iterator[str]:
    for begin_s, end_s in recording.gaps_s:
        left, right = (LEFT + (WIDTH - LEFT - 4) * t / recording.span_s for t in (begin_s, end_s))
        tall = height - HEAD - GAP
        yield (f'<rect class="gap" x="{left:.1f}" width="{max(right - left, 1):.1f}" y="{HEAD}" height="{tall}">'
               "<title>not recorded</title></rect>")  # fmt: skip


def _times(recording: Recording, height: float) -> Iterator[str]:
    for i in range(7):
        t_s = recording.span_s * i / 6
        anchor = "start" if i == 0 else "end" if i == 6 else "middle"
        x = LEFT + (WIDTH - LEFT - 4) * i / 6
        yield f'<text x="{x:.1f}" y="{height - 6}" text-anchor="{anchor}">{_clock(recording, t_s)}</text>'


def _clock(recording: Recording, t_s: float) -> str:
    if math.isfinite(recording.began_s):
        return f"{datetime.fromtimestamp(recording.began_s + t_s, UTC):%d %b %H:%M}"
    return f"{t_s / 3600:.1f} h"


def _line(values: np.ndarray, floor: float, scale: float) -> str:
    """A path with a break where a value is missing."""
    wide, drawn, pen = (WIDTH - LEFT - 4) / len(values), [], "M"
    for i, value in enumerate(values.tolist()):
        if math.isnan(value):
            pen = "M"
            continue
        drawn.append(f"{pen}{LEFT + (i + 0.5) * wide:.1f},{floor - value * scale:.1f}")
        pen = "L"
    return "".join(drawn)
