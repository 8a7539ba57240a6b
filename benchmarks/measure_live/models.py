"""The models of the measurements; see `runtime.models.factory`. They answer with what they were sent."""

from __future__ import annotations

import os
import time

import torch
from torch import nn

VALUES = 8
NOTES = "TIDAL_BENCH_NOTES"  # names the file in which `noting` notes what it begins
BATCH_S = 0.005
POISON = 666_666  # the number of a request that ends who computes it


def noop() -> nn.Module:
    """Computes nothing."""
    return _with_example(nn.Identity())


def noting() -> nn.Module:
    """Notes the numbers of the requests of each batch, with its process, before it takes 5 ms over it."""
    return _with_example(_Noting())


class _Noting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self._file = os.open(os.environ[NOTES], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        numbers = " ".join(str(int(number)) for number in x[:, 0].tolist())
        os.write(self._file, f"{os.getpid()} {time.time():.6f} {numbers}\n".encode())  # one write: lines of all stay whole
        time.sleep(BATCH_S)
        return x


def poisonable() -> nn.Module:
    """Echoes after a while; ends its process at a poisoned request."""
    return _with_example(_Poisonable())


class _Poisonable(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if (x[:, 0] == POISON).any():
            os._exit(1)
        time.sleep(2 * BATCH_S)
        return x


def _with_example(module: nn.Module) -> nn.Module:
    module.example_inputs = {"x": torch.full((1, VALUES), -1.0)}  # type: ignore[assignment]
    return module
