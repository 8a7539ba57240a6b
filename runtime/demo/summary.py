"""What a run of the demonstration comes to, on one screen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from runtime.demo.record import Kill, Made, Record, Would
from runtime.demo.show import clock
from runtime.figures import millis, percent
from runtime.load_generator import LATE_S

REASONS = 4


def summary(record: Record) -> Iterator[tuple[str, str, str]]:
    """Rows: what, figure, style."""
    told, changes = record.clients, [d for d in record.during if d.changes]
    scaled = [d for d in changes if "→" in d.changes]
    counts = f"{told['requests']} sent, {told['answered']} answered, {record.failed} failed"
    yield "requests", counts, _mood(record.failed == 0)
    for status, count in told["other_statuses"].items():
        yield "", f"{count} with status {status}{' (no answer)' if status == '0' else ''}", "red"
    if told["kept_up"]:
        late = told["late"] + record.failed
        share = percent(late / max(1, told["requests"]))
        yield "violations", f"{late} later than the SLO of {millis(record.slo_s)}: {share}", ""
        yield "latency", ", ".join(f"{name} {millis(told[f'{name}_s'])}" for name in ("p50", "p95", "p99")), ""
    else:
        yield "latency", "not told: this machine could not send the load in time", "yellow"
    yield "answered by", _answers(told["served_by"], record.accuracy), ""
    yield "scaling", f"{len(scaled)} changes of the replicas, {len(changes) - len(scaled)} of the shares between them", ""
    yield "cores", f"{record.core_s:.0f} core-seconds held by replicas", ""
    for number, would in enumerate(record.would):
        yield "simulated" if number == 0 else "", _would(would), "dim"
    yield "kill -9", _killed(record.kill), _mood(record.kill is not None and record.kill.replaced_s is not None)
    yield "decisions", f"{len(record.during)} by {_deciders(record)}; some of them:", ""
    for decision in _telling(record.during):
        yield "", f"{clock(decision.t_s)}  {decision.replicas}: {decision.reason}", "dim"
    yield "sent late", f"{percent(told['sent_late_ratio'])} of the requests, by more than {millis(LATE_S)}; open loop", ""


def tell(record: Record, console: Console) -> None:
    """Prints it."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for what, figure, style in summary(record):
        table.add_row(what, Text(figure, style))
    console.print()
    console.print(Text(f"Live: {record.seconds} s of {record.scenario} by {record.policy}", "bold"))
    console.print(Padding(table, (0, 0, 1, 2)))


def _answers(served_by: Mapping[str, int], accuracy: Mapping[str, float]) -> str:
    total = sum(served_by.values())
    mean = sum(accuracy[variant] * count for variant, count in served_by.items()) / max(total, 1)
    counts = ", ".join(f"{variant} {count}" for variant, count in served_by.items())
    return f"{counts}; mean accuracy {percent(mean)} (as published for them)"


def _would(would: Would) -> str:
    return (f"{would.policy} on the same arrivals: {percent(would.violation_ratio)} violations, mean accuracy "
            f"{percent(would.accuracy)}, {would.core_s:.0f} core-seconds")


def _killed(kill: Kill | None) -> str:
    if kill is None:
        return "none: at no time was every worker ready"
    told = f"process {kill.pid} at {clock(kill.t_s)}"
    if kill.seen_s is None:
        return f"{told}; the cluster has not noticed"
    told += f", replica {kill.replica} ({kill.variant}); seen after {millis(kill.seen_s - kill.t_s)}"
    if kill.replaced_s is None:
        return f"{told}; not replaced{f': {kill.why}' if kill.why else ''}"
    return f"{told}, a new one ready after {kill.replaced_s - kill.t_s:.1f} s"


def _deciders(record: Record) -> str:
    names = sorted({decision.by for decision in record.during})
    return " and ".join(names) or "nobody"


def _telling(decisions: list[Made]) -> list[Made]:
    """A few that changed replicas, the first of each change, in order."""
    changed = [decision for decision in decisions if "→" in decision.changes]
    step = max(1, len(changed) // REASONS)
    return changed[::step][:REASONS]


def _mood(good: bool) -> str:
    return "green" if good else "bold red"
