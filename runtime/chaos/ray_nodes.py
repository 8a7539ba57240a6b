"""The Ray cluster of a trial: a head, on which no worker runs, and nodes that can be lost. Needs the extra `ray`."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

NODE, NODES = "ray node", 2  # how they are called, and how many there are
CORES = 16  # of a node: one alone has room for all replicas, those that come and those that go
OBJECTS_BYTES = 80 * 2**20
STARTED = "This command will now block"
ADDRESS = r"ray start --address='([\d.]+:\d+)'"
TITLE = b"ray::"  # of a process that works for Ray; the name of what it does follows
START_TIME = 19  # see `runtime.serving.local_launcher`


def there() -> bool:
    """Whether Ray is installed."""
    return importlib.util.find_spec("ray") is not None


def environment(folder: Path) -> dict[str, str]:
    """What all processes of such a trial have in theirs; paths in the folder must be short.

    The token is its own: without one, Ray lets its head ask for the one in the user's home, if any, and nodes bring none.
    """
    return {"RAY_TMPDIR": str(folder), "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(16)}


def head() -> tuple[str, ...]:
    """Arguments of Python that start the head."""
    return (*_node(0, 0), "--head", "--port=0", "--include-dashboard=false",
            f"--ray-client-server-port={_free_port()}")


def _free_port() -> int:
    """For what can be neither left out nor told to find one itself."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def node(number: int, address: str) -> tuple[str, ...]:
    """Arguments that start a node, from number 1 on, which joins the head at that address."""
    return *_node(number, CORES), f"--address={address}"


def _node(number: int, cores: int) -> tuple[str, ...]:
    """Each has an address of its own, as hosts have."""
    return ("-m", "ray.scripts.scripts", "start", "--block", f"--node-ip-address=127.0.0.{2 + number}", f"--num-cpus={cores}",
            f"--object-store-memory={OBJECTS_BYTES}", "--disable-usage-stats")


def session(leader: int) -> Iterator[int]:
    """All processes of a node, by the one that started it: they are in its session."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(int(entry.name)) == leader:
                yield int(entry.name)


def workers() -> dict[str, tuple[int, int]]:
    """Pid and start time of each process of this machine that runs a worker for Ray, by its actor's name."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            title = (entry / "cmdline").read_bytes()
            if title.startswith(TITLE):
                started_ticks = int((entry / "stat").read_text().rpartition(")")[2].split()[START_TIME])
                found[title.removeprefix(TITLE).partition(b"\0")[0].decode()] = int(entry.name), started_ticks
    return found
