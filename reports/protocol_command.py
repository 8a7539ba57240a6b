"""`evaluate.py --protocol`: learned agents against calibrated planners, under rules that the command line cannot bend."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Container, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from baselines.calibrate import LEAST_BUDGET
from envs.scenario import Scenario
from envs.scenario_file import load as load_scenario
from reports.html import publish
from reports.learning_curves import curves_of
from reports.play import make_policy
from reports.protocol import Standing, figures, standings, summary
from reports.protocol_leaders import leaders
from reports.protocol_markdown import markdown
from reports.protocol_page import page
from reports.protocol_plan import (
    COLD_STARTS_S,
    FULL,
    JUDGED,
    QUICK,
    QUICK_COLD_STARTS_S,
    Cell,
    Sizes,
    generated,
    sized,
    sources,
)
from reports.protocol_play import ORACLE, Row, Task, hindsight_rows, keys_of, rows_of
from reports.protocol_run import play
from reports.protocol_store import Store
from reports.protocol_table import tables
from reports.record import record, write
from reports.results import describe
from reports.table import WIDTH

PLANNERS = ("static-fast", "infadapter-fast", "infadapter-hold", "order-keep-band", "mpc")
AGENTS = ("infadapter-forecast", "mpc-forecast", "ppo", "order-keep-network", "portfolio")  # those made for the scenario
NOT_HERE = ("split", "reference", "csv", "save", "hours")  # what the protocol fixes, or does not write
STORE, REPORT = Path("out/protocol"), Path("out/protocol.html")
LEFT_OUT = "{source}"  # in a policy's pattern: the source of the cell, such as the one that its training left out
RESAMPLES, SEED = 10_000, 0


def run(arguments: argparse.Namespace, argv: Sequence[str]) -> bool:
    """Plays what is not yet in the store, prints the tables, writes what was asked for.

    Args:
        arguments: of `evaluate.py`.
        argv: the program and its arguments.

    Returns:
        True where every cell was played; False after an interruption.

    Raises:
        ValueError: what was asked cannot be done; nothing was played then.
        LookupError, OSError, ImportError: likewise, from what reads scenarios, traces and policies.
    """
    refuse(arguments)
    scenario, sizes = load_scenario(arguments.scenario), sizes_of(arguments)
    cells = cells_of(arguments, scenario)
    now = _named(arguments.cells, cells) if arguments.cells else cells
    find_loads(now, sizes, scenario)
    words = policies_of(arguments, scenario)
    of_source = {source: [*rows_of([word.replace(LEFT_OUT, source.name) for word in words], scenario), *hindsight_rows()]
                 for source in dict.fromkeys(cell.source for cell in cells)}
    rows = list(dict.fromkeys(row for some in of_source.values() for row in some))
    store = Store(arguments.store or STORE)
    keys = keys_of(Task(cell, row, sizes) for cell in cells for row in of_source[cell.source])
    missing = {task: key for dear in (False, True) for cell in now for task, key in keys.items()
               if task.cell == cell and (task.row.label == ORACLE) is dear and store.get(key) is None}
    whole = play(missing, store, arguments.jobs)
    played = {cell: {task.row.label: store.get(key) for task, key in keys.items() if task.cell == cell} for cell in cells}
    complete = {cell: [o for o in some.values() if o] for cell, some in played.items()
                if all(o or label == ORACLE for label, o in some.items())}
    if not complete:
        print("no cell is complete yet; the same command goes on", file=sys.stderr)
        return False
    found = standings(list(complete.values()), np.random.default_rng(SEED), RESAMPLES, sizes.full)
    document = _document(argv, scenario, sizes, rows, list(complete.values()), found, _not_played(played, complete))
    _tell(found, document)
    if arguments.json:
        write(arguments.json, document)
        print(f"every number: {arguments.json}")
    if not arguments.no_report:
        members = {row.label: [m for other in rows if other.label == row.label for m in other.members] for row in rows}
        curves = {label: curves_of(some) for label, some in members.items()}
        report = arguments.report or REPORT
        publish((markdown if report.suffix == ".md" else page)(found, document, curves), report)
    return whole


def find_loads(cells: Sequence[Cell], sizes: Sizes, scenario: Scenario) -> None:
    """Opens all loads, so that a trace that is missing is told before anything is played.

    Raises:
        LookupError, OSError, ValueError: one is missing, or is shorter than what is to be played.
    """
    for cell in cells:
        for split in ("train", "val"):
            cell.loads(split, sizes.windows * sizes.intervals * scenario.interval_s)


def policies_of(arguments: argparse.Namespace, scenario: Scenario) -> list[str]:
    """Those that are asked for; where none are, the planners and the agents that are made for the scenario."""
    words = [word.strip() for word in (arguments.policies or "").split(",") if word.strip()]
    return words or [*PLANNERS, *(name for name in AGENTS if _made(name, scenario))]


def _made(name: str, scenario: Scenario) -> bool:
    try:
        make_policy(name, scenario)
    except (LookupError, ValueError):
        return False
    return True


def refuse(arguments: argparse.Namespace) -> None:
    """Refuses what the protocol fixes, or does not write.

    Raises:
        ValueError: it was asked for.
    """
    for name in NOT_HERE:
        if getattr(arguments, name) is not None:
            raise ValueError(f"--{name} does not go with --protocol, which fixes or does not write it")
    if arguments.demo:
        raise ValueError("--demo does not go with --protocol; --quick makes it small")
    if arguments.calibrate is not None and arguments.calibrate < LEAST_BUDGET:
        raise ValueError(f"--calibrate {arguments.calibrate}: give {LEAST_BUDGET} calls of the simulator or more")


def sizes_of(arguments: argparse.Namespace) -> Sizes:
    """How much is played."""
    base = QUICK if arguments.quick else FULL
    return sized(base, calls=arguments.calibrate, windows=arguments.windows, intervals=arguments.intervals,
                 seeds=arguments.seeds)


def cells_of(arguments: argparse.Namespace, scenario: Scenario) -> list[Cell]:
    """All cells asked for, source by source."""
    if arguments.trace:
        chosen = sources([name.strip() for name in arguments.trace.split(",") if name.strip()])
    elif os.environ.get("TIDAL_TRACES"):
        chosen = list(JUDGED[:2] if arguments.quick else JUDGED)
    else:
        chosen = generated(scenario)
        print("TIDAL_TRACES names no folder of traces: generated load, on which no verdict is given", file=sys.stderr)
    default = QUICK_COLD_STARTS_S if arguments.quick else COLD_STARTS_S
    cold_starts = [float(word) for word in arguments.cold_starts.split(",")] if arguments.cold_starts else default
    if not chosen:
        raise ValueError(f"scenario '{scenario.name}' generates no load: name one with --trace")
    if any(not c > 0 for c in cold_starts):
        raise ValueError(f"--cold-starts {arguments.cold_starts}: one is not above 0 s")
    return [Cell(arguments.scenario, source, c) for source in chosen for c in dict.fromkeys(cold_starts)]


def _named(words: str, cells: Sequence[Cell]) -> list[Cell]:
    """The cells that ``source:seconds,...`` names, in that order."""
    known = {f"{cell.source.name}:{cell.cold_start_s:g}": cell for cell in cells}
    asked = [word.strip() for word in words.split(",") if word.strip()]
    if unknown := [word for word in asked if word not in known]:
        raise ValueError(f"--cells {', '.join(unknown)}: there are {', '.join(known)}")
    return [known[word] for word in asked]


def _document(argv: Sequence[str], scenario: Scenario, sizes: Sizes, rows: Sequence[Row], cells: Sequence[Sequence[dict]],
              found: Sequence[Standing], missing: Sequence[str]) -> dict[str, Any]:
    """The JSON record."""
    outcomes = [o for cell in cells for o in cell]
    refused = {(o["row"], o["cell"]["cold_start_s"]): o["refused"] for o in outcomes if o["refused"]}
    by_reason: dict[tuple[str, str], list[str]] = {}
    for (row, cold_start_s), reason in refused.items():
        by_reason.setdefault((row, reason), []).append(f"{cold_start_s:g}")
    notes = [f"{row} has no row at {', '.join(times)} s: {reason}" for (row, reason), times in by_reason.items()]
    if not sizes.full:
        notes.insert(0, f"Below the protocol's size ({FULL.told.partition(': ')[2]}): no verdict is given.")
    notes[:0] = missing
    return record(
        figures(found), argv, scenario=describe(scenario), made=date.today().isoformat(), size=sizes.told,
        leaders=leaders(found), summary=summary(found), notes=notes, loads=list(dict.fromkeys(o["load"] for o in outcomes)),
        bootstrap={"resamples": RESAMPLES, "seed": SEED, "level": 0.95},
        policies=[{"label": row.label, "members": list(row.members)} for row in rows],
        cells=[{key: o.get(key) for key in ("cell", "row", "kind", "settings", "calls", "trained_on", "refused", "episodes")}
               for o in outcomes],
    )


def _not_played(played: Mapping[Cell, Mapping[str, Any]], complete: Container[Cell]) -> list[str]:
    """What is missing, in words. The oracle is dear and played last: a cell is shown without it."""
    left = [cell.told for cell in played if cell not in complete]
    without = [cell.told for cell, outcomes in played.items() if cell in complete and not outcomes[ORACLE]]
    told = [f"{len(left)} of {len(played)} cells are not played yet and are left out: {'; '.join(left)}."] if left else []
    return told + ([f"Without the oracle yet, the planner with a perfect forecast in its place: {'; '.join(without)}."]
                   if without else [])


def _tell(found: Sequence[Standing], document: dict[str, Any]) -> None:
    """Tables and verdicts, 110 columns at most."""
    console = Console(highlight=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    console.print(Text.assemble((document["scenario"]["name"], "bold"), f"  {document['size']}"))
    for load in document["loads"]:
        console.print(Text(f"validation load: {load}", "dim"))
    told = ("each cell: reward; against the best calibrated planner, with its 95 % interval; the share of the gap to the "
            "oracle or the perfect forecast that is closed; verdict; violations, accuracy and cost in percent")
    console.print(Text(told, "dim"), "")
    for table in tables(found, console.width):
        console.print(table, "")
    for sentence in (*document["leaders"], *document["summary"]):
        console.print(Text(f"- {sentence}"))
    for sentence in document["notes"]:
        console.print(Text(f"! {sentence}", style="yellow"))
