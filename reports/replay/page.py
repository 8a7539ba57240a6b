"""The page of a replay: one file of HTML that needs nothing else, the JSON record inside it."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from reports.html import embed, framed, made_by
from reports.measures import COST
from reports.replay.chart import chart
from reports.replay.play import Played
from reports.replay.recording import Recording
from reports.replay.table import RECORDED, UNKNOWN, Range, Row, columns, heading, show
from reports.replay.verdict import Said


def page(recording: Recording, found: Sequence[Row], said: Said, played: Sequence[Played], scenario: Any,
         document: Mapping[str, Any]) -> str:
    """The page.

    Args:
        recording: the load.
        found: rows of the table.
        said: what they say in words.
        played: all that was played; the courses that were kept are drawn.
        scenario: what was played in.
        document: the JSON record of the same run.
    """
    shown = columns(scenario, found)
    names = [html.escape(heading(m, scenario)).replace("\n", "<small>") for m in shown]
    heads = "".join(f'<th scope="col">{name}</small></th>' for name in names)
    return framed("replay", {
        "title": html.escape(recording.source),
        "headline": html.escape(said.headline),
        "facts": f"<li>{html.escape(recording.told)}</li><li>{document['recording']['draws']} draws</li>",
        "findings": _list("findings", said.findings),
        "caveats": _list("caveats", said.caveats),
        "table": f'<table><thead><tr><th scope="col">Policy</th>{heads}<th scope="col">held<small>against what was held, '
                 f"%</small></th></tr></thead><tbody>{''.join(_row(row, shown) for row in found)}</tbody></table>",
        "reading": "Under each figure the lowest and the highest draw. <b>recorded</b> is what the record itself says; "
                   "<b>as recorded</b> plays what was held in the simulator, against which the others are to be compared.",
        "chart": chart(recording, scenario, played),
        "command": html.escape(document["command"]),
        "provenance": made_by(document),
        "data": embed(document),
    })  # fmt: skip


def _row(row: Row, shown: Sequence[Any]) -> str:
    kind = "recorded" if row.policy == RECORDED else "hindsight" if row.hindsight else ""
    told = "<small>in hindsight</small>" if row.hindsight else ""
    cells = "".join(_cell(m, row.figures.get(m.name, UNKNOWN)) for m in shown)
    return (f'<tr class="{kind}"><th scope="row">{html.escape(row.policy)}{told}</th>{cells}'
            f"{_cell(COST, row.against, sign=True)}</tr>")  # fmt: skip


def _cell(measure: Any, found: Range, sign: bool = False) -> str:
    value, between = show(measure, found, sign)
    return f'<td><span class="value">{value}</span><small>{between or "&nbsp;"}</small></td>'


def _list(name: str, sentences: Sequence[str]) -> str:
    return f'<ul class="{name}">{"".join(f"<li>{html.escape(s)}</li>" for s in sentences)}</ul>' if sentences else ""
