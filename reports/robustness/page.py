"""The page of the robustness matrix: a heat map of loss, planners and agents side by side; one file, no scripts."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from reports.html import embed, framed, made_by
from reports.measures import REWARD, VIOLATIONS
from reports.protocol_play import KNOWS
from reports.robustness.disturbances import named
from reports.robustness.matrix import LEARNED, Loss, Matrix, hundredths

FULL = 0.3  # the loss that has the strongest colour
COLUMNS = {"planner": "planners", "agent": "agents", "hindsight": "in hindsight"}


def page(found: Matrix, document: Mapping[str, Any]) -> str:
    """The page.

    Args:
        found: the numbers.
        document: the JSON record of the same run.
    """
    said = document["verdict"]
    return framed(
        "robustness",
        {
            "title": html.escape(f"{document['scenario']['name']}: what troubles cost"),
            "headline": html.escape(said[0]),
            "findings": "".join(f"<li>{html.escape(sentence)}</li>" for sentence in said[1:]),
            "facts": f"<li>{html.escape(document['load'])}</li><li>{html.escape(document['size'])}</li>",
            "table": _table(found),
            "troubles": "".join(
                f"<dt>{html.escape(d['name'])}</dt><dd>{html.escape(d['told'])}</dd>" for d in document["disturbances"]
            ),
            "command": html.escape(document["command"]),
            "provenance": made_by(document),
            "data": embed(document),
        },
    )


def _side(found: Matrix, policy: str) -> str:
    kind = found.kinds[policy]
    return "hindsight" if kind == KNOWS else "agent" if kind in LEARNED else "planner"


def _table(found: Matrix) -> str:
    sides = [_side(found, p) for p in found.policies]
    spans = "".join(
        f'<th scope="colgroup" colspan="{sides.count(side)}" class="{side}">{told}</th>'
        for side, told in COLUMNS.items()
        if side in sides
    )
    first = {p for p, side in zip(found.policies, sides) if found.policies[sides.index(side)] == p}
    edge = {p: ' class="edge"' if p in first else "" for p in found.policies}
    heads = "".join(f'<th scope="col"{edge[p]}>{html.escape(p)}</th>' for p in found.policies)
    calm = "".join(f"<td{edge[p]}>{REWARD.show(found.calm[p].value)[:6]}</td>" for p in found.policies)
    body, group = f'<tr class="calm"><th scope="row">reward, undisturbed</th>{calm}</tr>', ""
    for trouble in found.disturbances:
        if named(trouble).group != group:
            group = named(trouble).group
            body += f'<tr class="group"><th scope="rowgroup" colspan="{len(found.policies) + 1}">{group}</th></tr>'
        best = found.best(trouble)
        cells = "".join(_cell(found.losses[trouble, p], p == best, p in first) for p in found.policies)
        body += f'<tr><th scope="row" title="{html.escape(named(trouble).told)}">{html.escape(trouble)}</th>{cells}</tr>'
    mean = "".join(
        f'<td{edge[p]}><span class="value">{hundredths(found.mean_loss[p].value)}</span></td>' for p in found.policies
    )
    body += f'<tr class="mean"><th scope="row">mean loss</th>{mean}</tr>'
    return (
        f'<table class="heat"><thead><tr><td></td>{spans}</tr><tr><th scope="col">trouble</th>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )


def _cell(loss: Loss, best: bool, edge: bool) -> str:
    value = loss.loss.value
    classes = " ".join(name for name, on in (("gain", value < 0), ("best", best), ("edge", edge)) if on)
    interval = REWARD.interval(loss.loss.low, loss.loss.high)
    told = (
        f"loss {REWARD.show(value)} {interval}; reward {REWARD.show(loss.reward.value)}; violations "
        f"{VIOLATIONS.show(loss.before.value)} undisturbed, {VIOLATIONS.show(loss.violations.value)} with it"
    )
    heat = round(100 * min(abs(value) / FULL, 1.0) ** 0.5)
    return (
        f'<td class="{classes}" style="--heat:{heat}" title="{html.escape(told)}">'
        f'<span class="value">{hundredths(value)}</span>'
        f"<small>{VIOLATIONS.show(loss.violations.value)}</small></td>"
    )
