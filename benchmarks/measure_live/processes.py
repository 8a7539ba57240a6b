"""Servers under measurement: processes of their own, what they computed, and their end."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from runtime.demo.processes import WITH_US

ROOT = Path(__file__).resolve().parents[2]
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
MARK = "TIDAL_MEASURED"


class Server:
    """A command in a process of its own, and whatever it starts.

    Args:
        command: with its arguments; the first is a module of Python.
        environment: beside ours.

    Attributes:
        lines: what it has printed.
    """

    def __init__(self, *command: str, environment: Mapping[str, str] | None = None) -> None:
        self._mark = f"{MARK}={secrets.token_hex(8)}"
        name, _, value = self._mark.partition("=")
        own = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **(environment or {}), name: value}
        self._process = subprocess.Popen([*WITH_US, sys.executable, "-m", *command], cwd=ROOT, env=own, text=True,
                                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Of the command itself."""
        return self._process.pid

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line)

    def waits_for(self, pattern: str, timeout_s: float = 120.0, after: int = 0) -> re.Match[str]:
        """The first line from number `after` on that matches.

        Raises:
            RuntimeError: none came, or it has ended.
        """
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s:
            for line in self.lines[after:]:
                if found := re.search(pattern, line):
                    return found
            if self._process.poll() is not None:
                break
            time.sleep(0.01)
        raise RuntimeError(f"no {pattern!r} from {self._process.args!r}:\n{''.join(self.lines[-20:])}")

    def processes(self) -> list[int]:
        """All that belong to it: its descendants, and those that it detached."""
        parents = {pid: stat.parent for pid in _pids() if (stat := _stat(pid))}
        members = {self.pid}
        while more := {pid for pid, parent in parents.items() if parent in members} - members:
            members |= more
        return sorted(members | {pid for pid in parents if self._marked(pid)})

    def _marked(self, pid: int) -> bool:
        try:
            return self._mark.encode() in Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False

    def cpu_s(self) -> float:
        """What all its processes that still run have computed."""
        return sum(self.each_cpu_s().values())

    def each_cpu_s(self) -> dict[tuple[int, int], float]:
        """The same of each, by its number and when it started: whoever asks often can count those that have ended, too."""
        return {(pid, stat.started): stat.cpu_s for pid in self.processes() if (stat := _stat(pid))}

    def kill(self) -> None:
        """Kill the command itself, as an accident would; what it has started is left alone."""
        self._process.kill()
        self._process.wait()

    def end(self, patience_s: float = 60.0) -> None:
        """End it in good order, and then by force what is left."""
        members = {(pid, stat.started) for pid in self.processes() if (stat := _stat(pid))}
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(patience_s)
        members |= {(pid, stat.started) for pid in self.processes() if (stat := _stat(pid))}
        for pid, started in members:
            if (stat := _stat(pid)) and stat.started == started:  # else the number is another's by now
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join()


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


class Stat(NamedTuple):
    """Of a process: seconds computed, its parent, and when it started (ticks since the machine did)."""

    cpu_s: float
    parent: int
    started: int


def _stat(pid: int) -> Stat | None:
    """None where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return Stat((int(fields[11]) + int(fields[12])) / TICKS_PER_S, int(fields[1]), int(fields[19]))
