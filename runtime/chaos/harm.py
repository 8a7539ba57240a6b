"""How each sort of fault is done to a live system, and undone."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import urlsplit

import requests

from runtime.chaos import ray_nodes
from runtime.chaos.faults import Fault
from runtime.chaos.problem import LEVELS, SERVICE
from runtime.chaos.system import System
from runtime.chaos.watch import Watch
from runtime.deployment_json import to_json

TURN_S, SHARE = 0.05, 0.2  # of a process without CPU: how often it gets a turn, and which part of that
SLOW_CLIENTS = 40
SPARE = 1  # descriptors that are left
SPARE_BYTES = 2**20  # of memory
CONTROL_S = 0.5

Undo = Callable[[], None]


class NobodyThere(Exception):
    """There is nothing now that this could be done to."""


def do(fault: Fault, system: System, watch: Watch) -> tuple[str, Undo]:
    """Does it; whom it hit, and how to undo it.

    Raises:
        NobodyThere: nothing was done.
    """
    whom, _, what = fault.name.partition(" ")
    whom = whom.removesuffix("'s")
    if fault.name.endswith("worker killed") or fault.name == "worker hung":
        return _worker(fault, watch)
    if whom == "Ray":
        return _node(fault, system, watch)
    if whom in ("cluster", "autoscaler", "Prometheus"):
        names = [name for name in system.parts if name.startswith(whom.lower())]
        if not names:
            raise NobodyThere
        part = system.parts[names[int(fault.victim * len(names))]]
        if not part.up:
            raise NobodyThere
        return part.name, TO_A_PROCESS[what](part.pid, fault, system)
    return "", OTHERS[fault.name](fault, system, watch)


def _worker(fault: Fault, watch: Watch) -> tuple[str, Undo]:
    """To a worker process of a replica in the state that the fault is about."""
    state = {"loading": "pending", "draining": "draining"}.get(fault.name.split()[0], "ready")
    found = [(replica.number, pid) for replica in watch.replicas() if replica.state == state for pid, _ in replica.processes]
    if not found:
        raise NobodyThere
    number, pid = found[int(fault.victim * len(found))]
    _send(pid, signal.SIGSTOP if fault.name == "worker hung" else signal.SIGKILL)
    return f"replica {number}", _nothing


def _nothing() -> None:
    pass


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


# ---- to a process

def _killed(pid: int, fault: Fault, system: System) -> Undo:
    _send(pid, signal.SIGKILL)
    return _nothing


def _told_to_end(pid: int, fault: Fault, system: System) -> Undo:
    system.parts["cluster"].signal(signal.SIGTERM)
    return _nothing


def _hung(pid: int, fault: Fault, system: System) -> Undo:
    _send(pid, signal.SIGSTOP)
    return lambda: _send(pid, signal.SIGCONT)


def _starved(pid: int, fault: Fault, system: System) -> Undo:
    over = threading.Event()

    def turns() -> None:
        while not over.is_set():
            _send(pid, signal.SIGSTOP)
            over.wait(TURN_S * (1 - SHARE))
            _send(pid, signal.SIGCONT)
            over.wait(TURN_S * SHARE)

    thread = threading.Thread(target=turns, daemon=True)
    thread.start()

    def undo() -> None:
        over.set()
        thread.join()
    return undo


def _limited(pid: int, which: int, soft: int, system: System) -> Undo:
    """Lowers a limit of a process that runs; what it starts meanwhile inherits it, and is freed of it with it."""
    try:
        before, hard = resource.prlimit(pid, which)
        resource.prlimit(pid, which, (soft, hard))
    except ProcessLookupError:
        raise NobodyThere from None

    def undo() -> None:
        for each in system.pids():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if resource.prlimit(each, which)[0] == soft:
                    resource.prlimit(each, which, (before, hard))
    return undo


def _full_disk(pid: int, fault: Fault, system: System) -> Undo:
    """No file grows beyond its first byte: what it appends fails, and what it writes anew."""
    return _limited(pid, resource.RLIMIT_FSIZE, 1, system)


def _without_descriptors(pid: int, fault: Fault, system: System) -> Undo:
    try:
        highest = max(int(name) for name in os.listdir(f"/proc/{pid}/fd"))
    except FileNotFoundError:
        raise NobodyThere from None
    return _limited(pid, resource.RLIMIT_NOFILE, highest + 1 + SPARE, system)


def _without_memory(pid: int, fault: Fault, system: System) -> Undo:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        raise NobodyThere from None
    held_bytes = 1024 * int(status.partition("VmSize:")[2].split()[0])
    return _limited(pid, resource.RLIMIT_AS, held_bytes + SPARE_BYTES, system)


def _handed_over(pid: int, fault: Fault, system: System) -> Undo:
    system.hand_over()
    return _nothing


def _torn(pid: int, fault: Fault, system: System) -> Undo:
    """Killed in the middle of writing a line, where it was the one that writes."""
    led = pid == _leader(system.journal)
    _send(pid, signal.SIGKILL)
    if led:
        segment = max(system.journal.glob("journal-*.jsonl"))
        line = segment.read_bytes().splitlines()[-1]
        with segment.open("ab") as file:
            file.write(line[: int(fault.victim * len(line))])
    return _nothing


def _leader(journal: Path) -> int:
    """The process that has the lease; 0: none."""
    leases = [(int(path.name.removeprefix("lease-")), path) for path in journal.glob("lease-*")]
    text = max(leases)[1].read_text().strip() if leases else ""
    return int(text) if text.isdecimal() else 0


TO_A_PROCESS = {"killed": _killed, "told to end": _told_to_end, "hung": _hung, "starved of CPU": _starved,
                "disk full": _full_disk, "without descriptors": _without_descriptors, "without memory": _without_memory,
                "handed over": _handed_over, "killed, journal torn": _torn}


# ---- to a node of Ray's

def _node(fault: Fault, system: System, watch: Watch) -> tuple[str, Undo]:
    """To a node on which replicas serve or load, while the others are there too: one always stays."""
    nodes = [part for part in system.parts.values() if part.name.startswith(ray_nodes.NODE)]
    if not nodes or not all(part.up for part in nodes):
        raise NobodyThere
    hit = [(part, replicas) for part in nodes if (replicas := _replicas_on(part.pid, watch))]
    if not hit:
        raise NobodyThere
    part, replicas = hit[int(fault.victim * len(hit))]
    return ", ".join([part.name, *replicas]), (_node_killed if fault.name == "Ray node killed" else _node_hung)(part.pid)


def _replicas_on(node: int, watch: Watch) -> list[str]:
    """Those that serve or load there."""
    there = set(ray_nodes.session(node))
    return [f"replica {replica.number}" for replica in watch.replicas()
            if replica.state in ("pending", "ready") and any(pid in there for pid, _ in replica.processes)]


def _node_killed(pid: int) -> Undo:
    """As if its power had gone."""
    _send_to_all(lambda: ray_nodes.session(pid), signal.SIGKILL)
    return _nothing


def _node_hung(pid: int) -> Undo:
    _send_to_all(lambda: ray_nodes.session(pid), signal.SIGSTOP)
    return lambda: _send_to_all(lambda: ray_nodes.session(pid), signal.SIGCONT)


def _send_to_all(found: Callable[[], Iterable[int]], number: int) -> None:
    """Until there is none that it was not sent to: some were just being started."""
    sent = set[int]()
    while new := set(found()) - sent:
        for pid in new:
            _send(pid, number)
        sent |= new


# ---- from outside

def _burst(fault: Fault, system: System, watch: Watch) -> Undo:
    """The clients do that by themselves."""
    return _nothing


def _slow_clients(fault: Fault, system: System, watch: Watch) -> Undo:
    address, generator, kept = urlsplit(system.gateway), random.Random(fault.victim), []
    starts = (b"POST /v2/models/%s/infer HTTP/1.1\r\nX-" % SERVICE.encode(), b"\x16\x03\x01\x02\x00rubbish\r\n\r\n",
              b"POST /v2/models/%s/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n{" % SERVICE.encode())
    for _ in range(SLOW_CLIENTS):
        with contextlib.suppress(OSError):
            kept.append(socket.create_connection((str(address.hostname), address.port or 80), 0.2))
            kept[-1].sendall(generator.choice(starts))

    def undo() -> None:
        for client in kept:
            client.close()
    return undo


def _operator(fault: Fault, system: System, watch: Watch) -> Undo:
    scenario = system.problem.scenario
    levels = (1 + int(fault.victim * LEVELS), int(fault.victim * 100) % LEVELS)
    try:
        version = requests.get(f"{system.control}/v1/deployment", timeout=CONTROL_S).json()["version"]
        requests.put(f"{system.control}/v1/deployment", headers={"If-Match": f'"{version}"'}, timeout=CONTROL_S,
                     json={"deployment": to_json(scenario.deployment(levels)), "decision_id": ""})
    except (requests.RequestException, ValueError, KeyError):
        raise NobodyThere from None
    return _nothing


OTHERS = {"burst of 10 times the load": _burst, "slow and broken clients": _slow_clients,
          "operator changes the deployment": _operator}
