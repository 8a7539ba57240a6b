"""Models whose answers say which request they are of, and which variant made them; what they compute is written down.

Each batch is a line of the file that `ECHO_LOG` names, before and after: `begin PID NUMBER...`, `end PID NUMBER...`. Loads
take `ECHO_LOAD_S`, batches a time of their variant: the machine is free meanwhile, as if a device computed.
"""

import os
import time
from collections import OrderedDict

import torch
from torch import nn

LOAD_S = float(os.environ.get("ECHO_LOAD_S", "0.3"))


def note(word, x):
    """One line, whole, whoever else writes."""
    numbers = [str(int(number)) for number in x[:, 0].tolist() if number > 0]
    if numbers and (path := os.environ.get("ECHO_LOG")):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(file, f"{word} {os.getpid()} {' '.join(numbers)}\n".encode())
        os.close(file)


class Echo(nn.Module):
    """Answers with the number it was given, and its own."""

    def __init__(self, variant, batch_s):
        super().__init__()
        self.number, self.batch_s = nn.Linear(1, 1, bias=False), batch_s
        nn.init.ones_(self.number.weight)
        self.variant = variant
        self.example_inputs = {"x": torch.zeros(1, 1)}

    def forward(self, x):
        note("begin", x)
        time.sleep(self.batch_s)
        answer = self.number(x), torch.full_like(x, self.variant)
        note("end", x)
        return answer


def quick():
    time.sleep(LOAD_S)
    return Echo(1.0, 0.005)


def good():
    time.sleep(LOAD_S)
    return Echo(2.0, 0.015)


def slow():
    """So slow that a batch is nearly always under way."""
    time.sleep(LOAD_S)
    return Echo(1.0, 0.1)


class Pass(nn.Module):
    """A first stage."""

    def forward(self, x):
        return 1.0 * x


def staged():
    """Two stages, of which the second takes the time."""
    module = nn.Sequential(OrderedDict(first=Pass(), second=Echo(1.0, 0.05)))
    module.example_inputs, module.split_points = {"x": torch.zeros(1, 1)}, ("second",)
    return module


class Wild(Echo):
    """Raises at every third number, and ends its process at every seventh."""

    def forward(self, x):
        for number in map(int, x[:, 0].tolist()):
            if number and number % 7 == 0:
                os._exit(1)
            if number % 3 == 1:
                raise ValueError(f"{number} is not to its taste")
        return super().forward(x)


def wild():
    return Wild(3.0, 0.005)
