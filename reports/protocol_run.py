"""Plays what is missing of the protocol, in as many processes as wanted, and keeps each outcome as it comes."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from multiprocessing import get_context
from typing import Any

from reports.protocol_play import Task, outcome
from reports.protocol_store import Store


def play(tasks: Mapping[Task, str], store: Store, jobs: int) -> bool:
    """Plays tasks and keeps each as it ends; False where it was interrupted.

    Args:
        tasks: with the key of each.
        store: where they are kept.
        jobs: processes.
    """
    if not tasks:
        return True
    began = time.monotonic()
    try:
        for done, (task, found) in enumerate(_outcomes(list(tasks), jobs), start=1):
            store.put(tasks[task], found)
            told = f"refused: {found['refused']}" if found["refused"] else f"{found['cpu_s']:.0f} s of CPU"
            print(f"{done}/{len(tasks)}  {time.monotonic() - began:.0f} s  {task.cell.told}: {task.row.label}, {told}",
                  file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print(f"\ninterrupted: what was played is in {store.path}; the same command goes on", file=sys.stderr)
        return False
    return True


def _outcomes(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[Task, dict[str, Any]]]:
    """In order with one process, as they end with more; those of one source after another, whose load is then read once."""
    if jobs <= 1:
        yield from ((task, outcome(task)) for task in tasks)
        return
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN))
    try:
        waiting = {pool.submit(outcome, task): task for task in tasks}
        while waiting:
            for done in wait(waiting, return_when=FIRST_COMPLETED).done:
                yield waiting.pop(done), done.result()
    finally:
        pool.shutdown(cancel_futures=True)  # after an interruption: only what is being played now is waited for
