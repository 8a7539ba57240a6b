"""Compares policies on the same windows of load and the same seeds.

    python evaluate.py --demo
    python evaluate.py --scenario resnet-variants --policies infadapter,hpa,ppo --seeds 3
    python evaluate.py --policies infadapter,ppo --trace twitter_2021 --windows 24 --json out/twitter.json
    python evaluate.py --calibrate 300 --trace twitter_2021
    python evaluate.py --protocol --quick
    python evaluate.py --weightings --quick
    python evaluate.py --reproduce all
    python evaluate.py --live 60
    python evaluate.py --live 100 --cases all
    python evaluate.py --replay prometheus:http://127.0.0.1:9090 --from 7d --slo 0.25

Windows are spread evenly over the validation part of the load; every policy meets the same requests in each. The table and the
verdict go to the terminal, every number to --json, one row per episode to --csv, and a page that needs no network to --report.

With --calibrate N nothing is compared: the settings of each policy are tuned in N calls of the simulator on the training part,
and kept for all later uses (baselines/calibrated/). With --reproduce NAME|all numbers that others published are made again.
With --protocol learned agents are held against planners calibrated for each source of load and cold start, with --weightings
against planners that are calibrated and solved anew wherever cost and violations weigh something else (docs/protocol.md).
With --bench POLICY,... any policy is scored on frozen tasks, and --leaderboard makes docs/leaderboard.md of such results
(docs/bench.md). With --robustness policies meet what a real cluster does to them, one trouble at a time (docs/robustness.md).
With --replay SOURCE a recorded load is played: what other policies would have done and cost (docs/replay.md).
With --live SECONDS real processes serve on this machine: gateway, workers, autoscaler, load, and a worker that is killed;
with --cases or --policies too, the simulator is held against live workers (docs/simulator_against_live.md).

Exit codes: 0 all was played, 1 interrupted (what is complete is written), or a request failed live, 2 called wrongly, or a
trace is missing.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from reports import calibrate_command, compare_command, reproduce
from reports.compare_command import POLICIES, REPORT, WINDOWS

FAILED = INTERRUPTED = 1
WRONG = 2
SHARED_TWITTER = "twitter_2021"
SCENARIO = "resnet-variants"


class Mode(NamedTuple):
    """What can be asked for in place of a comparison."""

    command: str  # module of `reports` whose `run(arguments, argv)` does it, and says whether all of it
    options: tuple[str, ...]  # that go with it, and with no mode that does not name them
    interrupted: str  # what is left of it then
    failed: int = FAILED  # exit code where it was not all


PLAYED, TASKS = ("quick", "cold_starts", "store"), ("tasks", "results")
MODES = {
    "replay": Mode("replay.command", ("begin", "end", "slo", "select", "system", "save_load"), "nothing is written"),
    "reproduce": Mode("reproduce", (), "nothing is written", failed=WRONG),
    "live": Mode("live_command", ("cases", "repeats", "speed"), "all processes are ended, nothing is written"),
    "protocol": Mode("protocol_command", ("cells", *PLAYED), "what was played is kept"),
    "weightings": Mode("weightings_command", PLAYED, "what was played is kept"),
    "bench": Mode("bench.command", TASKS, "the policies that were played to their end have their files"),
    "leaderboard": Mode("bench.leaderboard", TASKS, "nothing is written"),
    "robustness": Mode("robustness.command", (), "nothing is written"),
    "calibrate": Mode("calibrate_command", ("save", "tables"), "nothing is written"),
}
SPELT = {"begin": "from", "end": "to"}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="evaluate.py", description="Compares policies on the same load and the same seeds.")
    top.add_argument(
        "--demo", action="store_true", help="infadapter, hpa, static, pretrained ppo: a few hours of load in minutes"
    )
    what = top.add_argument_group("what is compared")
    what.add_argument("--scenario", metavar="NAME_OR_FILE", help=f"a built-in scenario, or a YAML file ({SCENARIO})")
    what.add_argument(
        "--policies",
        metavar="NAME,...",
        help=f"names, exported agents' folders, package.module:Class, .zip files of SB3, oracle, bound ({POLICIES})",
    )
    what.add_argument("--reference", metavar="NAME", help="hold the others against this one (the first)")
    on = top.add_argument_group("on what")
    on.add_argument("--trace", metavar="NAME_OR_PATH,...", help="in place of the scenario's trace, at its mean load")
    on.add_argument("--split", choices=("train", "val"), help="part of the load (val)")
    on.add_argument("--windows", type=_positive, metavar="N", help=f"stretches of load, spread evenly ({WINDOWS})")
    length = on.add_mutually_exclusive_group()
    length.add_argument("--hours", type=float, metavar="H", help="length of a window (the scenario's episode)")
    length.add_argument("--intervals", type=_positive, metavar="N", help="length of a window in intervals")
    on.add_argument("--seeds", type=_positive, metavar="N", help="seeds per window, from 0 (1)")
    tune = top.add_argument_group("calibration, in place of a comparison")
    tune.add_argument(
        "--calibrate",
        type=_positive,
        metavar="N",
        help=f"tune each policy's settings in N calls of the simulator, on training load ({calibrate_command.POLICIES})",
    )
    tune.add_argument(
        "--tables", type=_positive, metavar="N", help="first try N settings in reward tables, of each policy that can be"
    )
    tune.add_argument("--save", type=Path, metavar="FILE", help="the settings (baselines/calibrated/<scenario>.yaml)")
    again = top.add_argument_group("reproduction, in place of a comparison")
    known = ", ".join(reproduce.names())
    again.add_argument("--reproduce", metavar="NAME|all", help=f"published numbers, ours beside theirs: {known}")
    held = top.add_argument_group("the protocol, in place of a comparison")
    held.add_argument("--protocol", action="store_true", help="agents against planners, calibrated per trace and cold start")
    held.add_argument("--weightings", action="store_true", help="agents at nine weightings of cost and violations")
    held.add_argument("--quick", action="store_true", help="a small one, minutes, without verdicts")
    held.add_argument("--cold-starts", metavar="S,...", help="seconds (10,30,60,120,300; --weightings: 60)")
    held.add_argument("--cells", metavar="SOURCE:S,...", help="play these now; the report has all that are complete")
    held.add_argument("--store", type=Path, metavar="FOLDER", help="what is played once stays here (out/protocol)")
    live = top.add_argument_group("live, in place of a comparison")
    live.add_argument("--live", type=_positive, metavar="SECONDS", help="real processes on this machine, under load")
    live.add_argument("--cases", metavar="NAME,...|all", help="the simulator against live workers, on these (or: --policies)")
    live.add_argument("--repeats", type=_positive, metavar="N", help="live runs of each case (3)")
    live.add_argument("--speed", type=float, metavar="F", help="play it so many times as fast (1, or the case's own)")
    own = top.add_argument_group("one's own record, in place of a comparison")
    own.add_argument("--replay", metavar="SOURCE", help="prometheus:URL, journal:FILE_OR_FOLDER, or FILE.csv")
    own.add_argument("--from", dest="begin", metavar="WHEN", help="a date with its zone, or 7d, 36h, 90m before the end")
    own.add_argument("--to", dest="end", metavar="WHEN", help="the same (now, or the end of the file)")
    own.add_argument("--slo", type=float, metavar="S", help="latency SLO in seconds, where no scenario is given")
    own.add_argument("--select", metavar="LABEL=VALUE,...", help="of the series in Prometheus")
    own.add_argument("--system", metavar="NAME", help="whose series they are, where several fit: vllm, triton, http, ...")
    own.add_argument("--save-load", type=Path, metavar="FILE.csv", help="write the load that was recorded, as a trace")
    score = top.add_argument_group("Tidal Bench and robustness, in place of a comparison")
    score.add_argument("--bench", metavar="POLICY,...", help="score policies on frozen tasks; all: every registered one")
    score.add_argument("--leaderboard", action="store_true", help="docs/leaderboard.md from the results in docs/leaderboard/")
    score.add_argument("--tasks", type=Path, metavar="FILE", help="other tasks than those that come with Tidal")
    score.add_argument("--results", type=Path, metavar="FOLDER", help="of result files (out/bench, docs/leaderboard)")
    score.add_argument("--robustness", action="store_true", help="what each trouble of a cluster costs each policy")
    out = top.add_argument_group("what is written")
    out.add_argument("--report", type=Path, metavar="FILE", help=f"the page ({REPORT}, {reproduce.REPORT}, ...)")
    out.add_argument("--no-report", action="store_true", help="no page")
    out.add_argument("--csv", type=Path, metavar="FILE", help="one row per episode, settings tried, or published figure")
    out.add_argument("--json", type=Path, metavar="FILE", help="every number, with intervals, machine, versions and command")
    top.add_argument(
        "--jobs",
        type=_positive,
        default=1,
        metavar="N",
        help="processes; more than the cores that are free distort decision times",
    )
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Runs an evaluation and returns its exit code.

    Raises:
        SystemExit: code 2 for wrong arguments; code 0 after --help.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = parser().parse_args(words)
    asked = next((name for name in MODES if getattr(arguments, name)), None)
    if arguments.demo and asked in (None, "calibrate"):
        arguments = parser().parse_args([*_demo(), *words])  # what is said beside --demo wins
    try:
        whole = _run(asked, arguments)(arguments, ["evaluate.py", *words])
    except (ValueError, LookupError, OSError, ImportError, RuntimeError) as error:
        print(f"evaluate.py: {_one_line(error)}", file=sys.stderr)
        return FAILED if asked == "live" and not isinstance(error, ValueError) else WRONG
    except KeyboardInterrupt:
        print(f"\ninterrupted: {MODES[asked].interrupted if asked else 'nothing was played'}", file=sys.stderr)
        return INTERRUPTED
    return 0 if whole else MODES[asked].failed if asked else INTERRUPTED


def _run(asked: str | None, arguments: argparse.Namespace) -> Callable[[argparse.Namespace, Sequence[str]], bool]:
    """What does it: its options, and those alone, are given."""
    for option in dict.fromkeys(option for mode in MODES.values() for option in mode.options):
        owners = [name for name, mode in MODES.items() if option in mode.options]
        if asked not in owners and getattr(arguments, option):
            raise ValueError(f"--{SPELT.get(option, option).replace('_', '-')} belongs to --{' and --'.join(owners)}")
    if asked != "replay":
        arguments.scenario = arguments.scenario or SCENARIO
    run = import_module(f"reports.{MODES[asked].command}").run if asked else compare_command.run  # the live one imports torch
    return run


def _demo() -> list[str]:
    real = ["--trace", SHARED_TWITTER] if os.environ.get("TIDAL_TRACES") else []
    return ["--scenario", SCENARIO, "--policies", POLICIES, "--windows", "12", "--hours", "1", *real]


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return number


def _one_line(error: Exception) -> str:
    """The text of an error without line breaks; a KeyError's without its quotes."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return "; ".join(text.splitlines()) or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
