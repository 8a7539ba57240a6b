"""The processes of the demonstration: each a command that anyone can give, its output in a file, and none left behind."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READY_S, END_S = 90.0, 20.0
POLL_S = 0.05
MARK = "TIDAL_DEMO"  # in the environment of all of them, and of what they start
PROCESSES = Path("/proc")
WITH_US = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()  # once we are killed, stopped or not


class ProcessFailed(RuntimeError):
    """A process did not come up, or ended by itself; the text says which, and the last line that it wrote."""


@dataclass
class Running:
    """One of them.

    Attributes:
        name: short.
        command: as one would type it.
        log: where it writes.
        process: the process itself.
    """

    name: str
    command: str
    log: Path
    process: subprocess.Popen[bytes]

    def waits_for(self, pattern: str, timeout_s: float = READY_S) -> re.Match[str]:
        """The first match in what it has written.

        Raises:
            ProcessFailed: it has ended, or the time is over.
        """
        until_s = time.monotonic() + timeout_s
        while True:
            ended = self.process.poll() is not None
            if found := re.search(pattern, self.log.read_text(encoding="utf-8", errors="replace")):
                return found
            if ended or time.monotonic() > until_s:
                raise self.failed("ended at once" if ended else f"was not ready within {timeout_s:g} s")
            time.sleep(POLL_S)

    def has_said(self, pattern: str) -> bool:
        """Whether what it has written matches."""
        return re.search(pattern, self.log.read_text(encoding="utf-8", errors="replace")) is not None

    def failed(self, what: str) -> ProcessFailed:
        """The error that tells of it."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return ProcessFailed(f"{self.name} {what}: {lines[-1] if lines else 'it wrote nothing'} ({self.log})")

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    def end(self, timeout_s: float = END_S) -> int:
        """Ends it in good order, or by force; returns its exit code."""
        if not self.ended:
            self.process.terminate()
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


class Processes:
    """All of them.

    Args:
        folder: for what they write.
        environment: of all of them, beside ours.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self._folder, self._mark = folder, f"{MARK}={secrets.token_hex(8)}"
        self._environment = environment or {}
        self._running: list[Running] = []

    def tidal(self, name: str, *arguments: str | Path) -> Running:
        """Starts a `tidal` command."""
        words = [*map(str, arguments)]
        return self.start(name, [sys.executable, "-P", "-m", "runtime", *words], shlex.join(["tidal", *words]))

    def start(self, name: str, command: Sequence[str], shown: str) -> Running:
        """Starts a command, in a session of its own: an interruption at the keyboard is for us alone to handle."""
        log = self._folder / f"{name}.log"
        variable, _, value = self._mark.partition("=")
        environment = {**os.environ, **self._environment, variable: value, "PYTHONPATH": f"{ROOT}", "PYTHONUNBUFFERED": "1"}
        with log.open("wb") as out:
            process = subprocess.Popen([*WITH_US, *command], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                       env=environment, start_new_session=True)
        self._running.append(Running(name, shown, log, process))
        return self._running[-1]

    def check_all_but(self, one: Running) -> None:
        """Passes while all others run.

        Raises:
            ProcessFailed: one has ended.
        """
        for running in self._running:
            if running is not one and running.ended:
                raise running.failed(f"ended with code {running.process.returncode}")

    def commands(self) -> dict[str, str]:
        """What was started, by name."""
        return {running.name: running.command for running in self._running}

    def close(self) -> None:
        """Ends them, the last one first; what they have left behind is ended by force."""
        for running in reversed(self._running):
            running.end()
        for pid in self.left():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)

    def left(self) -> dict[int, str]:
        """Those that bear our mark, and their commands; where there is no /proc, none are found."""
        found = {}
        for environment in PROCESSES.glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if self._mark.encode() in environment.read_bytes().split(b"\0"):
                    command = environment.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    found[int(environment.parent.name)] = command.strip()
        return found


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Being asked to end, or hung up on, is an interruption too: what was started is ended first, however often one asks."""
    def interrupt(*_: object) -> None:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
