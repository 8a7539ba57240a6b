"""Proposals: the deployments of any scenario that a network picks among, and what it takes to go from one to another.

A pipeline's variants, replicas and batches of all stages, or a placement of many services, are one proposal each. So one
network decides for any scenario: it says how good each proposal is now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from envs.contract import CPU, Deployment, ReplicaKind
from envs.scenario import Candidate, InitialReplica, Scenario

ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Proposals:
    """M deployments; the first is the scenario's initial one.

    Attributes:
        kinds: all that are used, K.
        counts: (M, K) replicas of each kind.
    """

    kinds: tuple[ReplicaKind, ...]
    counts: np.ndarray

    @classmethod
    def of(cls, deployments: Sequence[Deployment]) -> Proposals:
        """These deployments, each once, in their order."""
        distinct = list(dict.fromkeys(deployment.replicas for deployment in deployments))
        kinds = tuple(sorted({kind for replicas in distinct for kind in replicas}))
        return cls(kinds, np.array([[replicas.get(kind, 0) for kind in kinds] for replicas in distinct], np.int64))

    def __len__(self) -> int:
        return len(self.counts)

    def deployment(self, entry: int) -> Deployment:
        """One of them, without routes."""
        return Deployment({kind: int(n) for kind, n in zip(self.kinds, self.counts[entry]) if n})

    def index(self, deployment: Deployment) -> int:
        """The entry of a deployment, or the one that differs by the fewest units."""
        units = np.array([kind.shape.units for kind in self.kinds])
        held = np.array([deployment.replicas.get(kind, 0) for kind in self.kinds])
        return int((np.abs(self.counts - held) * units).sum(1).argmin())

    def some(self, entries: np.ndarray) -> Proposals:
        """A part of them."""
        used = (self.counts[entries] > 0).any(0)
        return Proposals(tuple(kind for kind, u in zip(self.kinds, used) if u), self.counts[entries][:, used])

    def problem(self, scenario: Scenario) -> Scenario:
        """The scenario with these kinds as its candidates, loaded at once; the first proposal is its initial deployment."""
        most = np.maximum(self.counts.max(0), 1)
        candidates = tuple(
            Candidate(variants=kind.variants, cores=(kind.shape.cores,) if kind.shape.device == CPU else (),
                      inter_op=kind.shape.inter_op, intra_op=kind.shape.intra_op, device=kind.shape.device, batch=kind.batch,
                      max_wait_s=kind.max_wait_s, max_count=int(n)) for kind, n in zip(self.kinds, most))
        initial = tuple(InitialReplica(candidate=k, level=int(n)) for k, n in enumerate(self.counts[0]) if n)
        loaded = {name: variant.model_copy(update={"load_s": 0.0}) for name, variant in scenario.variants.items()}
        return scenario.with_(candidates=candidates, initial=initial, variants=loaded)


class Moves(NamedTuple):
    """Going from each proposal (row) to each other (column) in an interval; in rewards.

    Attributes:
        late: (M, M) share of the interval until the new one has loaded; the old one serves meanwhile.
        paid: (M, M) cost of that interval, with what is held beside, and the change itself.
    """

    late: np.ndarray
    paid: np.ndarray

    @property
    def extra(self) -> np.ndarray:
        """(M, M) what a move costs above being there already."""
        return self.paid - self.paid.diagonal()


def moves_of(scenario: Scenario, proposals: Proposals) -> Moves:
    """The moves between proposals, by the rules of reconciling: create before delete, all new replicas load side by side.

    Raises:
        ValueError: something loads for longer than an interval.
    """
    load_s = np.array([scenario.load_s(kind) for kind in proposals.kinds]) + scenario.decision_delay_s
    if (load_s > scenario.interval_s + ROUNDING).any():
        raise ValueError(f"scenario '{scenario.name}': loading takes {load_s.max():.3g} s, longer than an interval of "
                         f"{scenario.interval_s:g} s; a network over proposals needs it to end within one")
    before, after = proposals.counts[:, None], proposals.counts[None]
    started = after > before
    longest_s = np.where(started, load_s, 0.0).max(-1)
    budget = scenario.whole_price
    price = np.array([scenario.devices[kind.shape.device].price * kind.shape.units for kind in proposals.kinds]) / budget
    late = longest_s / scenario.interval_s
    held = late * (np.maximum(before, after) * price).sum(-1) + (1 - late) * (after * price).sum(-1)
    most_s = max(map(scenario.load_s, scenario.kinds)) or 1.0
    change = np.minimum(np.where(started, load_s - scenario.decision_delay_s, 0.0).max(-1) / most_s, 1.0)
    return Moves(late, scenario.weights.cost * held + scenario.weights.change * change)
