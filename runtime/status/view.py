"""A snapshot on one screen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from envs.contract import ApplicationObservation
from runtime.deployment_json import kind_from_json
from runtime.figures import millis, percent
from runtime.status.snapshot import Snapshot

STATES = ("ready", "pending", "draining", "failed")
SHOWN = 8  # events
CHANGES = ("deployment", "pin", "pause")
LOSSES = ("failed", "not drained", "not stopped", "not fenced", "not remembered", "back-off")


def screen(seen: Snapshot) -> RenderableType:
    """All of it."""
    if seen.error:
        return Text(seen.error, "bold red")
    return Group(_head(seen), Text(), _applications(seen), Text(), _replicas(seen), Text(), _events(seen))


def _head(seen: Snapshot) -> RenderableType:
    state = ("ready", "green") if seen.ready else ("NOT READY", "bold red")
    settled = "settled" if seen.settled else "changing"
    lines = [Text.assemble((seen.scenario["name"], "bold"), "  ", state, f", {settled}, version {seen.version}  ",
                           (seen.control, "dim"))]
    for what, held in (("pinned", seen.pin), ("paused", seen.pause)):
        if held:
            lines.append(Text(f"{what} for another {held['left_s']:.0f} s: {held['why']}", "yellow"))
    age_s, interval_s = seen.observation["age_s"], seen.scenario["interval_s"]
    if age_s is None:
        lines.append(Text("no observation yet: all numbers are missing", "yellow"))
    else:
        behind = datetime.now().timestamp() - seen.observation["t_s"] + age_s
        style = "yellow" if behind > 2 * interval_s else "dim"
        lines.append(Text(f"observed over {seen.observation['interval_s']:.3g} s, {behind:.0f} s ago; "
                          f"a decision every {interval_s:g} s", style))
    return Group(*lines)


def _applications(seen: Snapshot) -> Table:
    table = _table("application", "load", "attainment", "p50", "p99", "SLO", "accuracy", "waiting")
    for name, problem in seen.scenario["applications"].items():
        row = ApplicationObservation(*(seen.observation["applications"].get(name) or [None] * 10))
        kept = None if row.violation_ratio is None else 1 - row.violation_ratio
        late = row.p99_s is not None and row.p99_s > problem["slo_s"]
        queues = [(seen.observation["services"].get(service) or [None, None])[1] for service in problem["services"]]
        waiting = None if None in queues else sum(queues)
        table.add_row(Text(name), number(row.offered_rps, " req/s"), percent(kept), millis(row.p50_s),
                      Text(millis(row.p99_s), "red" if late else ""), millis(problem["slo_s"]), percent(row.accuracy),
                      number(waiting))
    return table


def _replicas(seen: Snapshot) -> Table:
    counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(STATES, 0))
    for replica in seen.replicas:
        counts[_kind(replica["kind"])][replica["state"]] += 1
    shown = {_kind(kind): (queue, busy) for kind, _, _, _, queue, busy, _ in seen.observation["kinds"]}
    table = _table("replicas", *STATES, "busy", "waiting")
    for kind, states in sorted(counts.items()):
        queue, busy = shown.get(kind, (None, None))
        table.add_row(Text(kind), *(Text(str(n) if n else "·", "" if n else "dim") for n in states.values()), percent(busy),
                      number(queue))
    for name, device in seen.scenario["devices"].items():
        held = (seen.observation["devices"].get(name) or [None])[0]
        money = f", {_money(seen, held * device['price'])}" if held is not None and seen.scenario.get("currency") else ""
        table.add_row(Text(f"{name}: {number(held)} of {device['budget']} held{money}", "dim"))
    return table


def _money(seen: Snapshot, price: float) -> str:
    return f"{price:.4g} {seen.scenario['currency']}/h"


def _events(seen: Snapshot) -> Table:
    table = Table.grid(padding=(0, 2))
    for event in seen.events[-SHOWN:]:
        at = datetime.fromtimestamp(event["t_s"]).strftime("%H:%M:%S")
        style = "red" if event["what"] in LOSSES else "cyan" if event["what"] in CHANGES else ""
        table.add_row(Text(at, "dim"), Text(event["what"], style), Text(" ".join(_about(event))))
    return table


def _about(event: dict[str, Any]) -> Iterator[str]:
    """An event in words; one of the autoscaler's says who decided, and why."""
    if event["replica"] is not None:
        yield f"replica {event['replica']}, {_kind(event['kind'])}:"
    yield event["why"]
    if event.get("policy") or event.get("reason"):
        yield f"({': '.join(filter(None, (event.get('policy'), event.get('reason'))))})"


def _kind(value: dict[str, Any]) -> str:
    return str(kind_from_json(value))


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


def number(value: float | None, unit: str = "") -> str:
    """Three digits, or that it is missing."""
    return "missing" if value is None else f"{value:.3g}{unit}"
