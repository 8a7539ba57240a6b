"""`tidal serve` that notes when requests pass the stations of their way: in the folder `STAMPS`, once it has ended.

All is in order of arrival, for one service and one replica: the n-th note of each station is of the same request. The clock is
`time.perf_counter`, which all processes of a machine share.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

STAMPS = "TIDAL_BENCH_STAMPS"
STATIONS = ("read", "submitted", "batched", "given", "heard", "settled", "written")  # of the gateway, in order
MODEL = "model"  # the worker's file: begin, end and requests of each batch


def model() -> nn.Module:
    """Computes nothing, and notes when."""
    module = _Stamping()
    module.example_inputs = {"x": torch.full((1, 8), -1.0)}  # type: ignore[assignment]
    return module


class _Stamping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self._file = os.open(Path(os.environ[STAMPS]) / MODEL, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        began_s = time.perf_counter()
        os.write(self._file, f"{began_s} {time.perf_counter()} {len(x)}\n".encode())
        return x


def read(folder: Path, requests: int) -> dict[str, np.ndarray]:
    """When each of the last so many requests passed each station, seconds."""
    notes = {station: np.load(folder / f"{station}.npy") for station in STATIONS}
    begins, ends, counts = np.loadtxt(folder / MODEL, unpack=True)
    notes |= {"begun": np.repeat(begins, counts.astype(int)), "computed": np.repeat(ends, counts.astype(int))}
    return {station: at_s[-requests:] for station, at_s in notes.items()}


def serve(*arguments: str) -> int:
    """`tidal serve`, stamped."""
    from runtime.__main__ import main
    from runtime.gateway.connection import Connection
    from runtime.gateway.dispatcher import Dispatcher
    from runtime.gateway.hosts import Host
    from runtime.gateway.settling import Settling
    from runtime.serving.worker_replica import WorkerReplica
    from runtime.worlds.aio_messages import AsyncMessages

    notes: dict[str, list[float]] = {station: [] for station in STATIONS}

    def stamp(owner: type, name: str, station: str, count: Callable[..., int] = lambda *_: 1) -> None:
        """Notes the beginning of each call, once for each request that it is of."""
        function = getattr(owner, name)

        @wraps(function)
        def stamped(self: Any, *arguments: Any, **named: Any) -> Any:
            notes[station] += [time.perf_counter()] * count(self, *arguments)
            return function(self, *arguments, **named)

        setattr(owner, name, stamped)

    stamp(Connection, "data_received", "read")
    stamp(Dispatcher, "submit", "submitted")
    stamp(Host, "start", "batched", lambda _, batch, t_s: len(batch))
    stamp(AsyncMessages, "send", "given", lambda _, arrays: len(arrays[1]) if len(arrays) > 1 else 0)
    stamp(WorkerReplica, "_heard", "heard", lambda _, told, outputs: len(outputs[0]) if outputs else 0)
    stamp(Settling, "settle", "settled")
    stamp(Connection, "_write", "written")
    try:
        return main(["serve", *arguments])
    finally:
        for station, at_s in notes.items():
            np.save(Path(os.environ[STAMPS]) / f"{station}.npy", np.array(at_s))


if __name__ == "__main__":
    sys.exit(serve(*sys.argv[1:]))
