"""`evaluate.py`: policies on the same windows of load and the same seeds; table, verdict, page, and every number."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.text import Text
from tqdm import tqdm

from baselines.bound import check as check_bound
from envs.episode import Episode
from envs.loads import Loads, open_loads, spread
from envs.scenario import Scenario
from envs.scenario_file import load as load_scenario
from reports.comparison import Comparison, compare
from reports.courses import courses
from reports.hindsight import BOUND, NAMES, ORACLE, add_hindsight
from reports.html import Part, page, publish
from reports.measures import cost_of
from reports.overview import Overview, overview, trace_of
from reports.play import Plan, Player, Run, make_policy, play
from reports.record import record, write
from reports.results import results
from reports.table import WIDTH, terminal_table
from reports.verdict import verdict
from reports.window_length import intervals_of

RESAMPLES, BOOTSTRAP_SEED = 2000, 0
REPORT = Path("out/evaluation.html")
POLICIES = "infadapter,hpa,static,ppo"
WINDOWS = 12
DEFAULTS = {"policies": POLICIES, "split": "val", "windows": WINDOWS, "seeds": 1, "report": REPORT}


def run(arguments: argparse.Namespace, argv: Sequence[str]) -> bool:
    """Plays, tells and writes, trace by trace where several are given.

    Args:
        arguments: of `evaluate.py`.
        argv: the program and its arguments.

    Returns:
        False after an interruption: what every policy has played is told.

    Raises:
        ValueError: what was asked cannot be done, or no window was played to its end.
        LookupError, OSError, ImportError: likewise, from what reads scenarios, traces and policies.
    """
    for name, default in DEFAULTS.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, default)
    traces = list(dict.fromkeys(word.strip() for word in (arguments.trace or "").split(",") if word.strip())) or [None]
    prepared = [_prepare(arguments, trace) for trace in traces]  # what is wrong with any is told before all
    parts: list[Part] = []
    whole = True
    for scenario, loads, player in prepared:
        part, whole = _compared(arguments, argv, scenario, loads, player, len(traces))
        if part is not None:
            parts.append(part)
        if not whole:
            break
    if not parts:
        return False
    _write(arguments, argv, parts)
    return whole


def _compared(
    arguments: argparse.Namespace, argv: Sequence[str], scenario: Scenario, loads: Loads, player: Player, traces: int
) -> tuple[Part | None, bool]:
    """One trace played and told, None where no window was played to its end; and whether all of it was."""
    episodes, oracles, whole = _played(player, arguments.jobs)
    plan, rng = player.plan, np.random.default_rng(BOOTSTRAP_SEED)
    label = dict(zip(plan.policies, plan.labels)).get(arguments.reference or "", arguments.reference or "")
    labels = [name for name in plan.labels if name != ORACLE]
    try:
        comparison = compare(episodes, scenario.weights, rng, policies=labels, reference=label, resamples=RESAMPLES,
                             cost=cost_of(scenario))
    except ValueError as error:
        if whole:
            raise
        print(f"evaluate.py: {error}", file=sys.stderr)
        return None, False
    if plan.intervals * scenario.interval_s * len(plan.starts_s) > loads.span_s + 1e-6:
        comparison.notes.append("The windows overlap, so they are not independent: intervals are too narrow.")
    if asked := [name for name in NAMES if name in _names(arguments)]:
        add_hindsight(comparison, asked, oracles, scenario, loads.loads, plan.intervals, rng, RESAMPLES)
    _tell(comparison, loads)
    document = results(comparison, scenario, argv, _how(arguments, scenario, loads, plan))
    return Part(comparison, document, courses(comparison, episodes, scenario, traces)), whole


def _how(arguments: argparse.Namespace, scenario: Scenario, loads: Loads, plan: Plan) -> dict[str, object]:
    """How it was played, for the record."""
    return {
        "load": loads.told,
        "split": arguments.split,
        "window_s": plan.intervals * scenario.interval_s,
        "jobs": arguments.jobs,
        "made": date.today().isoformat(),
        "bootstrap": {"resamples": RESAMPLES, "seed": BOOTSTRAP_SEED, "level": 0.95},
    }


def _prepare(arguments: argparse.Namespace, trace: str | None) -> tuple[Scenario, Loads, Player]:
    """Everything that can be wrong with what was asked is found here, before anything is played."""
    scenario = load_scenario(arguments.scenario)
    intervals = intervals_of(arguments, scenario)
    window_s = intervals * scenario.interval_s
    loads = open_loads(scenario, trace, arguments.split, window_s * arguments.windows)
    names = tuple(name for name in _names(arguments) if name != BOUND)
    if not set(names) - {ORACLE}:
        raise ValueError("--policies names none" + (f" beside {', '.join(_names(arguments))}" if _names(arguments) else ""))
    if BOUND in _names(arguments):
        check_bound(scenario)
    plan = Plan(
        arguments.scenario,
        names,
        _labels(names),
        loads.loads,
        loads.trace,
        tuple(dict.fromkeys(spread(loads.span_s, window_s, arguments.windows, scenario.interval_s))),
        tuple(range(arguments.seeds)),
        intervals,
    )
    if arguments.reference and arguments.reference not in {*plan.policies, *plan.labels} - {ORACLE}:
        raise ValueError(f"--reference {arguments.reference} is not among the policies: {', '.join(names)}")
    player = Player(plan, scenario, make_policy)
    for index, name in enumerate(names):
        try:
            player.policy(index).reset(scenario)
        except (ValueError, LookupError, OSError, ImportError) as error:
            raise ValueError(f"policy {name}: {error.args[0] if error.args else error}") from error
    return scenario, loads, player


def _names(arguments: argparse.Namespace) -> tuple[str, ...]:
    """The names in --policies, each once."""
    return tuple(dict.fromkeys(name.strip() for name in arguments.policies.split(",") if name.strip()))


def _played(player: Player, jobs: int) -> tuple[list[Episode], list[Episode], bool]:
    """Episodes of the policies, those of the oracle, and whether it was all of them."""
    episodes: list[Episode] = []
    oracles: list[Episode] = []
    try:
        for episode in _progress(player, jobs):
            (oracles if episode.policy == ORACLE else episodes).append(episode)
    except KeyboardInterrupt:
        print("\ninterrupted: reporting what every policy has played", file=sys.stderr)
        return episodes, oracles, False
    return episodes, oracles, True


def _progress(player: Player, jobs: int) -> Iterator[Episode]:
    """Plays, with a bar on a terminal and a line for each tenth of the work elsewhere."""
    total, began = len(player.plan.runs()), time.monotonic()
    bar = tqdm(total=total, unit="episode", disable=not sys.stderr.isatty(), dynamic_ncols=True, leave=False)
    with bar:
        for done, (run, episode) in enumerate(play(player, jobs), start=1):
            bar.update()
            bar.set_postfix_str(_where(player.plan, run))
            if bar.disable and (done == total or done * 10 // total > (done - 1) * 10 // total):
                print(f"{done}/{total} episodes, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
            yield episode


def _where(plan: Plan, run: Run) -> str:
    return f"{plan.labels[run.policy]}, window {plan.starts_s.index(run.start_s) + 1}, seed {run.seed}"


def _tell(comparison: Comparison, loads: Loads) -> None:
    """The table and the verdict, 110 columns at most."""
    console = Console(highlight=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    said = verdict(comparison)
    played = f"{_count(len(comparison.windows), 'window')} x {_count(len(comparison.seeds), 'seed')}, the same for all"
    console.print(Text.assemble((comparison.scenario, "bold"), "  ", loads.told))
    console.print(Text(f"{played}; 95 % intervals below; bold: the best and all not told apart from it", "dim"))
    console.print()
    console.print(terminal_table(comparison, console.width), "")
    console.print(Text.assemble((said.headline, "bold"), " ", said.evidence))
    for sentence in said.findings:
        console.print(Text(f"- {sentence}"))
    for sentence in said.caveats:
        console.print(Text(f"! {sentence}", style="yellow"))
    console.print()


def _write(arguments: argparse.Namespace, argv: Sequence[str], parts: Sequence[Part]) -> None:
    if len(parts) > 1:
        _tell_overview(overview([part.comparison for part in parts]))
    if arguments.json:
        write(arguments.json, parts[0].results if len(parts) == 1 else together(parts, argv))
        print(f"every number: {arguments.json}")
    if arguments.csv:
        arguments.csv.parent.mkdir(parents=True, exist_ok=True)
        pd.concat([part.comparison.runs for part in parts]).drop(columns="slo_slope").to_csv(arguments.csv, index=False)
        print(f"one row per episode: {arguments.csv}")
    if not arguments.no_report:
        publish(page(parts), arguments.report)


def _tell_overview(said: Overview) -> None:
    console = Console(highlight=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    console.print(Text.assemble((said.headline, "bold"), " ", said.evidence))
    for sentence in said.findings:
        console.print(Text(f"- {sentence}"))
    console.print()


def together(parts: Sequence[Part], argv: Sequence[str]) -> dict[str, object]:
    """The record of several traces: their rows, each with its trace, and what else each trace's record says."""
    shared = ("command", "machine", "versions", "rows")
    rows = [{**row, "trace": trace_of(part.comparison)} for part in parts for row in part.results["rows"]]
    told = {trace_of(p.comparison): {k: v for k, v in p.results.items() if k not in shared} for p in parts}
    return record(rows, argv, verdict=asdict(overview([p.comparison for p in parts])), traces=told)


def _labels(names: Sequence[str]) -> tuple[str, ...]:
    """What policies are called in results: a path by its last part where that is enough."""
    short = [Path(name).stem if "/" in name or name.endswith(".zip") else name.rpartition(":")[2] for name in names]
    return tuple(s if short.count(s) == 1 else name for s, name in zip(short, names))


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
