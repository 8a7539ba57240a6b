"""`tidal chaos`: random faults against a whole live system under load, and whether it kept what it promises."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

FAILED = 1
SHORTEST_S = 6.0
MOST_TOLD = 10  # of what one trial broke


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `chaos` to the command line."""
    parser = commands.add_parser("chaos", help="random faults against a whole live system, checked by invariants")
    parser.add_argument("--seconds", type=float, default=30.0, help="of load and faults in each trial (%(default)g)")
    parser.add_argument("--seed", type=int, default=1, help="of the first trial: all faults follow from it (%(default)s)")
    parser.add_argument("--seeds", type=int, default=1, help="trials, of one seed after the other (%(default)s)")
    parser.add_argument("--folder", type=Path, default=Path("runs/chaos"), metavar="DIR",
                        help="keeps the results; trials that are there are not played again (%(default)s)")
    parser.add_argument("--table", type=Path, metavar="FILE",
                        help="also put the table of faults and outcomes, of all results there, into this page")
    parser.set_defaults(run=partial(_run, parser))


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    if not SHORTEST_S <= arguments.seconds < float("inf"):
        parser.error(f"--seconds: give {SHORTEST_S:g} or more: the system must have time to go wrong, and to recover")
    if arguments.seed < 0 or arguments.seeds < 1:
        parser.error("--seed is not below 0, --seeds not below 1")
    from runtime.chaos.table import put_into, table
    from runtime.demo.processes import ProcessFailed

    arguments.folder.mkdir(parents=True, exist_ok=True)
    try:
        results = [_played(arguments.folder, seed, arguments.seconds)
                   for seed in range(arguments.seed, arguments.seed + arguments.seeds)]
    except ProcessFailed as error:
        print(f"tidal: {error}", file=sys.stderr)
        return FAILED
    if arguments.table:
        put_into(arguments.table, table(_kept(arguments.folder)))
    return FAILED if any(result["broken"] for result in results) else 0


def _played(folder: Path, seed: int, seconds: float) -> dict[str, Any]:
    """One trial, or what is known of it already. The logs of one that broke something are kept."""
    name = f"{seed}-{seconds:g}"
    kept = folder / f"{name}.json"
    if kept.exists():
        result: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    else:
        from runtime.chaos.trial import play

        result = play(folder / name, seed, seconds)
        kept.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        if not (result["broken"] or result["refused"] or result["lost"]):
            shutil.rmtree(folder / name)
    _tell(result, folder / name)
    return result


def _kept(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*-*.json"))]


def _tell(result: dict[str, Any], logs: Path) -> None:
    from runtime.chaos.faults import on_ray

    print(f"seed {result['seed']} ({result['replicas']}): {len(result['faults'])} faults, {result['requests']} requests: "
          f"{result['answered']} answered ({result['at_once']} at once), {result['refused']} refused, {result['lost']} lost, "
          f"{result['doubled']} answered twice; {'all held' if not result['broken'] else 'BROKEN:'}", flush=True)
    if on_ray(result["seed"]) and result["replicas"] == "workers":
        print("  without the faults of Ray's nodes: pip install ray (the extra `ray`)")
    for text in result["broken"][:MOST_TOLD]:
        print(f"  {text}")
    if result["broken"]:
        if (more := len(result["broken"]) - MOST_TOLD) > 0:
            print(f"  and {more} more")
        print(f"  again: tidal chaos --seed {result['seed']} --seconds {result['seconds']:g} --folder DIR; logs: {logs}")
