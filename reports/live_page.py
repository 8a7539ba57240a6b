"""The page of a live run: one file of HTML that needs nothing else, its record inside it."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from reports.html import embed, framed, made_by
from reports.live_chart import chart, legend
from runtime.demo.record import Record
from runtime.demo.show import clock
from runtime.demo.summary import summary


def page(run: Record, document: Mapping[str, Any]) -> str:
    """The page.

    Args:
        run: what happened.
        document: the JSON record of the same run.
    """
    facts = [f"policy {run.policy}", f"metrics by {run.source}", f"{run.seconds} s", f"SLO {1e3 * run.slo_s:.0f} ms",
             "real worker processes; weights drawn at random, accuracies as published"]  # fmt: skip
    fields = {
        "title": html.escape(f"{run.scenario}, live"),
        "scenario": html.escape(run.scenario),
        "headline": html.escape(_headline(run)),
        "load": html.escape(f"Load: {run.load}."),
        "facts": "".join(f"<li>{html.escape(fact)}</li>" for fact in facts),
        "chart": chart(run),
        "legend": legend(run),
        "numbers": "".join(f"<dt>{html.escape(what)}</dt><dd>{html.escape(figure)}</dd>" for what, figure, _ in summary(run)),
        "decisions": _decisions(run),
        "command": html.escape("\n".join([document["command"], "", *run.commands.values()])),
        "provenance": made_by(document),
        "data": embed(document),
    }
    return framed("live", fields)


def _headline(run: Record) -> str:
    fate = "every request was answered" if run.failed == 0 else f"{run.failed} requests failed"
    kill = ", one worker killed on the way" if run.kill else ""
    scaled = sum("→" in decision.changes for decision in run.during)
    return f"{run.clients['requests']} requests, {scaled} changes of the replicas{kill}: {fate}"


def _decisions(run: Record) -> str:
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("when", "change", "why", "by"))
    rows = "".join(
        f"<tr><td>{clock(made.t_s)}</td><td>{html.escape(made.changes)}</td><td>{html.escape(made.reason)}</td>"
        f"<td>{html.escape(made.by)}</td></tr>"
        for made in run.decisions if made.changes
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
