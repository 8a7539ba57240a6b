"""`tidal status`: a live cluster in the terminal: load, latency, replicas, what was decided and why."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.status.snapshot import Watcher

READY, NOT_READY = 0, 1
REFRESH_S = 1.0


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `status` to the command line."""
    parser = commands.add_parser("status", help="show a live cluster: load, latency, replicas, decisions")
    parser.add_argument("--control", default="http://127.0.0.1:8081", metavar="URL", help="of its control API (%(default)s)")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="holds the control API's bearer token")
    once = parser.add_mutually_exclusive_group()
    once.add_argument("--once", action="store_true", help="show it once and end, as where there is no terminal")
    once.add_argument("--json", action="store_true", help="print one JSON object and end")
    parser.set_defaults(run=partial(_run, parser))


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    if not arguments.control.startswith(("http://", "https://")):
        parser.error(f"{arguments.control}: give a URL that begins with http:// or https://")
    from runtime.control_reader import ControlReader
    from runtime.status.snapshot import Watcher

    with contextlib.closing(ControlReader(arguments.control, arguments.token_file)) as control:
        watcher = Watcher(control)
        if arguments.json:
            seen = watcher.look()
            print(json.dumps(seen.json(), indent=2, ensure_ascii=False))
            return READY if seen.ready else NOT_READY
        return _show(watcher) if arguments.once or not sys.stdout.isatty() else _watch(watcher)


def _show(watcher: Watcher) -> int:
    from rich.console import Console

    from runtime.status.view import screen

    seen = watcher.look()
    if seen.error:
        raise OSError(seen.error)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 160
    console.print(screen(seen))
    return READY if seen.ready else NOT_READY


def _watch(watcher: Watcher) -> int:
    """Until interrupted; a cluster that is gone for a while is waited for. The exit code is of the last look."""
    from rich.live import Live

    from runtime.status.view import screen

    interrupted = threading.Event()

    def interrupt(*_: object) -> None:
        interrupted.set()  # where the exception is lost, in a finaliser for one, the loop ends all the same
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    seen = watcher.look()
    with contextlib.suppress(KeyboardInterrupt), Live(screen(seen), auto_refresh=False, screen=True) as live:
        while not interrupted.is_set():
            time.sleep(REFRESH_S)
            seen = watcher.look()
            live.update(screen(seen), refresh=True)
    return READY if seen.ready else NOT_READY
