"""`evaluate.py --calibrate`: calibrates policies on training load, prints what was found and keeps the settings in a file."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

from baselines import settings_file
from baselines.calibrate import LEAST_BUDGET, Calibration, Settings
from baselines.shortlist import fits, shortlist, tables_of
from envs.contract import CONTRACT_VERSION, Policy
from envs.loads import Loads, open_loads
from envs.scenario import Scenario
from envs.scenario_file import load as load_scenario
from reports.calibration import Stage, calibrate_all
from reports.play import make_policy
from reports.record import command, record, write
from reports.results import describe
from reports.table import WIDTH
from reports.training_windows import JUDGING_SEED, SELECTING_SEED, Window, training_windows
from reports.window_length import intervals_of

TABLE_WINDOWS = 12  # of those that choose
SHORTLISTED = 5  # settings that go from the tables to the simulator
POLICIES = "infadapter,infadapter-fast,hpa,static"
NOT_HERE = ("windows", "seeds", "split", "reference")  # options of an evaluation only


def run(arguments: argparse.Namespace, argv: Sequence[str]) -> bool:
    """Calibrates as asked, prints the table, writes the settings.

    Args:
        arguments: of `evaluate.py`.
        argv: the program and its arguments.

    Returns:
        True: all of it was done.

    Raises:
        ValueError: what was asked cannot be done; nothing was played then.
        LookupError, OSError, ImportError: likewise, from what reads scenarios, traces and policies.
    """
    _refuse(arguments)
    scenario, budget = load_scenario(arguments.scenario), arguments.calibrate
    policies = _policies(arguments.policies or POLICIES, scenario)
    path = arguments.save or settings_file.path_for(scenario.name)
    _keep_others(path, policies)
    n = intervals_of(arguments, scenario)
    window_s = n * scenario.interval_s
    loads = open_loads(scenario, arguments.trace, "train", window_s * budget)
    windows = training_windows(loads.loads.values(), loads.span_s, window_s, budget, scenario.interval_s)
    shortlists, told = _shortlists(policies, scenario, loads, windows[0], n, arguments.tables)
    with _Progress(budget * len(policies)) as progress:
        stage = Stage(arguments.scenario, loads.loads, n)
        found = calibrate_all(policies, scenario, stage, budget, windows, arguments.jobs, progress.tell, shortlists)
    Console(width=WIDTH, highlight=False).print(_table(found, scenario))
    header = [*_header(argv, scenario, loads, window_s, len({w.start_s for part in windows for w in part}), budget), *told]
    for line in told:
        print(line)
    settings_file.write(
        path, header, {name: c.settings for name, c in found.items()}, {name: _note(c, scenario) for name, c in found.items()}
    )
    print(f"settings: {path}")
    _write(arguments, argv, scenario, loads, found)
    return True


def _shortlists(
    policies: Mapping[str, type[Policy]],
    scenario: Scenario,
    loads: Loads,
    windows: Sequence[Window],
    intervals: int,
    tried: int | None,
) -> tuple[dict[str, list[Settings]], list[str]]:
    """Settings chosen in reward tables, for the policies that fit, and what that took in words."""
    if not tried:
        return {}, []
    fitting = {name: policy for name, policy in policies.items() if fits(policy)}
    if not fitting:
        raise ValueError(f"--tables {tried}: none of {', '.join(policies)} can be tried in reward tables")
    tables = tables_of(scenario, loads.loads, windows[:TABLE_WINDOWS], intervals)
    kept = {name: shortlist(policy, tables, tried, SHORTLISTED) for name, policy in fitting.items()}
    played = len(tables.table.value)
    return kept, [
        f"Beside the defaults, {', '.join(kept)} tried the best {SHORTLISTED} of {tried} settings in reward tables.",
        f"The tables took {tables.plays} calls of the simulator on {played} choosing windows, for all together and on top.",
    ]


def _refuse(arguments: argparse.Namespace) -> None:
    for name in NOT_HERE:
        if getattr(arguments, name) is not None:
            raise ValueError(f"--{name} does not go with --calibrate, which chooses among training windows by itself")
    if arguments.demo:
        raise ValueError("--demo does not go with --calibrate")
    if arguments.calibrate < LEAST_BUDGET:
        raise ValueError(f"--calibrate {arguments.calibrate}: give {LEAST_BUDGET} calls of the simulator or more")


def _policies(names: str, scenario: Scenario) -> dict[str, type[Policy]]:
    """The classes of policies by name, all of which have something to calibrate."""
    policies: dict[str, type[Policy]] = {}
    for name in filter(None, (part.strip() for part in names.split(","))):
        policy = type(make_policy(name, scenario))
        if not policy.space(scenario):
            raise ValueError(f"policy {name}: has no settings to calibrate")
        try:
            policy().reset(scenario)
        except ValueError as error:
            raise ValueError(f"policy {name}: {error}") from error
        policies[name] = policy
    if not policies:
        raise ValueError("--policies names none")
    return policies


def _keep_others(path: Path, policies: Mapping[str, type[Policy]]) -> None:
    """Settings of one file come from one command; what it would lose is not overwritten."""
    lost = [name for name in settings_file.read(path) if name not in policies]
    if lost:
        raise ValueError(f"{path} would lose the settings of {', '.join(lost)}: add to --policies, or --save elsewhere")


class _Progress:
    """A bar on a terminal, and a line for each tenth of the work elsewhere."""

    def __init__(self, total: int) -> None:
        self._bar = tqdm(total=total, unit="call", disable=not sys.stderr.isatty(), dynamic_ncols=True, leave=False)
        self._total, self._done, self._began = total, 0, time.monotonic()

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def tell(self, policy: str) -> None:
        self._done += 1
        self._bar.update()
        self._bar.set_postfix_str(policy)
        if self._bar.disable and self._done * 10 // self._total > (self._done - 1) * 10 // self._total:
            spent_s = time.monotonic() - self._began
            print(f"{self._done}/{self._total} calls, {policy}, {spent_s:.0f} s", file=sys.stderr, flush=True)


def _table(found: Mapping[str, Calibration], scenario: Scenario) -> Table:
    """For the terminal."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False, leading=1)
    table.add_column("policy", no_wrap=True)
    for name in ("reward by\ndefault", "with the\nbest found", "difference,\nstd error", "calls"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("settings to use")
    for name, c in found.items():
        style = "green" if c.settings else ""
        table.add_row(
            name,
            f"{c.default_reward:.4f}",
            f"{c.best_reward:.4f}",
            Text(f"{c.difference:+.4f}\n± {c.error:.4f}", style),
            str(c.calls),
            _words(c.settings, scenario) or "the defaults: the best found was not better",
        )
    return table


def _note(c: Calibration, scenario: Scenario) -> str:
    """What the file says of a policy's settings."""
    measured = f"{c.difference:+.4f} ± {c.error:.4f} (standard error) on {c.judged} judging windows"
    if not c.settings:
        best = _words(c.best, scenario)
        return f"reward {c.default_reward:.4f} by default, which stays; the best of {len(c.table)}: {measured} ({best})"
    constant = f"; {_words(c.settings, scenario)}" if "levels" in c.settings else ""
    return f"reward {c.best_reward:.4f}, {c.default_reward:.4f} by default: {measured}, best of {len(c.table)}{constant}"


def _words(settings: Settings, scenario: Scenario) -> str:
    """Settings as one would say them; the levels of candidates as the deployment that they stand for."""
    return ", ".join(
        str(scenario.deployment(value)) if name == "levels" else f"{name} {value}" for name, value in settings.items()
    )


def _header(argv: Sequence[str], scenario: Scenario, loads: Loads, window_s: float, windows: int, budget: int) -> list[str]:
    return [
        f"Settings of policies on {scenario.name}, calibrated on training load. Made by:",
        f"    {command(argv)}",
        f"Load: {loads.told}.",
        f"{windows} windows of {window_s / 3600:g} h lie evenly over it; half of them choose, the other half judge the best",
        f"against the defaults. {budget} calls of the simulator, one window each, for every policy.",
        f"Seeds: of requests from {SELECTING_SEED} (choosing) and {JUDGING_SEED} (judging) on, of the settings drawn 0.",
        f"Contract version {CONTRACT_VERSION}. {settings_file.fitted_to(scenario)}.",
    ]


def _write(
    arguments: argparse.Namespace, argv: Sequence[str], scenario: Scenario, loads: Loads, found: Mapping[str, Calibration]
) -> None:
    """The further files asked for: every number as JSON, all settings tried as CSV."""
    if arguments.json:
        how = {name: f"mean over {c.judged} judging windows of training load, {c.calls} calls" for name, c in found.items()}
        rows = [
            {"figure": f"{name}: {what}", "value": value, "unit": "reward", "how": how[name]}
            for name, c in found.items()
            for what, value in (
                ("by default", c.default_reward),
                ("best settings found", c.best_reward),
                ("difference", c.difference),
                ("standard error of the difference", c.error),
            )
        ]
        settings = {name: c.settings for name, c in found.items()}
        write(arguments.json, record(rows, argv, scenario=describe(scenario), load=loads.told, settings=settings))
        print(f"every number: {arguments.json}")
    if arguments.csv:
        tables = [c.table.assign(policy=name).set_index("policy") for name, c in found.items()]
        arguments.csv.parent.mkdir(parents=True, exist_ok=True)
        pd.concat(tables).to_csv(arguments.csv)
        print(f"all settings tried: {arguments.csv}")
