"""How fast this machine is: models timed while all cores that the demonstration uses are busy."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from statistics import median

from runtime.models import catalogue
from runtime.models.model import Model

SECONDS_EACH = 0.7  # of running each model, after its load
FEWEST_RUNS = 5


@dataclass(frozen=True)
class Timing:
    """What one model costs on one core.

    Attributes:
        latency_s: of one request, which is a picture.
        load_s: from nothing to warmed up, without starting a process.
        memory_bytes: of its weights.
    """

    latency_s: float
    load_s: float
    memory_bytes: int


def measure(models: Mapping[str, str], cores: int) -> dict[str, Timing]:
    """Times each model (by variant, as `runtime.models.catalogue` describes it), the same on all cores at once.

    Of the cores the slowest one counts: a replica cannot choose its core.
    """
    with ProcessPoolExecutor(cores, get_context("spawn"), _start) as pool:
        found = [future.result() for future in [pool.submit(_measure, dict(models)) for _ in range(cores)]]
    return {variant: max((row[variant] for row in found), key=lambda timing: timing.latency_s) for variant in models}


def _start() -> None:
    """An interruption is the main process's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _measure(models: dict[str, str]) -> dict[str, Timing]:
    import torch

    torch.set_num_threads(1)
    _loaded(next(iter(models.values())))  # what torch does once in a process is nobody's load time
    return {variant: _timed(description) for variant, description in models.items()}


def _timed(description: str) -> Timing:
    import torch

    began_s = time.perf_counter()
    model = _loaded(description)
    load_s = time.perf_counter() - began_s
    request = tuple(torch.ones(1, *spec.shape[1:]) for spec in model.inputs)
    latencies_s: list[float] = []
    until_s = time.perf_counter() + SECONDS_EACH
    while len(latencies_s) < FEWEST_RUNS or time.perf_counter() < until_s:
        began_s = time.perf_counter()
        model.run(request)
        latencies_s.append(time.perf_counter() - began_s)
    return Timing(median(latencies_s), load_s, model.memory_bytes)


def _loaded(description: str) -> Model:
    model = catalogue.make(description)
    model.load()
    model.warm_up(1)
    return model
