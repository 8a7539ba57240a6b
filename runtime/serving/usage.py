"""What worker processes use of each device type, measured: by the operating system, and by NVML where there are GPUs.

What cannot be read (of workers on other hosts, or without NVML) is missing, and never zero.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from envs.contract import CPU
from envs.scenario import Scenario
from runtime.exposition import Used
from runtime.serving.replica import Replica

log = logging.getLogger(__name__)
READ_EVERY_S = 1.0
MEMORY_EVERY = 5  # readings: to tell what is shared takes the kernel some milliseconds for each process
TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
USER_TIME, SYSTEM_TIME = 11, 12  # of the fields of /proc/PID/stat after the name

Workers = Mapping[str, Sequence[int | None]]
"""By device type, the processes of all workers; None for one on another host."""


def workers_of(replicas: Iterable[Replica]) -> Workers:
    """Those of these replicas, as far as it is known yet where they are."""
    found: dict[str, list[int | None]] = {}
    for replica in replicas:
        for part in replica.whereabouts.get("parts", ()):
            found.setdefault(replica.kind.shape.device, []).append(part["process"].get("pid"))
    return found


class Gpus(Protocol):
    """The GPUs that workers run on; `runtime.serving.gpus` reads them."""

    def busy(self) -> float:
        """How many of them compute, on average over the last moments."""

    def memory_bytes(self) -> tuple[float, float]:
        """What is held of their memory, by whomever, and what there is."""


class Usage:
    """Reads while `watch` runs.

    Args:
        scenario: its device types.
        workers: that there are now.
        gpus: what the one device type beside the CPU is; None: nothing can be read of it.
        now_s: a clock that only rises, seconds.
    """

    def __init__(self, scenario: Scenario, workers: Callable[[], Workers], gpus: Gpus | None = None,
                 now_s: Callable[[], float] = time.monotonic) -> None:
        self._devices, self._workers, self._gpus, self._now_s = scenario.devices, workers, gpus, now_s
        others = [name for name in scenario.devices if name != CPU]
        self._gpu_type = others[0] if gpus and len(others) == 1 else None
        self._read_s = now_s()
        self._cpu_s: dict[int, float] = {}  # by process, as it was read last
        self._unit_s = {name: 0.0 if name in (CPU, self._gpu_type) else math.nan for name in scenario.devices}
        self._memory: dict[str, tuple[float, float]] = {}

    async def watch(self) -> None:
        """Reads, for ever."""
        while True:
            try:
                self._memory = await asyncio.to_thread(self._read_memory, self._workers())
                for _ in range(MEMORY_EVERY):
                    await asyncio.sleep(READ_EVERY_S)
                    self._count()
            except Exception:  # no thread can be had, say
                log.exception("what workers use could not be read")
                await asyncio.sleep(READ_EVERY_S)

    def used(self) -> dict[str, Used]:
        """By device type: compute up to now, memory as it was read last."""
        cpu_known, missing = self._count(), (math.nan, math.nan)
        return {name: Used(unit_s if cpu_known or name != CPU else math.nan, *self._memory.get(name, missing))
                for name, unit_s in self._unit_s.items()}

    def _count(self) -> bool:
        """Counts compute up to now. Returns whether that of the CPU is known."""
        read_s = self._now_s()
        if self._gpus and self._gpu_type:
            self._unit_s[self._gpu_type] += self._gpus.busy() * (read_s - self._read_s)
        self._read_s = read_s
        cpu_s = _readings(process_cpu_s, self._workers().get(CPU, ()))
        if cpu_s is None:
            return False
        if CPU in self._unit_s:  # what a process had computed before it was read first is not counted
            self._unit_s[CPU] += sum(max(0.0, now_s - self._cpu_s.get(pid, now_s)) for pid, now_s in cpu_s.items())
        self._cpu_s = cpu_s
        return True

    def _read_memory(self, workers: Workers) -> dict[str, tuple[float, float]]:
        """Held and there, by device type; without those of which it is not known. Runs in a thread."""
        found = {}
        held = _readings(process_memory_bytes, workers.get(CPU, ()))
        if held is not None:
            found[CPU] = sum(held.values()), machine_memory_bytes()
        if self._gpus and self._gpu_type:
            found[self._gpu_type] = self._gpus.memory_bytes()
        budget = {name: device.memory_bytes * (max(1, len(device.nodes)) if name == CPU else device.budget)
                  for name, device in self._devices.items()}
        return {name: (held, min(there, budget[name])) for name, (held, there) in found.items() if name in budget}


def _readings(read: Callable[[int], float], pids: Sequence[int | None]) -> dict[int, float] | None:
    """Of the processes that still run; None where one of them cannot be read."""
    found = {}
    for pid in pids:
        if pid is None:
            return None
        try:
            found[pid] = read(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
        except OSError:
            return None
    return found


def process_cpu_s(pid: int) -> float:
    """Seconds that a process has computed, on all cores.

    Raises:
        OSError: it has ended, or may not be read.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[USER_TIME]) + int(fields[SYSTEM_TIME])) * TICK_S


def process_memory_bytes(pid: int) -> float:
    """What a process holds of the memory; of what it shares with others, its part (PSS).

    Raises:
        OSError: it has ended, or may not be read.
    """
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return float(line.split()[1]) * 1024
    return 0.0  # it is ending, and has given all back


def machine_memory_bytes() -> float:
    """What this machine has."""
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
