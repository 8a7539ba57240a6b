"""The protocol's page as Markdown, to be kept among the docs: who leads first, then tables, then learning curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from reports.learning_curves import Curve
from reports.measures import ACCURACY, COST, REWARD, VIOLATIONS
from reports.protocol import REFERENCE, Standing
from reports.protocol_table import across, closed_gaps, ranked, share


def markdown(found: Sequence[Standing], document: Mapping[str, Any], curves: Mapping[str, Sequence[Curve]]) -> str:
    """The page; arguments as those of `reports.protocol_page.page`."""
    first, *each = document["leaders"]
    sources = dict.fromkeys(s.cell["source"]["name"] for s in found)
    return "\n".join([
        f"# Played by the protocol: {document['scenario']['name']}", "", f"**{first}**", "", *(f"- {told}" for told in each),
        "", *(f"- {told}" for told in (*document["summary"], *document["notes"])), "",
        f"Written by the command below, {document['made']}, code `{document['versions']['tidal']}`; {document['size']}.",
        "", f"    {document['command']}", "", *(f"- validation load: {load}" for load in document["loads"]), "",
        "A cell: reward; against the best calibrated planner of that cell, with its 95 % interval; of agents, violations as a "
        "multiple of the planners' at equal cost and accuracy; the verdict; violations, accuracy and cost in percent. What "
        "each means is in [the protocol](protocol.md#figures).", "",
        *(line for name in sources for line in _table(name, [s for s in found if s.cell["source"]["name"] == name])),
        *_curves(curves)])


def _table(name: str, found: Sequence[Standing]) -> Iterator[str]:
    cold_starts = list(dict.fromkeys(s.cell["cold_start_s"] for s in found))
    yield from (f"## {name}", "", f"| row | {' | '.join(f'{c:g} s' for c in cold_starts)} |",
                "|---" * (len(cold_starts) + 1) + "|")
    for row in ranked(found):
        told, cells = across(found, row, cold_starts)
        yield f"| `{row}` ({told}) | {' | '.join(map(_cell, cells))} |"
    yield ""


def _cell(s: Standing | None) -> str:
    if s is None or not s.measured:
        return "–" if s else ""
    parts = [f"**{REWARD.show(s.measured[REWARD.name].value)}**" if s.verdict == REFERENCE
             else REWARD.show(s.measured[REWARD.name].value)]
    if np.isfinite(s.against.value):
        parts.append(f"{REWARD.show(s.against.value, sign=True)} {REWARD.interval(s.against.low, s.against.high, sign=True)}")
    parts += [f"{share(closed)} of the gap to the {gap}" for gap, closed in closed_gaps(s).items()]
    if s.of_front is None or np.isfinite(s.of_front.value):
        parts.append(f"violations × {s.of_front.value:.2f} [{s.of_front.low:.2f}, {s.of_front.high:.2f}]" if s.of_front
                     else "no planners as cheap and as accurate")
    parts += [s.verdict] if s.verdict else []
    parts.append(" ".join(f"{100 * s.measured[m.name].value:.1f}" for m in (VIOLATIONS, ACCURACY, COST)))
    return "<br>".join(parts)


def _curves(curves: Mapping[str, Sequence[Curve]]) -> Iterator[str]:
    """Reward on the selection windows as steps went by, a line for each run."""
    drawn = {name: some for name, some in curves.items() if some}
    if not drawn:
        return
    yield from ("## Learning curves", "", "Reward on the selection windows, after so many decisions learnt from.", "")
    for name, some in drawn.items():
        for run, curve in enumerate(some):
            yield f"- `{name}`, run {run}: " + ", ".join(f"{reward:.4f} ({steps:g})" for steps, reward in curve)
    yield ""
