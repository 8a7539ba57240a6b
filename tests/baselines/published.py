"""Numbers published with InfAdapter (EuroMLSys 2023): variants, and capacities by regression at an SLO of 750 ms."""

import numpy as np

from baselines.infadapter_ilp import Choices

VARIANTS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
ACCURACY = (0.69758, 0.73314, 0.7613, 0.77374, 0.78312)
LOAD_S = (6.44, 6.79, 6.82, 7.77, 8.52)
SLOPE = (24.4462, 13.0444, 10.3212, 5.0901, 3.8145)
INTERCEPT = (-6, -1, -3, 0, -2)  # int(min(intercept, 0.99)), truncated towards 0
CORES = 20


def capacity_rps(variant, cores):
    """int(0.8 * (slope * n + t)), as the artefact computes it."""
    return int(0.8 * (SLOPE[variant] * cores + INTERCEPT[variant])) if cores else 0


def choices(w_cost=0.05, w_change=0.001, cores=CORES):
    """The published problem; level n is n cores, and a pod of one core is not allowed."""
    levels = range(cores + 1)
    units = np.array([[-1 if n == 1 else n for n in levels]] * len(VARIANTS))
    capacity = np.array([[float(capacity_rps(m, n)) for n in levels] for m in range(len(VARIANTS))])
    return Choices(np.array(ACCURACY), np.array(LOAD_S) / max(LOAD_S), units, capacity, np.maximum(units, 0) / cores,
                   np.zeros(len(VARIANTS), dtype=np.int64), np.array([cores]), 1.0, w_cost, w_change)


PREVIOUS = (0, 0, 0, 0, 20)  # resnet152 on all cores
