"""The faults of a trial: what goes wrong, when and for how long. All of it follows from the seed alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

FIRST_S, LAST_S = 2.0, 3.0  # none before the one, nor in the end's other
GAP_S = 1.0  # between two, on average, beyond the least
LEAST_GAP_S = 0.5


class Sort(NamedTuple):
    """One sort of fault.

    Attributes:
        for_s: from ... to; it lasts a time between them. (0, 0): a moment.
        workers: whether there must be worker processes for it.
        holds: what must hold, in a few words, beside all invariants.
        ray: whether there must be nodes of a Ray cluster for it.
    """

    for_s: tuple[float, float]
    workers: bool
    holds: str
    ray: bool = False


SORTS: Mapping[str, Sort] = {
    "worker killed": Sort((0, 0), True, "what it computed is computed again elsewhere; it is replaced"),
    "worker hung": Sort((0, 0), True, "noticed, fenced, replaced; its late answer is nobody's"),
    "loading worker killed": Sort((0, 0), True, "another one loads"),
    "draining worker killed": Sort((0, 0), True, "what it had goes elsewhere"),
    "Ray node killed": Sort((0, 0), True, "what its workers had is computed again elsewhere; they are replaced", ray=True),
    "Ray node hung": Sort((1.0, 4.0), True, "as if it were lost; what it computes later is nobody's", ray=True),
    "cluster killed": Sort((0, 0), False, "the next process takes its workers over; clients ask again"),
    "cluster hung": Sort((0.2, 2.0), False, "goes on, with the workers that it had"),
    "cluster told to end": Sort((0, 0), False, "answers what is under way; clients of the time between ask again"),
    "cluster handed over": Sort((0, 0), False, "the next process goes on with workers and connections; no client notices"),
    "cluster starved of CPU": Sort((1.0, 3.0), False, "slower, nothing else"),
    "cluster's disk full": Sort((1.0, 3.0), False, "serves on; changes are refused, what failed is replaced"),
    "cluster without descriptors": Sort((1.0, 3.0), False, "connections that are there go on; new ones ask again"),
    "cluster without memory": Sort((1.0, 3.0), False, "goes on with what it has, or ends and is started again"),
    "autoscaler killed": Sort((0, 0), False, "serving goes on; no decision is carried out twice"),
    "autoscaler killed, journal torn": Sort((0, 0), False, "goes on from the whole lines"),
    "autoscaler hung": Sort((1.0, 9.0), False, "after 6 s the other one leads; the frozen one does not act again"),
    "autoscaler starved of CPU": Sort((1.0, 3.0), False, "decides late or not"),
    "autoscaler's disk full": Sort((1.0, 3.0), False, "decides on, without a journal"),
    "autoscaler without descriptors": Sort((1.0, 3.0), False, "what is in force stays"),
    "autoscaler without memory": Sort((1.0, 3.0), False, "what is in force stays"),
    "Prometheus killed": Sort((0, 0), False, "what is in force stays until it is back"),
    "Prometheus hung": Sort((1.0, 4.0), False, "what is in force stays until it is back"),
    "burst of 10 times the load": Sort((0.5, 1.0), False, "shed with a reason, or answered late"),
    "slow and broken clients": Sort((1.0, 4.0), False, "nobody else notices"),
    "operator changes the deployment": Sort((0, 0), False, "the autoscaler's change of before is a conflict"),
}
BURST = "burst of 10 times the load"
OFTEN = 3  # times as often as others: those that only few trials have


@dataclass(frozen=True)
class Fault:
    """One that is to come.

    Attributes:
        at_s: seconds after the load began.
        name: of its sort.
        for_s: how long it lasts.
        victim: in [0, 1): which of those that there are.
    """

    at_s: float
    name: str
    for_s: float
    victim: float


def with_workers(seed: int) -> bool:
    """Whether a seed's replicas are worker processes: every other one; else they are emulated."""
    return seed % 2 == 1


def on_ray(seed: int) -> bool:
    """Whether a seed's worker processes run on the nodes of a Ray cluster: every fourth one's, where Ray is installed."""
    return seed % 8 == 5


def drawn(seed: int, seconds: float) -> list[Fault]:
    """The faults of a trial of this length, in order. They may overlap."""
    generator = np.random.default_rng((seed, 10))
    names = [name for name, sort in SORTS.items() if not sort.ray and (with_workers(seed) or not sort.workers)]
    if on_ray(seed):
        names += OFTEN * [name for name, sort in SORTS.items() if sort.ray]
    found, at_s = [], FIRST_S
    while at_s < seconds - LAST_S:
        name = names[generator.integers(len(names))]
        for_s = min(generator.uniform(*SORTS[name].for_s), seconds - at_s)
        found.append(Fault(round(at_s, 3), name, round(for_s, 3), float(generator.random())))
        at_s += LEAST_GAP_S + generator.exponential(GAP_S)
    return found
