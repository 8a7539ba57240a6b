"""A device's constants from a few measured rows: the rooflines that are nearest to them.

    fit(machine("v100"), rows, ("compute_efficiency", "score_bytes"), ranks=(2, 4))

Least squares of the logarithms of predicted / measured latency: an error of 5 % counts the same for short and long rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares

from baselines.hardware import Device, Link, Machine
from baselines.operators import Architecture
from baselines.parallelise import parallelise


@dataclass(frozen=True)
class Measured:
    """One measured latency: of a batch through all stages.

    Attributes:
        architecture: the model.
        inter_op, intra_op: its shape.
        batch: size.
        latency_s: seconds.
        by_hand: its stages had the same number of layers each.
    """

    architecture: Architecture
    inter_op: int
    intra_op: int
    batch: int
    latency_s: float
    by_hand: bool = False


def fit(machine: Machine, rows: Sequence[Measured], constants: Sequence[str], ranks: Sequence[int] = ()) -> Machine:
    """The machine with fitted constants.

    Args:
        machine: where the search begins; what is not fitted stays.
        rows: at least as many as there is to fit.
        constants: attributes of `Device` to fit, each above 0.
        ranks: sizes of groups for which the rate of its link is fitted.

    Raises:
        ValueError: there are fewer rows than constants.
    """
    if len(rows) < len(constants) + len(ranks):
        raise ValueError(f"{len(rows)} rows for {len(constants) + len(ranks)} constants: give as many or more")
    start = np.log([*(getattr(machine.device, name) for name in constants), *(machine.link.bytes_per_s[n] for n in ranks)])

    def errors(logs: np.ndarray) -> np.ndarray:
        tried = _with(machine, constants, ranks, np.exp(logs))
        return np.array([np.log(predicted_s(tried, row) / row.latency_s) for row in rows])

    # The plans jump from one to another where constants move far, hence a wide step for the derivative.
    found = least_squares(errors, start, diff_step=1e-3, x_scale=0.1)
    return _with(machine, constants, ranks, np.exp(found.x))


def predicted_s(machine: Machine, row: Measured) -> float:
    """What the machine's roofline says of a row."""
    return sum(parallelise(row.architecture, machine, row.inter_op, row.intra_op, row.by_hand).stage_s(row.batch))


def _with(machine: Machine, constants: Sequence[str], ranks: Sequence[int], values: np.ndarray) -> Machine:
    numbers = [float(value) for value in values]
    device: Device = replace(machine.device, **dict(zip(constants, numbers)))  # type: ignore[arg-type]
    link: Link = replace(machine.link, bytes_per_s={**machine.link.bytes_per_s, **dict(zip(ranks, numbers[len(constants):]))})
    return replace(machine, device=device, link=link)
