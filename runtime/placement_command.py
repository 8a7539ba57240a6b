"""`tidal placement`: which devices form groups, and what each hosts, planned from a profile and requests, or a scenario.

AlpaServe's search, the better one that goes on from it, or replication on single devices (`docs/policies/alpaserve.md`). The
plan is scored on requests that it was not planned on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from baselines.placement import Placement, PlacementProblem, Stock
    from baselines.placement_files import Limit
    from baselines.placement_replay import Outcome, Replay

METHODS = ("better", "search-sep", "search", "replication")
GB = 1e9
PLANNED_S = 750.0  # of a scenario's load, for AlpaServe's search
TO_PLAN, TO_JUDGE = 0.5, 0.25  # of the requests of a file; the rest scores the plan


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `placement` to the command line."""
    parser = commands.add_parser("placement", help="plan which devices form groups, and which models each group hosts")
    parser.add_argument("scenario", nargs="?", help="a built-in scenario, or a YAML file; or give --profile and --requests")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="as `tidal profile estimate` writes it")
    parser.add_argument("--requests", type=Path, metavar="FILE", help="CSV: arrival_s,model; NAME#7 is a copy of model NAME")
    parser.add_argument("--devices", type=_stock, action="append", metavar="TYPE=N,GB", help="number, and memory for weights "
                        "of each: v100=16,14; may come again for another type")
    parser.add_argument("--slo", type=_limit, metavar="S|Nx", help="in seconds, or times the latency on fewest devices: 5x")
    parser.add_argument("--method", choices=METHODS, default=METHODS[0], help="%(default)s by default; search and search-sep: "
                        "AlpaServe's")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="a picture of the placement")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the placement and what it attains")
    parser.set_defaults(run=_run)


class Task(NamedTuple):
    """What is planned: on `fewer` by AlpaServe's search, on `wider` by the better one; others judge that and score the end."""

    fewer: Replay
    wider: Replay
    judge: Replay
    test: Replay


class Planned(NamedTuple):
    """A plan, what it attains on the requests that score it, and what whole models on single devices attain on them."""

    placement: Placement
    outcome: Outcome
    replicated: float | None
    took_s: float


def _run(arguments: argparse.Namespace) -> int:
    files = [name for name in ("profile", "requests", "devices", "slo") if getattr(arguments, name) is not None]
    if arguments.scenario and files:
        raise ValueError(f"--{files[0]} does not go with a scenario, which says it itself")
    if not arguments.scenario and len(files) < 4:
        raise ValueError("give a scenario, or all of --profile, --requests, --devices and --slo")
    task = _of_scenario(arguments.scenario) if arguments.scenario else _of_files(arguments)
    planned = _plan(task, arguments.method)
    print(f"planned in {planned.took_s:.1f} s", file=sys.stderr)
    problem = task.test.problem
    title = _title(problem, planned, arguments.method)
    print(title)
    print("\n".join(_lines(problem, planned)))
    if arguments.svg:
        from runtime.placement_picture import picture

        arguments.svg.write_text(picture(problem, planned.placement, planned.outcome.dispatched.tolist(), title), "utf-8")
        print(f"the picture, for any browser: {arguments.svg}", file=sys.stderr)
    if arguments.json:
        arguments.json.write_text(json.dumps(_record(problem, planned, arguments.method), indent=2) + "\n", "utf-8")
    return 0


def _of_scenario(name: str) -> Task:
    from baselines.placement_improve import JUDGED, WIDER
    from baselines.placement_replay import Replay
    from baselines.placement_scenario import problem_of, requests_of
    from envs.scenario_file import load

    scenario = load(name)
    problem = problem_of(scenario)
    fewer, wider = (requests_of(scenario, times * PLANNED_S) for times in (1, WIDER))
    judge, test = requests_of(scenario, JUDGED * PLANNED_S, 10**6), requests_of(scenario, WIDER * PLANNED_S, split="val")
    return Task(*(Replay(problem, requests) for requests in (fewer, wider, judge, test)))


