"""`evaluate.py --weightings`: one agent at many weightings of its goals, against planners solved anew for each."""

from __future__ import annotations

import argparse
import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from envs.scenario_file import load as load_scenario
from reports.html import embed, framed, made_by, publish
from reports.measures import REWARD
from reports.protocol_command import STORE, cells_of, find_loads, policies_of, refuse, sizes_of
from reports.protocol_plan import Cell, Weighting
from reports.protocol_play import PLANNER, Task, keys_of, rows_of
from reports.protocol_run import play
from reports.protocol_store import Store
from reports.record import record, write
from reports.results import describe
from reports.statistics import Estimate
from reports.table import WIDTH
from reports.weightings import TOGETHER, Breadth, breadths, weightings
from reports.weightings_drawing import drawing

COLD_START_S = "60"
REPORT = Path("out/weightings.html")
RESAMPLES, SEED = 2_000, 0
HEADS = ("volume", "less the best planner's", "reward, less the best planner's at each", "ahead, behind")


def run(arguments: argparse.Namespace, argv: Sequence[str]) -> bool:
    """Plays what is not yet in the store, prints the tables, writes what was asked for.

    Args:
        arguments: of `evaluate.py`.
        argv: the program and its arguments.

    Returns:
        True where everything was played; False after an interruption.

    Raises:
        ValueError: what was asked cannot be done; nothing was played then.
        LookupError, OSError, ImportError: likewise, from what reads scenarios, traces and policies.
    """
    refuse(arguments)
    arguments.cold_starts = arguments.cold_starts or COLD_START_S
    scenario, sizes = load_scenario(arguments.scenario), sizes_of(arguments)
    around = weightings(scenario.weights.cost, scenario.weights.slo)
    plain = cells_of(arguments, scenario)
    rows = rows_of(policies_of(arguments, scenario), scenario)
    find_loads(plain, sizes, scenario)
    store = Store(arguments.store or STORE)
    keys = keys_of(Task(replace(cell, weighting=w), row, sizes) for cell in plain for w in around for row in rows)
    if not play({task: key for task, key in keys.items() if store.get(key) is None}, store, arguments.jobs):
        return False
    found = {}
    for cell in plain:
        outcomes: dict[Weighting, dict[str, Any]] = {
            w: {row.label: store.get(keys[Task(replace(cell, weighting=w), row, sizes)]) for row in rows} for w in around}
        found[cell] = breadths(outcomes, np.random.default_rng(SEED), RESAMPLES)
    document = record(
        [figure for cell, some in found.items() for breadth in some for figure in _figures(cell, breadth)], argv,
        scenario=describe(scenario), made=date.today().isoformat(), size=sizes.told, summary=list(_summary(found)),
        weightings=[w._asdict() for w in around], bootstrap={"resamples": RESAMPLES, "seed": SEED, "level": 0.95},
        points=[{"source": cell.source.name, "cold_start_s": cell.cold_start_s, "policy": b.row, **w._asdict(),
                 **dict(zip(("violations", "accuracy", "cost_ratio"), point))}
                for cell, some in found.items() for b in some for w, point in b.points.items()])
    _tell(found, document)
    if arguments.json:
        write(arguments.json, document)
        print(f"every number: {arguments.json}")
    if not arguments.no_report:
        report = arguments.report or REPORT
        publish((_markdown if report.suffix == ".md" else _page)(found, document), report)
    return True


def _figures(cell: Cell, b: Breadth) -> Iterator[dict[str, Any]]:
    about = {"source": cell.source.name, "cold_start_s": cell.cold_start_s, "policy": b.row, "kind": b.kind,
             "members": b.members}
    told = (("hypervolume", b.volume, "of the box"), ("hypervolume, less the best planner's", b.against, "paired by window"),
            ("reward over weightings, less the best planner's at each", b.reward, "paired by window"))
    for name, e, how in told:
        if np.isfinite(e.value):
            yield {"figure": name, "value": e.value, "low": e.low, "high": e.high, "unit": "", "how": how, **about}


