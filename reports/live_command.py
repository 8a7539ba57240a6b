"""`evaluate.py --live SECONDS`: real processes on this machine for a while, told, as a page and as JSON."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from reports.html import publish
from reports.live_page import page
from reports.record import record, write
from reports.table import WIDTH
from runtime.demo.record import Record
from runtime.demo.run import Demo
from runtime.demo.show import watching
from runtime.demo.summary import tell

FOLDER = Path("out/live")
REPORT = FOLDER / "report.html"
LEAST_S = 20
NOT_HERE = (
    "repeats", "speed", "reference", "trace", "split", "windows", "hours", "intervals", "seeds", "calibrate", "save", "csv",
)  # fmt: skip


def run(arguments: argparse.Namespace, argv: Sequence[str]) -> bool:
    """Runs it, prints what happens and what it came to, and writes the page; with cases or policies, `reports.against`.

    Returns:
        False where a request failed, or the killed worker was not replaced.

    Raises:
        ValueError: what was asked does not go together.
        ProcessFailed: one of the processes did not come up, or ended by itself.
        OSError: a file cannot be written, or a process no longer be reached.
    """
    if arguments.cases or arguments.policies:
        from reports.against import command

        return command.run(arguments, argv)
    for name in NOT_HERE:
        if getattr(arguments, name) is not None:
            raise ValueError(f"--{name} does not go with --live, which says itself what runs")
    if arguments.live < LEAST_S:
        raise ValueError(f"--live {arguments.live}: give {LEAST_S} s or more, or nothing can be seen to change")
    console = Console(highlight=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    show = watching(console)
    try:
        found = Demo(FOLDER.absolute(), arguments.live, show).run()
    finally:
        show.close()
    tell(found, console)
    document = record(_rows(found), argv, live=asdict(found))
    report, numbers = arguments.report or REPORT, arguments.json or FOLDER / "record.json"
    write(numbers, document)
    print(f"every number: {numbers}")
    if not arguments.no_report:
        publish(page(found, document), report)
    print(f"logs, journal, and files to run it by hand: {FOLDER}")
    return found.failed == 0 and not (found.kill and found.kill.replaced_s is None and not found.kill.why)


def _rows(found: Record) -> Iterator[Mapping[str, Any]]:
    told = found.clients
    yield {"figure": "requests failed", "value": found.failed, "unit": "requests", "target": 0, "how": "tidal replay"}
    if told["kept_up"]:
        violations = (told["late"] + found.failed) / max(1, told["requests"])
        yield {"figure": "violations", "value": 100 * violations, "unit": "%", "how": "tidal replay"}
        yield {"figure": "latency p99", "value": told["p99_s"], "unit": "s", "how": "tidal replay"}
    yield {"figure": "sent late", "value": 100 * told["sent_late_ratio"], "unit": "%", "how": "tidal replay"}
    if found.kill and found.kill.replaced_s is not None:
        replaced_s = found.kill.replaced_s - found.kill.t_s
        yield {"figure": "kill -9 to replaced", "value": replaced_s, "unit": "s", "how": "events of the control API"}
