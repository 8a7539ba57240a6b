"""Modules that the tests of factories name by path; some are wrong on purpose."""

from collections import OrderedDict

import torch
from torch import nn


def classifier():
    """Two layers, a tuple of two outputs."""
    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.wide, self.narrow = nn.Linear(4, 8), nn.Linear(8, 3)

        def forward(self, x):
            hidden = torch.relu(self.wide(x))
            return self.narrow(hidden), hidden

    module = Classifier()
    module.example_inputs = {"features": torch.zeros(1, 4)}
    return module


def row():
    """Four linear layers of 20, 30, 12 and 3 parameters and a dropout, which must be off."""
    module = nn.Sequential(OrderedDict(
        a=nn.Linear(4, 4), b=nn.Linear(4, 6), drop=nn.Dropout(0.9), c=nn.Linear(6, 2, bias=False), d=nn.Linear(2, 1)))
    module.example_inputs = {"features": torch.zeros(1, 4)}
    return module


def turned():
    """A first stage whose output is a view with its strides turned."""
    class Turn(nn.Linear):
        def forward(self, x):
            return super().forward(x).unflatten(1, (2, 2)).transpose(1, 2)

    module = nn.Sequential(Turn(4, 4), nn.Flatten())
    module.example_inputs = {"features": torch.zeros(1, 4)}
    return module


def row_with_points():
    """The same, cut where its author says."""
    module = row()
    module.split_points = ("b", "d")
    return module


def row_with_wrong_points():
    """Cut before a child that is not there."""
    module = row()
    module.split_points = ("b", "z")
    return module


def no_module():
    """No `nn.Module`."""
    return 3


def raises():
    """An error of the user's code."""
    raise KeyError("colour")


def no_example():
    """Nothing said about inputs."""
    return nn.Linear(4, 4)


def wrong_example():
    """An example that does not fit."""
    module = nn.Linear(4, 4)
    module.example_inputs = {"x": torch.zeros(1, 5)}
    return module


def no_batch():
    """The batch is summed away."""
    class Sum(nn.Linear):
        def forward(self, x):
            return super().forward(x).sum(0)

    module = Sum(4, 4)
    module.example_inputs = {"x": torch.zeros(1, 4)}
    return module


def words():
    """An answer that is no tensor."""
    class Words(nn.Module):
        def forward(self, x):
            return "yes"

    module = Words()
    module.example_inputs = {"x": torch.zeros(1, 4)}
    return module
