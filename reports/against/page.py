"""The page of the simulator against live workers: one file of HTML that needs nothing else, its record inside it."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from reports.against.comparison import Result
from reports.against.table import Line, lines, title
from reports.html import embed, framed, made_by

HEADS = ("", "simulated", "live, mean", "live, spread", "difference", "at most")


def page(found: Sequence[Result], document: Mapping[str, Any]) -> str:
    """The page.

    Args:
        found: what the cases gave.
        document: the JSON record of the same runs.
    """
    judged = [line.reached for one in found for line in lines(one) if line.reached is not None]
    fields = {
        "title": "Simulator against live",
        "headline": f"{sum(judged)} of {len(judged)} figures are as near as they should be",
        "contents": "".join(f'<li><a href="#{name}">{name}</a></li>' for name in (html.escape(one["case"]) for one in found)),
        "sections": "".join(map(_section, found)),
        "command": html.escape("\n".join(dict.fromkeys([document["command"], *(one["command"] for one in found)]))),
        "provenance": made_by(document),
        "data": embed(document),
    }
    return framed("against", fields)


def _section(one: Result) -> str:
    times = one["times"]
    told = (f"{one['told']}. Measured on the idle cluster and given to the simulator: an answer "
            f"{1e3 * times['message_s']:.2f} ms later, a server held {1e3 * times['hold_s']:.2f} ms longer by a batch, "
            f"{times.get('load_slowdown', 1.0):.2f} times as long beside a load, "
            f"a decision in force after {1e3 * times['decide_s']:.0f} ms. Clients sent "
            f"{100 * max(one['sent_late']):.2f} % more than 20 ms late.")  # fmt: skip
    heads = "".join(f'<th scope="col">{head}</th>' for head in HEADS)
    return (
        f'<section id="{html.escape(one["case"])}"><h2>{html.escape(one["case"])}</h2><p>{html.escape(title(one))}</p>'
        f'<p class="note">{html.escape(told)}</p>'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{html.escape(one["case"])}"><table>'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(map(_row, lines(one)))}</tbody></table></div></section>"
    )


def _row(line: Line) -> str:
    mood = {True: "better", False: "worse", None: "level"}[line.reached]
    cells = "".join(f"<td>{html.escape(text)}</td>" for text in (line.simulated, line.live, line.spread))
    return (f'<tr><th scope="row">{html.escape(line.what)}</th>{cells}<td class="{mood}">{html.escape(line.difference)}</td>'
            f"<td>{html.escape(line.most)}</td></tr>")
