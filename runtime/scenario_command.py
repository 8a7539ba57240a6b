"""`tidal scenario`: lists the built-in scenarios, and says what is wrong with a scenario file, line by line."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from envs.scenario import Scenario


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `scenario` and its verbs to the command line."""
    scenario = commands.add_parser("scenario", help="check a scenario file, or list the built-in scenarios")
    verbs = scenario.add_subparsers(title="verbs", metavar="VERB", required=True)
    check = verbs.add_parser("check", help="say what is wrong with a scenario file, line by line")
    check.add_argument("file", help="a YAML file, or the name of a built-in scenario")
    check.add_argument("--json", action="store_true", help="print one JSON object {file, ok, problems} instead of lines")
    check.set_defaults(run=_check)
    verbs.add_parser("list", help="list the built-in scenarios").set_defaults(run=_list)


def _check(arguments: argparse.Namespace) -> int:
    from envs import scenario_file  # reads pandas: not for `tidal --help`

    problems = scenario_file.check(arguments.file)
    if arguments.json:
        rows = [asdict(problem) for problem in problems]
        print(json.dumps({"file": arguments.file, "ok": not problems, "problems": rows}, indent=2, ensure_ascii=False))
    elif problems:
        print("\n".join(map(str, problems)))
    else:
        print(f"{arguments.file}: ok: {_summary(scenario_file.load(arguments.file))}")
    return 1 if problems else 0


def _summary(scenario: Scenario) -> str:
    budget = ", ".join(f"{device.budget} {name}" for name, device in scenario.devices.items())
    parts = f"{len(scenario.services)} service(s), {len(scenario.variants)} variant(s), {len(scenario.kinds)} replica kind(s)"
    return f"{parts}, budget {budget}, {scenario.episode_intervals} intervals of {scenario.interval_s:g} s"


def _list(_: argparse.Namespace) -> int:
    from envs import scenario_file

    for name in scenario_file.names():
        scenario = scenario_file.load(name)
        print(f"{name:22}{_summary(scenario)}")
        print(f"{'':22}{scenario.source}")
    return 0
