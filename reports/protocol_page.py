"""The protocol's page: one file of HTML that needs nothing else, the JSON record inside it."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from reports.html import embed, framed, made_by
from reports.learning_curves import Curve, drawing
from reports.measures import ACCURACY, COST, REWARD, VIOLATIONS
from reports.protocol import BETTER, WORSE, Standing
from reports.protocol_table import across, closed_gaps, ranked, share

MOODS = {BETTER: "better", WORSE: "worse"}


def page(found: Sequence[Standing], document: Mapping[str, Any], curves: Mapping[str, Sequence[Curve]]) -> str:
    """The page.

    Args:
        found: all rows of all cells.
        document: the JSON record of the same run; ``size``, ``leaders``, ``summary``, ``loads`` and ``notes`` are told.
        curves: learning curves by row.
    """
    drawn = drawing(curves)
    return framed("protocol", {
        "title": html.escape(f"{document['scenario']['name']}: learned agents against calibrated planners"),
        "size": html.escape(document["size"]),
        "facts": "".join(f"<li>{html.escape(load)}</li>" for load in document["loads"]),
        "summary": _list("findings", [*document["leaders"], *document["summary"]]),
        "caveats": _list("caveats", document["notes"]),
        "sections": "".join(_section(name, [s for s in found if s.cell["source"]["name"] == name])
                            for name in dict.fromkeys(s.cell["source"]["name"] for s in found)),
        "curves": f'<section id="curves"><h2>Learning curves</h2><div class="pair">{drawn}</div></section>' if drawn else "",
        "settings": _settings(found),
        "command": html.escape(document["command"]),
        "provenance": made_by(document),
        "data": embed(document),
    })


def _list(name: str, sentences: Sequence[str]) -> str:
    return f'<ul class="{name}">{"".join(f"<li>{html.escape(s)}</li>" for s in sentences)}</ul>' if sentences else ""


def _section(source: str, found: Sequence[Standing]) -> str:
    cold_starts = list(dict.fromkeys(s.cell["cold_start_s"] for s in found))
    heads = "".join(f'<th scope="col">{c:g} s<small>cold start</small></th>' for c in cold_starts)
    body = ""
    for row in ranked(found):
        told, cells = across(found, row, cold_starts)
        head = f'<th scope="row">{html.escape(row)}<small>{told}</small></th>'
        body += f"<tr>{head}{''.join(map(_cell, cells))}</tr>"
    name = html.escape(source)
    return (f'<section id="{name}"><h2>{name}</h2><div class="scroll" tabindex="0" role="region" aria-label="{name}"><table>'
            f'<thead><tr><th scope="col">Policy</th>{heads}</tr></thead>'
            f"<tbody>{body}</tbody></table></div></section>")


def _cell(s: Standing | None) -> str:
    if s is None:
        return "<td></td>"
    if not s.measured:
        return f'<td title="{html.escape(s.refused)}">–</td>'
    own = s.measured[REWARD.name]
    lines = [f'<span class="value">{REWARD.show(own.value)}</span>', f"<small>{REWARD.interval(own.low, own.high)}</small>"]
    if np.isfinite(s.against.value):
        interval = REWARD.interval(s.against.low, s.against.high, sign=True)
        lines.append(f'<span class="{MOODS.get(s.verdict, "level")}">{REWARD.show(s.against.value, sign=True)}</span> '
                     f"<small>{interval}</small>")
    for name, closed in closed_gaps(s).items():
        low, high = (f"{100 * x:.0f}".replace("-", "−") for x in (closed.low, closed.high))
        lines.append(f"<small>{share(closed)} [{low}, {high}] of the gap to the {name}</small>")
    if s.verdict:
        lines.append(f"<small><b>{s.verdict}</b></small>")
    told = ", ".join(f"{m.name} {m.show(s.measured[m.name].value)}" for m in (VIOLATIONS, ACCURACY, COST))
    return f"<td>{''.join(lines)}<small>{told}</small></td>"


def _settings(found: Sequence[Standing]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{html.escape(s.row)}</th><td>{html.escape(s.cell["source"]["name"])}</td>'
        f"<td>{s.cell['cold_start_s']:g} s</td>"
        f"<td>{html.escape(', '.join(f'{k} {v}' for k, v in s.settings.items()) or 'the defaults')}</td></tr>"
        for s in found if s.settings is not None)
    return f'<div class="scroll"><table><tbody>{rows}</tbody></table></div>'
