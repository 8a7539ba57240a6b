"""What policies make of all weightings, drawn as SVG: violations and accuracy over cost, a dot for each weighting."""

from __future__ import annotations

import html
from collections.abc import Sequence

from reports.protocol_play import PLANNER
from reports.weightings import Breadth

WIDTH, HEIGHT, LEFT, BELOW = 420, 260, 48, 34
PANELS = (("violations", 0), ("accuracy", 1))
COLOURS = ("bad", "good", "v5", "v3", "other")  # of agents, in the order of their volume; planners are faint


def drawing(some: Sequence[Breadth], name: str) -> str:
    """A panel each for violations and accuracy, and a legend.

    Args:
        some: the rows of one source.
        name: of the source, for those who hear the page.
    """
    drawn = [b for b in some if b.points]
    agents = [b.row for b in drawn if b.kind != PLANNER]
    colours = {row: COLOURS[min(i, len(COLOURS) - 1)] for i, row in enumerate(agents)}
    keys = [f'<li><i style="background: var(--{colour})"></i>{html.escape(row)}</li>' for row, colour in colours.items()]
    keys.append('<li><i style="background: var(--faint)"></i>planners</li>')
    panels = "".join(_panel(drawn, colours, goal, index, name) for goal, index in PANELS)
    return f'<div class="pair">{panels}</div><ul class="keys">{"".join(keys)}</ul>'


def _panel(drawn: Sequence[Breadth], colours: dict[str, str], goal: str, index: int, name: str) -> str:
    costs = [p[2] for b in drawn for p in b.points.values()]
    goals = [p[index] for b in drawn for p in b.points.values()]

    def x(cost: float) -> float:
        return LEFT + (WIDTH - LEFT - 10) * (cost - min(costs)) / ((max(costs) - min(costs)) or 1)

    def y(value: float) -> float:
        return 12 + (HEIGHT - BELOW - 20) * (max(goals) - value) / ((max(goals) - min(goals)) or 1)

    dots = "".join(
        f'<circle cx="{x(point[2]):.1f}" cy="{y(point[index]):.1f}" r="{3.5 if b.row in colours else 2.5}" '
        f'style="fill: var(--{colours.get(b.row, "faint")})"><title>{html.escape(b.row)}, {weighting.told}: '
        f"{goal} {100 * point[index]:.1f} %, cost {100 * point[2]:.0f} %</title></circle>"
        for b in sorted(drawn, key=lambda b: b.row in colours) for weighting, point in b.points.items())
    ends = (
        f'<text x="{LEFT - 6}" y="16" text-anchor="end">{100 * max(goals):.0f} %</text>'
        f'<text x="{LEFT - 6}" y="{HEIGHT - BELOW - 4}" text-anchor="end">{100 * min(goals):.0f} %</text>'
        f'<text x="{LEFT}" y="{HEIGHT - 10}">{100 * min(costs):.0f} %</text>'
        f'<text x="{(LEFT + WIDTH) / 2:.0f}" y="{HEIGHT - 10}" text-anchor="middle">cost, of the budget</text>'
        f'<text x="{WIDTH - 10}" y="{HEIGHT - 10}" text-anchor="end">{100 * max(costs):.0f} %</text>')
    frame = f'<path class="frame" d="M{LEFT} 8V{HEIGHT - BELOW}H{WIDTH - 6}"/>'
    return (f'<figure><h3>{goal.capitalize()} over cost</h3><svg class="spread" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'aria-label="{goal} over cost at all weightings, {name}">{frame}{ends}{dots}</svg></figure>')
