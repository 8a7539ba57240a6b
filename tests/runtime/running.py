"""Processes that a test starts: their lines, their ends, and that nothing of them is left."""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0
MARK = "TIDAL_TEST"  # in the environment of all processes of one test, and of those that they start

WITH_US = ("setpriv", "--pdeathsig", "TERM") if shutil.which("setpriv") else ()  # should this process be killed


def until(holds, what, timeout_s=PATIENCE_S):
    """What `holds()` returns, once it is true."""
    end_s = time.monotonic() + timeout_s
    while not (found := holds()):
        assert time.monotonic() < end_s, f"not within {timeout_s:g} s: {what() if callable(what) else what}"
        time.sleep(0.02)
    return found


class Standstill(threading.Thread):
    """A clock watched from within: for how long, in all, nothing ran here: the machine was held up, or this process."""

    TICK_S = 0.05

    def __init__(self):
        super().__init__(daemon=True)
        self.total_s, self._over = 0.0, threading.Event()

    def run(self):
        last_s = time.monotonic()
        while not self._over.wait(self.TICK_S):
            now_s = time.monotonic()
            if (lost_s := now_s - last_s - self.TICK_S) > 2 * self.TICK_S:
                self.total_s += lost_s
            last_s = now_s

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self.join()


class Running:
    """A process, and what it has written."""

    def __init__(self, command, environment):
        self.process = subprocess.Popen([*WITH_US, *command], cwd=ROOT, env=environment, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                                        start_new_session=True)
        self.lines = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)

    @property
    def text(self):
        return "".join(self.lines)

    @property
    def running(self):
        return self.process.poll() is None

    def waits_for(self, pattern, timeout_s=PATIENCE_S, after=0):
        """The groups of the first line, from the given one on, that matches."""
        def look():
            for line in self.lines[after:]:
                if found := re.search(pattern, line):
                    return [found.groups()]
            assert self.running, f"it ended ({self.process.returncode}) before {pattern!r}:\n{self.text}"
            return None
        return until(look, lambda: f"{pattern!r} in:\n{self.text}", timeout_s)[0]

    def waited_s(self):
        """How long its threads have had something to do and no processor to do it on."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[1]) for task in tasks) * 1e-9

    def send(self, number):
        self.process.send_signal(number)

    def freeze(self):
        """Stops it; returns when it has stopped."""
        self.send(signal.SIGSTOP)
        until(lambda: Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", "it stops")

    def go_on(self):
        self.send(signal.SIGCONT)

    def kill(self):
        """Ends it as a crash would."""
        self.send(signal.SIGKILL)
        self.wait()

    def end(self, number=signal.SIGTERM):
        """Its exit code after a signal."""
        if self.running:
            self.send(number)
        return self.wait()

    def wait(self, timeout_s=PATIENCE_S):
        """Its exit code, once it has ended by itself and its output was read. What it has started may hold the output."""
        code = self.process.wait(timeout_s)
        self._reader.join(1.0)
        return code


class Processes:
    """All processes of a test; `close` ends what still runs, and tells what was left over. They import from these folders."""

    def __init__(self, *folders):
        self._mark, self._path = secrets.token_hex(8), os.pathsep.join(map(str, [*folders, ROOT]))
        self._started = []
        self.addresses = []  # URLs that nobody must answer at in the end

    def start(self, *command, **environment):
        variables = {**os.environ, MARK: self._mark, "PYTHONUNBUFFERED": "1", "PYTHONPATH": self._path, **environment}
        self._started.append(Running(command, variables))
        return self._started[-1]

    def python(self, *arguments, **environment):
        return self.start(sys.executable, *map(str, arguments), **environment)

    def tidal(self, *arguments, **environment):
        return self.python("-m", "runtime", *arguments, **environment)

    def pids(self):
        """All that live, whoever started them."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with suppress(OSError):
                    if f"{MARK}={self._mark}\0".encode() in (entry / "environ").read_bytes() + b"\0":
                        found.append(int(entry.name))
        return found

    def close(self):
        """Ends all, in the opposite order of their start, and checks that no process and no listening port is left."""
        trouble = []
        for running in reversed(self._started):
            if running.running:
                running.go_on()
                try:
                    running.end()
                except subprocess.TimeoutExpired:
                    trouble.append(f"it did not end: {running.process.args}\n{running.text}")
                    running.kill()
        try:
            until(lambda: not self.pids(), "all processes are gone", 15.0)
        except AssertionError:
            trouble.append(f"left over: {[_command(pid) for pid in self.pids()]}")
            for pid in self.pids():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for running in self._started:
            running._reader.join(5.0)
            running.process.stdout.close()
            with suppress(OSError):
                running.process.stdin.close()
        trouble += [f"somebody still answers at {url}" for url in self.addresses if _answers(url)]
        assert not trouble, "\n".join(trouble)


def _command(pid):
    with suppress(OSError):
        return f"{pid}: " + Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return f"{pid}"


def _answers(url):
    address = urlsplit(url)
    with suppress(OSError), socket.create_connection((address.hostname, address.port), 1.0):
        return True
    return False


def free_port():
    """A port of 127.0.0.1 that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]
