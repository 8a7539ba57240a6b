"""What workers run in a trial: models that answer with what they were sent, and note what they begin."""

from __future__ import annotations

import os
import time

import torch
from torch import nn

from runtime.chaos.problem import INPUT, LATENCY_S, LOAD_S, NOTES


class Noting(nn.Module):
    """Takes its time over a batch; the machine is free meanwhile, as if a device computed."""

    def __init__(self, batch_s: float) -> None:
        super().__init__()
        self._batch_s = batch_s
        self._file = os.open(os.environ[NOTES], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.example_inputs = {INPUT: torch.zeros(1, 1)}

    def forward(self, payload: torch.Tensor) -> torch.Tensor:
        """Notes process, time and numbers in one write, so that lines of all stay whole."""
        if numbers := [str(int(number)) for number in payload[:, 0].tolist() if number > 0]:  # 0: a warm-up
            os.write(self._file, f"{os.getpid()} {time.time():.6f} {' '.join(numbers)}\n".encode())
        time.sleep(self._batch_s)
        return 1.0 * payload


def quick() -> nn.Module:
    """Loads, and is there."""
    time.sleep(LOAD_S)
    return Noting(LATENCY_S["quick"])


def good() -> nn.Module:
    """The same, slower."""
    time.sleep(LOAD_S)
    return Noting(LATENCY_S["good"])
