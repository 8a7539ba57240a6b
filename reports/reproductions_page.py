"""The page of reproductions: one file of HTML that needs nothing else, the JSON record inside it."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from reports.html import embed, framed, made_by
from reports.reproductions.reproduction import Found, Row, texts

HEADS = ("case", "figure", "theirs", "ours", "difference", "allowed", "")


def page(found: Sequence[Found], document: Mapping[str, Any]) -> str:
    """The page.

    Args:
        found: what the reproductions gave.
        document: the JSON record of the same run.
    """
    judged = [row.reached for one in found for row in one.rows if row.reached is not None]
    fields = {
        "title": "Reproductions",
        "headline": f"{sum(judged)} of {len(judged)} judged rows reached",
        "contents": "".join(f'<li><a href="#{html.escape(one.name)}">{html.escape(one.name)}</a></li>' for one in found),
        "sections": "".join(map(_section, found)),
        "command": html.escape(document["command"]),
        "provenance": made_by(document),
        "data": embed(document),
    }
    return framed("reproductions", fields)


def _section(one: Found) -> str:
    told = one.reproduction
    tables = "".join(_table(title, tuple(rows)) for title, rows in groupby(one.rows, key=lambda row: row.table))
    account = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in one.account)
    return (
        f'<section id="{html.escape(one.name)}"><h2>{html.escape(told.title)}</h2>'
        f'<p class="note">{html.escape(told.source)}. To reach: {html.escape(told.aim)}.</p>'
        f"<p><b>{html.escape(one.verdict)}</b></p>"
        f"{f'<ul class=findings>{account}</ul>' if account else ''}{tables}</section>"
    )


def _table(title: str, rows: Sequence[Row]) -> str:
    heads = "".join(f'<th scope="col">{head}</th>' for head in HEADS)
    return (
        f'<h3>{html.escape(title)}</h3><div class="scroll" tabindex="0" role="region" aria-label="{html.escape(title)}">'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(map(_row, rows))}</tbody></table></div>"
    )


def _row(row: Row) -> str:
    mood = {True: "better", False: "worse", None: "level"}[row.reached]
    theirs, ours, difference, allowed = map(html.escape, texts(row))
    return (
        f'<tr><th scope="row">{html.escape(row.case)}</th><td>{html.escape(row.figure)}</td><td>{theirs}</td><td>{ours}</td>'
        f'<td class="{mood}">{difference}</td><td>{allowed}</td><td><small>{html.escape(row.note)}</small></td></tr>'
    )