def _summary(found: Mapping[Cell, Sequence[Breadth]]) -> Iterator[str]:
    """A sentence for each source: the agent with the largest volume against the planner with the largest."""
    for cell, some in found.items():
        planner = next(b for b in some if b.kind == PLANNER and b.row != TOGETHER)
        agent = next((b for b in some if b.kind != PLANNER), None)
        if agent is None:
            yield f"{cell.told}: {planner.row} (planner) dominates {planner.volume.value:.3f} of the box."
        else:
            yield (f"{cell.told}: {agent.row} ({agent.kind}) dominates {agent.volume.value:.3f} of the box, "
                   f"{planner.row} (planner) {planner.volume.value:.3f}; {_signed(agent.against)}"
                   f"{'' if agent.against.excludes_zero else ', not told from zero'}.")


def _signed(e: Estimate) -> str:
    if not np.isfinite(e.value):
        return ""
    interval = f" {REWARD.interval(e.low, e.high, sign=True)}" if np.isfinite(e.low) else ""
    return f"{REWARD.show(e.value, sign=True)}{interval}"


def _cells(b: Breadth) -> tuple[str, str, str, str]:
    several = f"{b.ahead}, {b.behind}" if b.points else ""
    return f"{b.volume.value:.3f}", _signed(b.against), _signed(b.reward), several


def _tell(found: Mapping[Cell, Sequence[Breadth]], document: Mapping[str, Any]) -> None:
    console = Console(highlight=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    console.print(Text.assemble((document["scenario"]["name"], "bold"), f"  {document['size']}"))
    console.print(Text(f"{len(document['weightings'])} weightings of cost and violations; planners calibrated and solved anew "
                       "for each", "dim"), "")
    for cell, some in found.items():
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=cell.told, title_justify="left", header_style="bold")
        for head in ("policy", *HEADS):
            table.add_column(head, justify="left" if head == "policy" else "right")
        for b in some:
            table.add_row(Text.assemble((b.row, "bold"), "" if b.row == TOGETHER else f" ({b.kind})"), *_cells(b))
        console.print(table, "")
    for sentence in document["summary"]:
        console.print(Text(f"- {sentence}"))


def _markdown(found: Mapping[Cell, Sequence[Breadth]], document: Mapping[str, Any]) -> str:
    written = f"Written by the command below, {document['made']}, code `{document['versions']['tidal']}`; {document['size']}."
    lines = [f"# Over all weightings: {document['scenario']['name']}", "", *(f"- {told}" for told in document["summary"]), "",
             written, "", f"    {document['command']}", "",
             "What each column means is in [the protocol](protocol.md#over-all-weightings).", ""]
    for cell, some in found.items():
        lines += [f"## {cell.told}", "", f"| policy | {' | '.join(HEADS)} |", "|---" * 5 + "|"]
        lines += [f"| {b.row if b.row == TOGETHER else f'`{b.row}` ({b.kind})'} | {' | '.join(_cells(b))} |" for b in some]
        lines.append("")
    return "\n".join(lines)


def _page(found: Mapping[Cell, Sequence[Breadth]], document: Mapping[str, Any]) -> str:
    return framed("weightings", {
        "title": html.escape(f"{document['scenario']['name']}: one agent for many weightings"),
        "size": html.escape(document["size"]),
        "summary": "".join(f"<li>{html.escape(told)}</li>" for told in document["summary"]),
        "sections": "".join(_section(cell, some) for cell, some in found.items()),
        "command": html.escape(document["command"]), "provenance": made_by(document), "data": embed(document),
    })


def _section(cell: Cell, some: Sequence[Breadth]) -> str:
    heads = "".join(f'<th scope="col">{head.capitalize()}</th>' for head in ("policy", *HEADS))
    body = "".join(f'<tr><th scope="row">{html.escape(b.row)}<small>{"" if b.row == TOGETHER else b.kind}</small></th>'
                   f"{''.join(f'<td>{text}</td>' for text in _cells(b))}</tr>" for b in some)
    name = html.escape(cell.told)
    return (f"<section><h2>{name}</h2>{drawing(some, name)}"
            f'<div class="scroll" tabindex="0" role="region" aria-label="{name}"><table>'
            f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div></section>")
