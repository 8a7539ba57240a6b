"""Learning curves of agents that were trained here: the reward on the selection windows as steps went by, drawn as SVG."""

from __future__ import annotations

import csv
import html
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

WIDTH, HEIGHT, EDGE = 520, 220, 46
Curve = Sequence[tuple[float, float]]


def curves_of(folders: Sequence[str | Path]) -> list[Curve]:
    """(steps, reward) of each run that is there: of an agent ``RUN/best``, what ``RUN/evaluations.csv`` tells."""
    found = []
    for folder in map(Path, folders):
        path = folder.parent / "evaluations.csv"
        if folder.is_dir() and path.is_file():
            with path.open(newline="") as file:
                found.append([(float(row["steps"]), float(row["reward"])) for row in csv.DictReader(file)])
    return [curve for curve in found if curve]


def drawing(rows: Mapping[str, Sequence[Curve]]) -> str:
    """A figure for each row: its runs thin; where there are several, their mean thick."""
    return "".join(_figure(name, curves) for name, curves in rows.items() if curves)


def _figure(name: str, curves: Sequence[Curve]) -> str:
    points = [point for curve in curves for point in curve]
    steps, rewards = max(x for x, _ in points) or 1.0, [y for _, y in points]
    low, high = min(rewards), max(rewards)
    high = high if high > low else low + 1e-9

    def path(curve: Curve) -> str:
        return " ".join(f"{EDGE + (WIDTH - EDGE - 8) * x / steps:.1f},{8 + (HEIGHT - 40) * (high - y) / (high - low):.1f}"
                        for x, y in curve)

    lines = [f'<polyline class="run" points="{path(curve)}"/>' for curve in curves]
    if len(curves) > 1:
        at = np.unique([x for x, _ in points])
        mean = np.mean([np.interp(at, [x for x, _ in curve], [y for _, y in curve]) for curve in curves], axis=0)
        lines.append(f'<polyline class="mean" points="{path(list(zip(at.tolist(), mean.tolist())))}"/>')
    runs = f"{len(curves)} {'run' if len(curves) == 1 else 'runs'}"
    return (
        f"<figure><h3>{html.escape(name)}</h3>"
        f'<svg class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="learning curve of {html.escape(name)}">'
        f'<text x="{EDGE - 6}" y="14" text-anchor="end">{high:.3f}</text>'
        f'<text x="{EDGE - 6}" y="{HEIGHT - 30}" text-anchor="end">{low:.3f}</text>'
        f'<text x="{WIDTH - 8}" y="{HEIGHT - 8}" text-anchor="end">{steps:g} steps</text>{"".join(lines)}</svg>'
        f"<figcaption>Reward on the selection windows, {runs}.</figcaption></figure>"
    )