def _of_files(arguments: argparse.Namespace) -> Task:
    from baselines.placement_files import read
    from baselines.placement_replay import Replay

    problem, requests = read(arguments.profile, arguments.requests, dict(arguments.devices), arguments.slo)
    end, judged = int(TO_PLAN * len(requests)), int((TO_PLAN + TO_JUDGE) * len(requests))
    if not 0 < end < judged < len(requests):
        raise ValueError(f"{arguments.requests} has {len(requests)} requests: too few to plan on some and to score on others")
    wider, judge, test = (Replay(problem, requests[part]) for part in (slice(end), slice(end, judged), slice(judged, None)))
    return Task(wider, wider, judge, test)


def _plan(task: Task, method: str) -> Planned:
    from baselines.alpaserve_search import search, search_sep
    from baselines.placement import check
    from baselines.placement_improve import BUDGET, plan, requests_played
    from baselines.selective_replication import replicate, single_devices

    began_s = time.monotonic()
    if method == "better":
        placement = plan(task.fewer, task.wider, requests_played(BUDGET), judge=task.judge).placement
    elif method == "replication":
        placement = replicate(task.fewer)
    else:
        placement = (search_sep if method == "search-sep" else search)(task.fewer).placement
    took_s = time.monotonic() - began_s
    check(task.test.problem, placement)
    try:
        single_devices(task.test.problem)
        replicated = task.test.play(replicate(task.fewer)).attainment
    except ValueError:  # no model runs on a single device
        replicated = None
    return Planned(placement, task.test.play(placement), replicated, took_s)


def _title(problem: PlacementProblem, planned: Planned, method: str) -> str:
    devices = ", ".join(f"{stock.devices} {name}" for name, stock in problem.stocks.items())
    beside = "" if planned.replicated is None or method == "replication" else \
        f"; whole models on single devices: {100 * planned.replicated:.1f} %"
    return (f"{len(problem.models)} models on {devices}, {method}: "
            f"{100 * planned.outcome.attainment:.1f} % of {len(planned.outcome.latency_s)} other requests within their SLO"
            f"{beside}")


def _lines(problem: PlacementProblem, planned: Planned) -> list[str]:
    """A table: each group with its shape, its memory, its share of the requests and its models; who is nowhere."""
    from baselines.placement import memory_bytes

    total = max(int(planned.outcome.dispatched.sum()), 1)
    lines = ["group  stages x shards   memory a device       requests  models"]
    for number, (group, own) in enumerate(zip(planned.placement, planned.outcome.dispatched.tolist(), strict=True), 1):
        limit = problem.stocks[group.shape.device].memory_bytes
        shape = f"{group.shape.inter_op} x {group.shape.intra_op} {group.shape.device}"
        memory = f"{memory_bytes(problem, group) / GB:.2f} of {limit / GB:.2f} GB"
        names = " ".join(problem.models[m].name for m in group.models) or "none"
        lines.append(f"{number:5}  {shape:16}  {memory:20}  {100 * own / total:6.1f} %  {names}")
    nowhere = sorted(set(range(len(problem.models))) - {m for group in planned.placement for m in group.models})
    if nowhere:
        lines.append(f"nowhere: {' '.join(problem.models[m].name for m in nowhere)}")
    return lines


def _record(problem: PlacementProblem, planned: Planned, method: str) -> dict[str, object]:
    groups = [{"device": group.shape.device, "inter_op": group.shape.inter_op, "intra_op": group.shape.intra_op,
               "models": [problem.models[m].name for m in group.models], "requests": int(own)}
              for group, own in zip(planned.placement, planned.outcome.dispatched.tolist(), strict=True)]
    return {"method": method, "attainment": planned.outcome.attainment, "requests": len(planned.outcome.latency_s),
            "planned_s": planned.took_s, "replication_attainment": planned.replicated, "groups": groups}


def _stock(text: str) -> tuple[str, Stock]:
    from baselines.placement import Stock

    name, _, rest = text.partition("=")
    try:
        count, gigabytes = rest.split(",")
        stock = Stock(int(count), GB * float(gigabytes))
    except ValueError:
        stock = Stock(0, 0.0)
    if not name or stock.devices < 1 or not stock.memory_bytes > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a type with its number and GB of memory, such as v100=16,14")
    return name, stock


def _limit(text: str) -> Limit:
    from baselines.placement_files import Limit

    try:
        limit = Limit(float(text.removesuffix("x")), text.endswith("x"))
    except ValueError:
        limit = Limit(0.0, False)
    if not 0 < limit.value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither seconds nor a multiple such as 5x")
    return limit
