"""`tidal explain`: why did it scale then? Prints a decision from the journal: what was seen, wanted, bound, and done."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `explain` to the command line."""
    parser = commands.add_parser("explain", help="say why the autoscaler decided as it did")
    parser.add_argument("--journal", required=True, type=Path, metavar="DIR", help="of the autoscaler")
    parser.add_argument("--at", type=_time_s, metavar="TIME",
                        help="12:03, 2026-11-22T12:03 (local time), or Unix seconds (default: the last decision)")
    parser.add_argument("--json", action="store_true", help="print one JSON object {decision, outcome} instead of lines")
    parser.set_defaults(run=_run)


def _time_s(text: str) -> float:
    """Unix time; a time of day is the last one that was."""
    try:
        return float(text)
    except ValueError:
        pass
    now = datetime.now()
    try:
        if "-" not in text:
            then = datetime.fromisoformat(f"{now.date()}T{text}")
            then -= timedelta(days=then > now)
        else:
            then = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 12:03, 2026-11-22T12:03 or 1795348980") from None
    return then.timestamp()


def _run(arguments: argparse.Namespace) -> int:
    from runtime.autoscaler.journal import newest_first

    if not arguments.journal.is_dir():
        raise FileNotFoundError(f"{arguments.journal}: no such folder; give the one that tidal autoscale has as --journal")
    decision, outcome = _find(newest_first(arguments.journal), arguments.at)
    if decision is None:
        when = "" if arguments.at is None else f" at or before {_local(arguments.at)}"
        raise ValueError(f"{arguments.journal}: no decision{when}")
    if arguments.json:
        print(json.dumps({"decision": decision, "outcome": outcome}, indent=2, ensure_ascii=False))
    else:
        print("\n".join(_lines(decision, outcome)))
    return 0


def _find(newest_first: Iterator[Record], at_s: float | None) -> tuple[Record | None, Record | None]:
    """The newest decision not after a time, and its outcome."""
    outcomes: dict[str, Record] = {}
    for record in newest_first:
        if record.get("type") == "outcome":
            outcomes.setdefault(record["decision_id"], record)
        elif record.get("type") == "intent" and (at_s is None or record["t_s"] <= at_s):
            return record, outcomes.get(record["decision_id"])
    return None, None


def _lines(decision: Record, outcome: Record | None) -> Iterator[str]:
    seen = decision["observation"]
    yield f"{_local(decision['t_s'])}  decision {decision['decision_id']} ({decision['mode']}, {decision['scenario']})"
    yield f"in force   {_deployment(seen['deployment'])}  (version {decision['version']})"
    yield f"seen       {_seen(seen)}"
    for name, row in seen["applications"].items():
        offered, violation, *_, accuracy, _, _, p99 = row
        yield (f"           {name}: {_number(offered, 'req/s')}, violations {_percent(violation)}, "
               f"accuracy {_percent(accuracy)}, p99 {_number(p99, 's')}")
    for name, row in seen["services"].items():
        yield f"           {name}: {_number(row[1], 'waiting')}"
    for kind, ready, pending, draining, *_ in seen["kinds"]:
        states = [f"{n:g} {state}" for n, state in ((ready, "ready"), (pending, "pending"), (draining, "draining")) if n]
        if states:
            yield f"           {_kind(kind)}: {', '.join(states)}"
    yield f"proposed   {_deployment(decision['proposal']['deployment'])}"
    yield f"           by {decision['by']}: {decision['proposal']['reason']}"
    details = ", ".join(f"{name} {_number(value)}" for name, value in decision["proposal"]["details"].items())
    if details:
        yield f"           {details}"
    if decision["failure"]:
        yield f"           the policy did not decide: {decision['failure']}"
    yield f"bound by   {'; '.join(decision['bounds']) or 'nothing'}"
    yield f"decided    {_deployment(decision['deployment'])}"
    if price := decision.get("price"):  # not in a journal of an earlier Tidal
        yield f"costs      {price['decided']:.4g} {price['currency']}/h, in force {price['in_force']:.4g}"
    yield f"outcome    {_outcome(decision, outcome)}"
    if shadow := decision["shadow"]:
        said = "the same" if shadow["agrees"] else _deployment(shadow["deployment"])
        yield f"shadow     {shadow['by']}: {said} ({shadow['proposal']['reason']})"


def _seen(seen: Record) -> str:
    if seen["age_s"] is None:
        return "nothing: all numbers are missing"
    return f"{seen['interval_s']:g} s, {seen['age_s']:.3g} s old"


def _outcome(decision: Record, outcome: Record | None) -> str:
    if not decision["acts"]:
        return "unchanged: this was in force already"
    if decision["mode"] == "advisory":
        return "advised, not acted on"
    if outcome is None:
        return "open: the process ended before it knew"
    detail = f": {outcome['detail']}" if outcome["detail"] else ""
    return f"{outcome['status']}{detail} (version {outcome['version'] or 'unknown'})"


def _deployment(value: Record) -> str:
    from runtime.deployment_json import from_json

    return str(from_json(value))


def _kind(value: Record) -> str:
    from runtime.deployment_json import kind_from_json

    return str(kind_from_json(value))


def _local(t_s: float) -> str:
    return datetime.fromtimestamp(t_s).astimezone().isoformat(sep=" ", timespec="seconds")


def _number(value: float | None, unit: str = "") -> str:
    return f"{'missing' if value is None else f'{value:.4g}'} {unit}".rstrip()


def _percent(value: float | None) -> str:
    return "missing" if value is None else f"{value:.2%}"
