"""A placement as a picture: an SVG file that needs nothing else.

A group is a box, as wide as it has devices; in each device lie the slices of the models that the group hosts, as high as their
weights are, the longest models at the bottom, dark. Stages are parted by a gap, the shards of a stage by a thin line. Below:
stages x shards, and the share of the requests.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

import numpy as np

from baselines.placement import Group, Placement, PlacementProblem
from runtime.palette import CSS

DEVICE, HEIGHT, GAP, MARGIN = 28, 150, 14, 16  # pixels
STAGE, SHARD = 5, 1  # between them
HEAD, FOOT, LINE, MOST_WIDE = 34, 56, 14, 1100
RAMP = 7  # colours


def picture(problem: PlacementProblem, placement: Placement, dispatched: Sequence[int], title: str) -> str:
    """The file's text.

    Args:
        problem: what was placed.
        placement: where.
        dispatched: (groups,) requests sent to each group.
        title: a line above.
    """
    total = max(sum(dispatched), 1)
    boxes, x, y, right = [], MARGIN, MARGIN + HEAD, 0
    for number, (group, own) in enumerate(zip(placement, dispatched, strict=True), 1):
        width = _width(group)
        if x > MARGIN and x + width > MOST_WIDE:
            x, y = MARGIN, y + HEIGHT + FOOT
        boxes.append(_group(problem, group, number, own / total, x, y))
        x += width + GAP
        right = max(right, x)
    width, height = right + MARGIN - GAP, y + HEIGHT + FOOT
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{max(width, 480)}" height="{height}" role="img" '
            f'aria-label="{escape(title, quote=True)}"><style>{CSS}{STYLE}</style>'
            '<rect width="100%" height="100%" class="paper"/>'
            f'<text x="{MARGIN}" y="{MARGIN + 8}" class="title">{escape(title)}</text>{"".join(boxes)}</svg>\n')


STYLE = """
.paper { fill: var(--paper); } .device { fill: var(--panel); stroke: var(--rule); }
text { font: 11px system-ui, sans-serif; fill: var(--soft); } .title { font-size: 14px; fill: var(--ink); }
.slice { stroke: var(--paper); stroke-width: 0.7; } .between { stroke: var(--paper); }
""" + "".join(f".v{i} {{ fill: var(--v{i}); }}" for i in range(RAMP))


def _width(group: Group) -> int:
    return DEVICE * group.shape.units


def _group(problem: PlacementProblem, group: Group, number: int, share: float, x: int, y: int) -> str:
    shape = group.shape
    said = [f"{number}: {shape.inter_op}x{shape.intra_op}", f"{100 * share:.0f} %"]
    said += [shape.device] if len(problem.stocks) > 1 else []
    lines = [f'<text x="{x}" y="{y + HEIGHT + LINE * i}">{escape(text)}</text>' for i, text in enumerate(said, 1)]
    lines.append(f'<rect x="{x}" y="{y}" width="{_width(group)}" height="{HEIGHT}" class="device"/>')
    for top, high, colour, told in _slices(problem, group):
        lines.append(f'<rect x="{x}" y="{y + top:.1f}" width="{_width(group)}" height="{high:.1f}" class="slice v{colour}">'
                     f"<title>{escape(told)}</title></rect>")
    for device in range(1, shape.units):
        wide = STAGE if device % shape.intra_op == 0 else SHARD
        lines.append(f'<path d="M{x + DEVICE * device},{y - 1}v{HEIGHT + 2}" stroke-width="{wide}" class="between"/>')
    return "".join(lines)


def _slices(problem: PlacementProblem, group: Group) -> Iterator[tuple[float, float, int, str]]:
    """From the bottom up: top and height in pixels, the step of the ramp, and what is told."""
    limit = problem.stocks[group.shape.device].memory_bytes
    sizes_s = sorted({round(model.size_s, 6) for model in problem.models})
    top = float(HEIGHT)
    for model in sorted((problem.models[m] for m in group.models), key=lambda model: -model.size_s):
        held = model.weight_bytes[group.shape]
        high = HEIGHT * held / limit
        top -= high
        rank = int(np.searchsorted(sizes_s, round(model.size_s, 6)))
        colour = round((RAMP - 1) * rank / max(len(sizes_s) - 1, 1))
        told = f"{model.name}: {held / 1e9:.3g} GB a device, {1e3 * sum(model.latency_s[group.shape]):.0f} ms here"
        yield top, high, colour, told
