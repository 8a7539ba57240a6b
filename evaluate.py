"""Compares policies on the same windows of load and the same seeds.

    python evaluate.py --demo
    python evaluate.py --scenario resnet-variants --policies infadapter,hpa,ppo --seeds 3
    python evaluate.py --policies infadapter,ppo --trace twitter_2021 --windows 24 --json out/twitter.json
    python evaluate.py --calibrate 300 --trace twitter_2021
    python evaluate.py --protocol --quick
    python evaluate.py --reproduce all
    python evaluate.py --live 60
    python evaluate.py --replay prometheus:http://127.0.0.1:9090 --from 7d --slo 0.25

Windows are spread evenly over the validation part of the load; every policy meets the same requests in each. The table and the
verdict go to the terminal, every number to --json, one row per episode to --csv, and a page that needs no network to --report.

With --calibrate N nothing is compared: the settings of each policy are tuned in N calls of the simulator on the training part,
and kept for all later uses (baselines/calibrated/). With --reproduce NAME|all numbers that others published are made again.
With --protocol learned agents are held against planners calibrated for each source of load and cold start (docs/protocol.md).
With --replay SOURCE a recorded load is played: what other policies would have done and cost (docs/replay.md).
With --live SECONDS real processes serve on this machine: gateway, workers, autoscaler, load, and a worker that is killed.

Exit codes: 0 all was played, 1 interrupted (what is complete is written), or a request failed live, 2 called wrongly, or a
trace is missing.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.text import Text
from tqdm import tqdm

from baselines.bound import check as check_bound
from envs.episode import Episode
from envs.loads import Loads, open_loads, spread
from envs.scenario import Scenario
from envs.scenario_file import load as load_scenario
from reports import calibrate_command, reproduce
from reports.comparison import Comparison, compare
from reports.courses import courses
from reports.hindsight import BOUND, NAMES, ORACLE, add_hindsight
from reports.html import page
from reports.play import Plan, Player, Run, make_policy, play
from reports.record import write
from reports.results import results
from reports.table import WIDTH, terminal_table
from reports.verdict import verdict

INTERRUPTED, WRONG = 1, 2
FAILED = 1
RESAMPLES, BOOTSTRAP_SEED = 2000, 0
SHARED_TWITTER = "twitter_2021"
REPORT = Path("out/evaluation.html")
DEMO_POLICIES = "infadapter,hpa,static,ppo"
SCENARIO = "resnet-variants"
WINDOWS = 12
LIVE_REPORT = Path("out/live/report.html")


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
        help=f"names, exported agents' folders, package.module:Class, .zip files of SB3, oracle, bound ({DEMO_POLICIES})",
    )
    what.add_argument("--reference", metavar="NAME", help="hold the others against this one (the first)")
    on = top.add_argument_group("on what")
    on.add_argument("--trace", metavar="NAME_OR_PATH", help="in place of the scenario's trace, at the scenario's mean load")
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
    held.add_argument("--quick", action="store_true", help="a small one, minutes, without verdicts")
    held.add_argument("--cold-starts", metavar="S,...", help="seconds (10,30,60,120,300)")
    held.add_argument("--store", type=Path, metavar="FOLDER", help="what is played once stays here (out/protocol)")
    live = top.add_argument_group("live, in place of a comparison")
    live.add_argument("--live", type=_positive, metavar="SECONDS", help="real processes on this machine, under load")
    own = top.add_argument_group("one's own record, in place of a comparison")
    own.add_argument("--replay", metavar="SOURCE", help="prometheus:URL, journal:FILE_OR_FOLDER, or FILE.csv")
    own.add_argument("--from", dest="begin", metavar="WHEN", help="a date with its zone, or 7d, 36h, 90m before the end")
    own.add_argument("--to", dest="end", metavar="WHEN", help="the same (now, or the end of the file)")
    own.add_argument("--slo", type=float, metavar="S", help="latency SLO in seconds, where no scenario is given")
    own.add_argument("--select", metavar="LABEL=VALUE,...", help="of the series in Prometheus")
    own.add_argument("--system", metavar="NAME", help="whose series they are, where several fit: vllm, triton, http, ...")
    out = top.add_argument_group("what is written")
    out.add_argument("--report", type=Path, metavar="FILE", help=f"the page ({REPORT}, {reproduce.REPORT}, {LIVE_REPORT})")
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
    if arguments.replay is not None:
        return _replay(arguments, ["evaluate.py", *words])
    arguments.scenario = arguments.scenario or SCENARIO
    if arguments.reproduce is not None:
        return _reproduce(arguments, ["evaluate.py", *words])
    if arguments.live is not None:
        return _live(arguments, ["evaluate.py", *words])
    if arguments.protocol:
        return _protocol(arguments, ["evaluate.py", *words])
    if arguments.demo:
        arguments = parser().parse_args([*_demo(), *words])  # what is said beside --demo wins
    if arguments.calibrate is not None:
        return _calibrate(arguments, ["evaluate.py", *words])
    try:
        scenario, loads, player = _prepare(_with_defaults(arguments))
    except (ValueError, LookupError, OSError, ImportError) as error:
        print(f"evaluate.py: {_one_line(error)}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        return INTERRUPTED
    episodes: list[Episode] = []
    oracles: list[Episode] = []
    interrupted = False
    try:
        for episode in _progress(player, arguments.jobs):
            (oracles if episode.policy == ORACLE else episodes).append(episode)
    except KeyboardInterrupt:
        interrupted = True
        print("\ninterrupted: reporting what every policy has played", file=sys.stderr)
    label = dict(zip(player.plan.policies, player.plan.labels)).get(arguments.reference or "", arguments.reference or "")
    try:
        rng = np.random.default_rng(BOOTSTRAP_SEED)
        labels = [name for name in player.plan.labels if name != ORACLE]
        comparison = compare(episodes, scenario.weights, rng, policies=labels, reference=label, resamples=RESAMPLES)
    except ValueError as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        return INTERRUPTED if interrupted else WRONG
    if player.plan.intervals * scenario.interval_s * len(player.plan.starts_s) > loads.span_s + 1e-6:
        comparison.notes.append("The windows overlap, so they are not independent: intervals are too narrow.")
    if asked := [name for name in NAMES if name in _names(arguments)]:
        add_hindsight(comparison, asked, oracles, scenario, loads.loads, player.plan.intervals, rng, RESAMPLES)
    _tell(comparison, loads)
    _write(arguments, ["evaluate.py", *words], comparison, scenario, loads, episodes, player.plan)
    return INTERRUPTED if interrupted else 0


def _demo() -> list[str]:
    real = ["--trace", SHARED_TWITTER] if os.environ.get("TIDAL_TRACES") else []
    return ["--scenario", "resnet-variants", "--policies", DEMO_POLICIES, "--windows", "12", "--hours", "1", *real]


def _calibrate(arguments: argparse.Namespace, argv: list[str]) -> int:
    try:
        calibrate_command.run(arguments, argv, make_policy, lambda scenario: _intervals(arguments, scenario))
    except (ValueError, LookupError, OSError, ImportError) as error:
        print(f"evaluate.py: {_one_line(error)}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        print("\ninterrupted: nothing is written", file=sys.stderr)
        return INTERRUPTED
    return 0


def _reproduce(arguments: argparse.Namespace, argv: list[str]) -> int:
    try:
        return 0 if reproduce.run(arguments, argv) else WRONG
    except (ValueError, LookupError, OSError) as error:
        print(f"evaluate.py: {_one_line(error)}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        print("\ninterrupted: nothing is written", file=sys.stderr)
        return INTERRUPTED


def _protocol(arguments: argparse.Namespace, argv: list[str]) -> int:
    try:
        from reports import protocol_command

        return 0 if protocol_command.run(arguments, argv) else INTERRUPTED
    except (ValueError, LookupError, OSError, ImportError) as error:
        print(f"evaluate.py: {_one_line(error)}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        print("\ninterrupted: what was played is kept; the same command goes on", file=sys.stderr)
        return INTERRUPTED


def _replay(arguments: argparse.Namespace, argv: list[str]) -> int:
    try:
        from reports.replay import command

        command.run(arguments, argv)
    except (ValueError, LookupError, OSError, ImportError) as error:
        print(f"evaluate.py: {_one_line(error)}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        print("\ninterrupted: nothing is written", file=sys.stderr)
        return INTERRUPTED
    return 0


def _live(arguments: argparse.Namespace, argv: list[str]) -> int:
    try:
        from reports import live_command  # imports torch: only here

        arguments.report = arguments.report or LIVE_REPORT
        return 0 if live_command.run(arguments, argv) else FAILED
    except (ValueError, OSError, RuntimeError) as error:
        print(f"evaluate.py: {_one_line(error)}", file=sys.stderr)
        return WRONG if isinstance(error, ValueError) else FAILED
    except KeyboardInterrupt:
        print("\ninterrupted: all processes are ended, nothing is written", file=sys.stderr)
        return INTERRUPTED


def _with_defaults(arguments: argparse.Namespace) -> argparse.Namespace:
    """Fills what a comparison was not told; a calibration would refuse some of it."""
    for name in ("begin", "end", "slo", "select", "system"):
        if getattr(arguments, name) is not None:
            raise ValueError(f"--{ {'begin': 'from', 'end': 'to'}.get(name, name)} belongs to --replay")
    for name in ("quick", "cold_starts", "store"):
        if getattr(arguments, name):
            raise ValueError(f"--{name.replace('_', '-')} belongs to --protocol")
    if arguments.save:
        raise ValueError("--save FILE: nothing is calibrated; add --calibrate N")
    if arguments.tables:
        raise ValueError("--tables N: nothing is calibrated; add --calibrate N")
    defaults = {"policies": DEMO_POLICIES, "split": "val", "windows": WINDOWS, "seeds": 1, "report": REPORT}
    for name, default in defaults.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, default)
    return arguments


def _intervals(arguments: argparse.Namespace, scenario: Scenario) -> int:
    """Length of a window, as asked or the scenario's episode."""
    if arguments.intervals:
        return int(arguments.intervals)
    if arguments.hours is None:
        return scenario.episode_intervals
    if round(arguments.hours * 3600 / scenario.interval_s) < 1:
        raise ValueError(f"--hours {arguments.hours:g} is less than one interval of {scenario.interval_s:g} s")
    return round(arguments.hours * 3600 / scenario.interval_s)


