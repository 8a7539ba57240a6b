"""`evaluate.py --bench POLICY,...`: scores any policy on the frozen tasks, and writes a result file for each."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.registry import names as registered
from reports.bench.play import Played, play
from reports.bench.result import result, scores_of
from reports.bench.score import TrackScore
from reports.bench.tasks import TASKS, Task, TaskSet, playable, read
from reports.hindsight import NAMES as HINDSIGHT
from reports.record import write
from reports.table import WIDTH

RESULTS = Path("out/bench")
ALL = "all"
NOT_HERE = ("policies", "reference", "trace", "split", "windows", "hours", "intervals", "seeds", "report", "csv", "json")


def run(arguments: argparse.Namespace, argv: Sequence[str]) -> bool:
    """Plays, prints the points, writes one file a policy; True: all was played.

    Raises:
        ValueError: what was asked does not go together, a name is that of no policy that can play, or the tasks are changed.
        LookupError, ImportError, OSError: likewise, from what reads tasks and policies.
    """
    for name in NOT_HERE:
        if getattr(arguments, name) is not None:
            raise ValueError(f"--{name} does not go with --bench: its tasks are frozen, and --results says where it writes")
    tasks = read(arguments.tasks or TASKS)
    there, absent = playable(tasks)
    names = policies(arguments.bench)
    for task in there:
        if not task.digest:
            raise ValueError(f"task {task.name} is not frozen: python -m reports.bench.freeze {arguments.tasks or TASKS}")
        if task.now() != task.digest:
            raise ValueError(
                f"task {task.name} is no longer what version {tasks.version} of the bench froze: its scenario or "
                "its load has changed; freeze a new version"
            )
    if absent:
        print(f"TIDAL_TRACES names no folder of traces: {', '.join(absent)} are left out", file=sys.stderr)
    folder = arguments.results or RESULTS
    began = time.monotonic()
    for name in names:
        played = list(_played(name, there, arguments.jobs))
        if all(p.refused for p in played):
            told = f"{name} can play none of the tasks: {played[0].refused}"
            if len(names) == 1:
                raise ValueError(told)
            print(told, file=sys.stderr)
            continue
        document = result(name, tasks, played, argv)
        path = folder / f"{_file(name)}.json"
        write(path, document)
        print(f"{name}: {time.monotonic() - began:.0f} s, result {document['digest']}: {path}", file=sys.stderr, flush=True)
        _tell(name, tasks, scores_of(tasks, document["tasks"]))
    return True


def policies(words: str) -> list[str]:
    """The names in --bench, each once; `all`: every registered policy, the oracle and the bound."""
    names = [word.strip() for word in words.split(",") if word.strip()]
    return list(dict.fromkeys(n for name in names for n in ([*registered(), *HINDSIGHT] if name == ALL else [name])))


def _file(name: str) -> str:
    """A file's name for a policy: the class of `package.module:Class`, the last telling part of a path."""
    path = Path(name)
    return (path.parent if path.name == "best" else path).name.rpartition(":")[2].removesuffix(".zip").lower()


def _played(name: str, tasks: Sequence[Task], jobs: int) -> Iterator[Played]:
    """Task by task, in order."""
    if jobs <= 1:
        yield from (play(name, task) for task in tasks)
        return
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN))
    try:
        yield from pool.map(play, [name] * len(tasks), tasks)
    finally:
        pool.shutdown(cancel_futures=True)


def _tell(name: str, tasks: TaskSet, scores: Sequence[TrackScore]) -> None:
    """Points by track, and what each of its tasks gave."""
    console = Console(highlight=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    table.add_column(name, no_wrap=True)
    table.add_column("points", justify="right", no_wrap=True)
    table.add_column("by task (0: static, 100: the track's reference)")
    for s in scores:
        told = ", ".join(f"{task} {value:.0f}" for task, value in s.tasks.items())
        if s.missing:
            told = "; ".join(filter(None, [told, _missing(s, len(s.tasks))]))
        table.add_row(s.track, text(s) if s.complete else "–", Text(told, "" if s.complete else "dim"))
    console.print(Text.assemble(("Tidal Bench ", "bold"), f"version {tasks.version}, tasks {tasks.digest()}"), table, "")


def _missing(s: TrackScore, played: int) -> str:
    """The tasks that were not played, with the first reason."""
    reason = next(iter(s.missing.values()))
    return f"{len(s.missing)} of {len(s.missing) + played} tasks not played: {reason}"


def text(s: TrackScore) -> str:
    """'87.3 [84.0, 90.1]'."""
    return f"{s.points.value:.1f} [{s.points.low:.1f}, {s.points.high:.1f}]".replace("-", "−")
