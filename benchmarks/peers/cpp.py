"""The replay recursions in C++, compiled on the spot with the machine's own g++ and called through ctypes."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from ctypes import CDLL, c_double, c_int64, c_void_p
from pathlib import Path

import numpy as np

SOURCE = Path(__file__).with_name("loops.cpp")
# Contraction would fuse products and sums, and the last bit would differ.
FLAGS = ("-O3", "-march=native", "-ffp-contract=off", "-shared", "-fPIC")


class Loops:
    """The two compiled loops, with the arguments of those in `envs.replay`: contiguous arrays of float64 and int64."""

    def __init__(self, library: CDLL) -> None:
        p, n, s = c_void_p, c_int64, c_double
        self._queue, self._groups = library.replay_queue, library.replay_groups
        self._queue.restype = self._groups.restype = c_int64
        self._queue.argtypes = [p, n, p, n, p, n, s, s, p]
        self._groups.argtypes = [p, p, n, p, p, p, p, n, p, s, p, p]

    def replay_queue(
        self,
        arrival_s: np.ndarray,
        latency_s: np.ndarray,
        factors: np.ndarray,
        n_servers: int,
        max_wait_s: float,
        drop_after_s: float,
        out_s: np.ndarray,
    ) -> int:
        """One queue, c servers, batches; factors one for each request."""
        return self._queue(
            _at(arrival_s),
            len(arrival_s),
            _at(latency_s),
            len(latency_s) - 1,
            _at(factors),
            n_servers,
            max_wait_s,
            drop_after_s,
            _at(out_s),
        )

    def replay_groups(
        self,
        arrival_s: np.ndarray,
        model: np.ndarray,
        first_host: np.ndarray,
        hosts: np.ndarray,
        latency_s: np.ndarray,
        n_stages: np.ndarray,
        slo_s: np.ndarray,
        overhead_s: float,
        clock: np.ndarray,
        out_s: np.ndarray,
    ) -> int:
        """AlpaServe groups."""
        return self._groups(
            _at(arrival_s),
            _at(model),
            len(arrival_s),
            _at(first_host),
            _at(hosts),
            _at(latency_s),
            _at(n_stages),
            clock.shape[1],
            _at(slo_s),
            overhead_s,
            _at(clock),
            _at(out_s),
        )


def _at(array: np.ndarray) -> int:
    """Where an array lies (faster than ctypes' own conversion, which would count against the loop)."""
    assert array.flags.c_contiguous and array.dtype in (np.float64, np.int64)
    return int(array.ctypes.data)


def compile_loops(compiler: str = "g++") -> Loops | None:
    """Compiles `loops.cpp` into a temporary folder and loads it; None where there is no such compiler.

    Raises:
        subprocess.CalledProcessError: it does not compile.
    """
    if shutil.which(compiler) is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "loops.so"
        subprocess.run([compiler, *FLAGS, str(SOURCE), "-o", str(path)], check=True)
        return Loops(CDLL(str(path)))
