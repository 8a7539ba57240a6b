"""`evaluate.py --live SECONDS --cases NAMES`: the simulator against live workers, told, as a page and as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from reports.against.cases import CASES, TIMED, Case
from reports.against.comparison import Result, compare
from reports.against.page import page
from reports.against.side import FIGURES
from reports.against.table import tell
from reports.against.timed import timed
from reports.html import publish
from reports.record import plain, record, write
from reports.table import WIDTH

FOLDER = Path("out/against")
REPEATS = 3
NOT_HERE = ("reference", "split", "windows", "hours", "intervals", "seeds", "csv")


def run(arguments: argparse.Namespace, argv: Sequence[str]) -> bool:
    """Plays the cases that are asked for, one after another; the page tells of all that the folder holds.

    Returns:
        False where clients could not keep up in a run, so that it says nothing.

    Raises:
        ValueError: what was asked does not go together.
        RunSpoilt, ProcessFailed: a live run came to nothing.
    """
    for name in NOT_HERE:
        if getattr(arguments, name) is not None:
            raise ValueError(f"--{name} does not go with --live")
    console = Console(highlight=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    kept_up = True
    for case in _asked(arguments):
        folder = FOLDER.absolute() / case.name
        seconds, repeats = float(arguments.live), arguments.repeats or REPEATS
        if case.scenario in TIMED:
            case = timed(case, folder, seconds)
        found = compare(case, arguments.trace, seconds, repeats, folder, lambda text: print(text, flush=True))
        tell(found, console)
        write(folder / "result.json", plain({"command": record([], argv)["command"], **found}))
        kept_up &= found["kept_up"]
    found_all = results()
    document = record(_rows(found_all), argv, cases=found_all)
    report = arguments.report or FOLDER / "report.html"
    write(arguments.json or FOLDER / "record.json", document)
    if not arguments.no_report:
        publish(page(found_all, document), report)
    return kept_up


def results(folder: Path = FOLDER) -> list[Result]:
    """All cases that were played into the folder, those of the documentation first."""
    order = {case.name: place for place, case in enumerate(CASES)}
    files = sorted(folder.glob("*/result.json"), key=lambda file: (order.get(file.parent.name, len(order)), file))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def _asked(arguments: argparse.Namespace) -> list[Case]:
    known = {case.name: case for case in CASES}
    if not arguments.cases:
        names = arguments.policies.split(",")
        own = Path(arguments.scenario).stem
        return [Case(f"{own}-{Path(name).name}", arguments.scenario, name, speed=arguments.speed or 1.0) for name in names]
    names = list(known) if arguments.cases == "all" else arguments.cases.split(",")
    if arguments.policies:
        raise ValueError("--cases says which policies play; give one of --cases and --policies")
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"no case {', '.join(unknown)}; there are all, {', '.join(known)}")
    return [replace(known[name], speed=arguments.speed or known[name].speed) for name in names]


def _rows(found: Sequence[Result]) -> Iterator[Mapping[str, Any]]:
    for one in found:
        how = f"{one['repeats']} live runs of {one['requests']} requests"
        for name, row in one["figures"].items():
            figure = FIGURES[name]
            unit = "%" if figure.relative else figure.unit if figure.unit != "%" else "points"
            yield {"figure": f"{one['case']}: {figure.label}, live against simulated", "value": row["difference"],
                   "unit": unit, "target": figure.most, "how": how}  # fmt: skip
        yield {"figure": f"{one['case']}: decisions equal on what was seen live", "value": 100 * min(one["fed_equal"]),
               "unit": "%", "target": 100, "how": how}  # fmt: skip
        within = min(row["counts_within_1"] for row in one["closed_loop"])
        yield {"figure": f"{one['case']}: intervals with every kind's count within 1", "value": 100 * within, "unit": "%",
               "target": 95, "how": how}  # fmt: skip
