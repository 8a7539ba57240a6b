"""Sponge: one variant on one replica, whose cores and batch are the fewest that keep the SLO; resized in place.

Source: Razavi et al., "Sponge: Inference Serving with Dynamic SLOs Using In-Place Vertical Scaling", EuroMLSys 2024
(arXiv 2404.00704): an integer program over cores c and batch b on measured latency l(b, c) and throughput h(b, c).

    minimise    price * c, then b
    subject to  h(b, c) >= load,   l(b, c) + (wait for the batch to fill) + queue / h(b, c) <= SLO

(The paper's price of a batch is as small as makes no difference to the cores.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from baselines.single_variant import all_scaled_for, scaled_of
from envs.contract import Decision, Observation, Policy, ReplicaKind
from envs.envelope import project
from envs.scenario import Scenario

LEAST_LOAD_RPS = 1e-3
ROUNDING = 1e-9  # of load and SLO, that a plan may miss


@dataclass(frozen=True)
class Size:
    """What one service may run on.

    Attributes:
        kind, count: replicas; one, where the candidate is a size.
        price: of its units.
        throughput_rps: h(b, c), of all replicas.
        latency_s: l(b, c), of one batch.
    """

    kind: ReplicaKind
    count: int
    price: float
    throughput_rps: float
    latency_s: float

    def answers_s(self, load_rps: float, queue: float) -> float:
        """When the last request that waits now has its answer: the queue, the wait for the batch to fill, and the batch."""
        fill_s = min((self.kind.batch - 1) / load_rps, self.kind.max_wait_s)
        return self.latency_s + fill_s + queue / self.throughput_rps


def best_size(sizes: Sequence[Size], load_rps: float, queue: float, slo_s: float) -> Size | None:
    """The cheapest size that carries the load and answers what waits within the SLO; the smaller batch, then the first, of
    equals. None where there is none.
    """
    fitting = [s for s in sizes if s.throughput_rps >= load_rps * (1 - ROUNDING)
               and s.answers_s(load_rps, queue) <= slo_s * (1 + ROUNDING)]
    return min(fitting, key=lambda s: (s.price, s.kind.batch), default=None)


class Sponge(Policy):
    """Solves the program for each service at every decision; there is no hold, since a resize in place costs next to nothing.

    The queue stands for what the paper orders by deadline: all that waits now has to be answered within the SLO. Where no
    size does that, the one of the most throughput is taken, and the reason says so.

    Cores are those of one replica where the candidate is a size; of a counted candidate they are replicas, as the classics'
    pods. Without ``in_place_resize_s`` in the scenario every resize loads a new replica first, and so does, always, a change
    of the batch, which belongs to the replica kind. What several services ask for beyond the budget is lowered by the
    envelope's rule.

    Args:
        variant: as `SingleVariant`'s.
        margin: factor on the load that was offered.
        capacity_ratio: factor on throughputs.

    Raises:
        ValueError: a factor that is not above 0; on reset, where a service has no candidate within the budget.
    """

    def __init__(self, variant: str | None = None, margin: float = 1.1, capacity_ratio: float = 0.8) -> None:
        if not (margin > 0 and capacity_ratio > 0):
            raise ValueError(f"margin {margin}, capacity_ratio {capacity_ratio}: give factors above 0, such as 1.1 and 0.8")
        self.variant, self.margin, self.capacity_ratio = variant, margin, capacity_ratio

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """Settings to calibrate: variant, margin, factor on throughputs."""
        return {"variant": sorted({v for s in scenario.services.values() for v in s.variants}),
                "margin": [0.9, 1.0, 1.1, 1.2, 1.3, 1.5, 2.0], "capacity_ratio": [0.6, 0.7, 0.8, 0.9, 1.0]}

    def reset(self, scenario: Scenario) -> None:
        """Tables of each service; nothing is remembered."""
        self._scenario = scenario
        self._sizes = {name: self._tabulate(scenario, name) for name in scenario.services}

    def _tabulate(self, scenario: Scenario, service: str) -> list[Size]:
        """The sizes of a service's variant within the budget."""
        variant = scaled_of(scenario, service, self.variant, self.capacity_ratio / self.margin).variant
        sizes = []
        for scaled in all_scaled_for(scenario, service, variant):
            device = scenario.devices[scaled.candidate.device]
            for kind in (k for k in scaled.candidate.kinds if k.shape.units <= device.budget):
                rps = self.capacity_ratio * scenario.capacity_rps(kind, variant)
                latency_s = sum(scenario.profile.latency_s(variant, kind.shape, kind.batch)) + scenario.overhead_s
                sizes += [Size(kind, n, device.price * n * kind.shape.units, n * rps, latency_s)
                          for n in range(1, 2 if scaled.candidate.sized else scaled.most + 1) if rps > 0]
        if not sizes:
            raise ValueError(f"service '{service}': no size of '{variant}' has any capacity within the SLO")
        return sizes

    def decide(self, observation: Observation) -> Decision:
        """The best size of each service."""
        replicas: dict[ReplicaKind, int] = {}
        reasons: list[str] = []
        details: dict[str, float] = {}
        for name, service in self._scenario.services.items():
            seen, sizes = observation.services[name], self._sizes[name]
            if math.isnan(seen.offered_rps) or math.isnan(seen.queue):
                kept = {k: n for k, n in observation.deployment.replicas.items() if set(k.variants) & set(service.variants)}
                reasons.append(f"{name}: load or queue is missing: unchanged")
            else:
                load_rps = max(self.margin * seen.offered_rps, LEAST_LOAD_RPS)
                found = best_size(sizes, load_rps, seen.queue, service.slo_s)
                size = found or max(sizes, key=lambda s: (s.throughput_rps, -s.price))
                over = "" if found else " is more than any size answers in time: the most throughput"
                reasons.append(f"{name}: {load_rps:.3g} req/s, {seen.queue:.3g} waiting{over}: {size.count} x {size.kind}")
                kept = {size.kind: size.count}
                details[f"cores_{name}"] = float(size.count * size.kind.shape.units)
                details[f"batch_{name}"] = float(size.kind.batch)
            for kind, n in kept.items():
                replicas[kind] = max(replicas.get(kind, 0), n)
        wanted, lowered = project(replace(observation.deployment, replicas=replicas, routes={}), self._scenario)
        return Decision(wanted, "; ".join(reasons) + ("; lowered to fit the budget" if lowered else ""), details)
