"""`evaluate.py --robustness`: policies x disturbances, a heat map of loss in the terminal, a page and every number."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from envs.loads import spread
from reports.html import publish
from reports.record import record, write
from reports.results import describe
from reports.robustness.disturbances import DISTURBANCES, named
from reports.robustness.matrix import Matrix, hundredths, matrix, rows, verdict
from reports.robustness.page import page
from reports.robustness.play import Cell, Stage, loads_of, play
from reports.table import WIDTH
from reports.window_length import intervals_of

POLICIES = "static,hpa,keda,infadapter,infadapter-hold,order-keep-band,ppo,order-keep-network"
REPORT = Path("out/robustness.html")
WINDOWS, RESAMPLES, SEED = 6, 2000, 0
NOT_HERE = ("reference", "csv", "save", "calibrate")
STRONG, WEAK = 0.1, 0.01  # losses that are red, and those that are nothing


def run(arguments: argparse.Namespace, argv: Sequence[str]) -> bool:
    """Plays, tells and writes; True: all was played.

    Raises:
        ValueError: what was asked cannot be done.
        LookupError, OSError, ImportError: likewise, from what reads scenarios, traces and policies.
    """
    for name in NOT_HERE:
        if getattr(arguments, name) is not None:
            raise ValueError(f"--{name} does not go with --robustness")
    policies = list(dict.fromkeys(word.strip() for word in (arguments.policies or POLICIES).split(",") if word.strip()))
    stage = _stage(arguments)
    found = matrix(_progress(stage, policies, arguments.jobs), np.random.default_rng(SEED), RESAMPLES)
    scenario, window_s = stage.problem(), stage.intervals * stage.problem().interval_s
    load = loads_of(stage.scenario, stage.trace, stage.split, window_s * len(stage.starts_s)).told
    size = f"{len(stage.starts_s)} windows of {window_s / 60:g} min x {stage.seeds} seed{'s' * (stage.seeds > 1)}"
    document = record(
        rows(found),
        argv,
        scenario=describe(scenario),
        made=date.today().isoformat(),
        load=load,
        size=size,
        verdict=verdict(found),
        kinds=dict(found.kinds),
        policies=list(found.policies),
        disturbances=[{"name": d.name, "group": d.group, "told": d.told} for d in map(named, found.disturbances)],
        bootstrap={"resamples": RESAMPLES, "seed": SEED, "level": 0.95},
    )
    _tell(found, document["verdict"], scenario.name, load, size)
    if arguments.json:
        write(arguments.json, document)
        print(f"every number: {arguments.json}")
    if not arguments.no_report:
        publish(page(found, document), arguments.report or REPORT)
    return True


def _stage(arguments: argparse.Namespace) -> Stage:
    """What is played; everything that can be wrong with it is found here."""
    stage = Stage(arguments.scenario, arguments.trace, arguments.split or "val", (), 0, arguments.seeds or 1)
    scenario = stage.problem()
    intervals, windows = intervals_of(arguments, scenario), arguments.windows or WINDOWS
    window_s = intervals * scenario.interval_s
    loads = loads_of(stage.scenario, stage.trace, stage.split, window_s * windows)
    starts_s = tuple(dict.fromkeys(spread(loads.span_s, window_s, windows, scenario.interval_s)))
    for trouble in DISTURBANCES:
        trouble.world(scenario)
    return Stage(stage.scenario, stage.trace, stage.split, starts_s, intervals, stage.seeds)


def _progress(stage: Stage, policies: Sequence[str], jobs: int) -> list[Cell]:
    """Plays, with a line on stderr for each tenth of the work."""
    cells, total, began = [], len(policies) * (len(DISTURBANCES) + 1), time.monotonic()
    for done, played in enumerate(play(stage, policies, [d.name for d in DISTURBANCES], jobs), start=1):
        cells.append(played)
        if done == total or done * 10 // total > (done - 1) * 10 // total:
            print(f"{done}/{total} cells, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    order = {d: i for i, d in enumerate(["undisturbed", *(d.name for d in DISTURBANCES)])}
    return sorted(cells, key=lambda c: (order[c.disturbance], policies.index(c.policy)))


def _tell(found: Matrix, said: Sequence[str], scenario: str, load: str, size: str) -> None:
    """The matrix of losses and the verdict, 110 columns at most."""
    console = Console(highlight=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    console.print(Text.assemble((scenario, "bold"), f"  {load}; {size}"))
    console.print(
        Text("loss of reward against the same policy undisturbed, in hundredths; bold: who earns most under it", "dim"), ""
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("trouble", no_wrap=True)
    for policy in found.policies:
        table.add_column(policy, justify="right", overflow="fold", min_width=5)
    table.add_row(
        "(undisturbed reward)", *(f"{100 * found.calm[p].value:.1f}" for p in found.policies), style="dim", end_section=True
    )
    for trouble in found.disturbances:
        best = found.best(trouble)
        table.add_row(trouble, *(_cell(found.losses[trouble, p].loss.value, p == best) for p in found.policies))
    table.add_row("mean", *(_cell(found.mean_loss[p].value, False) for p in found.policies))
    console.print(table, "")
    for sentence in said:
        console.print(Text(f"- {sentence}"))
    console.print()


def _cell(loss: float, best: bool) -> Text:
    colour = "red" if loss > STRONG else "yellow" if loss > 2 * WEAK else "green" if loss < -WEAK else ""
    return Text(hundredths(loss), style=f"{colour}{' bold' if best else ''}".strip())