def _prepare(arguments: argparse.Namespace) -> tuple[Scenario, Loads, Player]:
    """Everything that can be wrong with what was asked is found here, before anything is played."""
    scenario = load_scenario(arguments.scenario)
    intervals = _intervals(arguments, scenario)
    window_s = intervals * scenario.interval_s
    loads = open_loads(scenario, arguments.trace, arguments.split, window_s * arguments.windows)
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
            raise ValueError(f"policy {name}: {_one_line(error)}") from error
    return scenario, loads, player


def _names(arguments: argparse.Namespace) -> tuple[str, ...]:
    """The names in --policies, each once."""
    return tuple(dict.fromkeys(name.strip() for name in arguments.policies.split(",") if name.strip()))


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


def _write(
    arguments: argparse.Namespace,
    argv: list[str],
    comparison: Comparison,
    scenario: Scenario,
    loads: Loads,
    episodes: list[Episode],
    plan: Plan,
) -> None:
    document = results(
        comparison,
        scenario,
        argv,
        {
            "load": loads.told,
            "split": arguments.split,
            "window_s": plan.intervals * scenario.interval_s,
            "jobs": arguments.jobs,
            "made": date.today().isoformat(),
            "bootstrap": {"resamples": RESAMPLES, "seed": BOOTSTRAP_SEED, "level": 0.95},
        },
    )
    if arguments.json:
        write(arguments.json, document)
        print(f"every number: {arguments.json}")
    if arguments.csv:
        arguments.csv.parent.mkdir(parents=True, exist_ok=True)
        comparison.runs.drop(columns="slo_slope").to_csv(arguments.csv, index=False)
        print(f"one row per episode: {arguments.csv}")
    if not arguments.no_report:
        arguments.report.parent.mkdir(parents=True, exist_ok=True)
        arguments.report.write_text(page(comparison, document, courses(comparison, episodes, scenario)), encoding="utf-8")
        print(f"the page, for any browser: {arguments.report}")


def _labels(names: Sequence[str]) -> tuple[str, ...]:
    """What policies are called in results: a path by its last part where that is enough."""
    short = [Path(name).stem if "/" in name or name.endswith(".zip") else name.rpartition(":")[2] for name in names]
    return tuple(s if short.count(s) == 1 else name for s, name in zip(short, names))


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return number


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _one_line(error: Exception) -> str:
    """The text of an error without line breaks; a KeyError's without its quotes."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return "; ".join(text.splitlines()) or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
