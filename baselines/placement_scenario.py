"""From a scenario to a problem of placement, and from a placement to a deployment.

Each service is one model. Weights spread evenly over the devices of a group, as scenarios count memory; a group becomes one
replica of a kind that hosts its models.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from baselines.alpaserve_partitions import MOST_SHARDS, MOST_STAGES
from baselines.placement import Group, PlacedModel, Placement, PlacementProblem, Stock
from baselines.placement_replay import Requests
from envs.contract import CPU, Deployment, ReplicaKind, Shape
from envs.loads import open_loads
from envs.profiles import ProfileError
from envs.scenario import Scenario
from traces.load import POISSON, RECORDED, Load, make_load
from traces.samplers import draw
from traces.splits import Split

POWERS = (1, 2, 4, 8)
PIECE_S = 150.0
GOLDEN = (math.sqrt(5) - 1) / 2


def problem_of(scenario: Scenario) -> PlacementProblem:
    """The models, the devices and the shapes that the scenario's profile knows, for batches of one.

    Raises:
        ValueError: a service has several variants or is part of a chain, the scenario has no type of device that models can
            be sliced over, or a model runs on no shape.
    """
    stocks = {name: Stock(device.budget, device.memory_bytes) for name, device in scenario.devices.items() if name != CPU}
    if not stocks:
        raise ValueError(f"{scenario.name} has no types of device that models can be sliced over, only {CPU}")
    first, *others = stocks
    return PlacementProblem(tuple(_model(scenario, name, tuple(stocks)) for name in scenario.services), *stocks[first],
                            scenario.stage_overhead_ratio, scenario.overhead_s, {name: stocks[name] for name in others})


def requests_of(scenario: Scenario, length_s: float, seed: int = 0, split: Split = "train") -> Requests:
    """Requests to plan on: pieces of a part of the scenario's workload, one after another.

    They are spread by the golden ratio, so that no daily course hides from them, and fewer where that part is shorter.

    Raises:
        TraceError: a trace is not there.
    """
    opened = open_loads(scenario, None, split, length_s)
    length_s = min(length_s, opened.span_s)
    pieces = max(1, round(length_s / PIECE_S))
    own_s = length_s / pieces
    starts_s = [piece * GOLDEN % 1 * (opened.span_s - own_s) for piece in range(pieces)]
    services = list(scenario.services)
    return merged({services.index(name): np.concatenate([
        draw(load, seed + services.index(name) + piece * len(services), start_s, own_s) + piece * own_s
        for piece, start_s in enumerate(starts_s)]) for name, load in opened.loads.items()})


@dataclass(frozen=True)
class SteadyLoad:
    """The scenario's workload at rates that do not change.

    Attributes:
        loads: of each service's arrivals around its rate; Poisson where they are recorded.
        rate_rps: (services,) mean of the training part.
    """

    loads: tuple[Load, ...]
    rate_rps: np.ndarray

    @classmethod
    def of(cls, scenario: Scenario) -> SteadyLoad:
        """From the training part.

        Raises:
            TraceError: a trace is not there.
        """
        opened = open_loads(scenario, None, "train", PIECE_S)
        loads = [opened.loads[name] for name in scenario.services]
        rates = [len(load.recorded_s) / opened.span_s if load.model == RECORDED else float(load.rate_rps.mean())
                 for load in loads]
        drawn = tuple(make_load(POISSON, np.ones(1)) if load.model == RECORDED else load for load in loads)
        return cls(drawn, np.array(rates))

    def requests(self, rate_rps: np.ndarray, length_s: float, seed: int) -> Requests:
        """Requests at other rates; (services,)."""
        return merged({i: draw(load._replace(rate_rps=np.array([rate]), bin_s=length_s), seed + i, 0.0, length_s)
                       for i, (load, rate) in enumerate(zip(self.loads, rate_rps, strict=True))})


def merged(times: Mapping[int, np.ndarray]) -> Requests:
    """Arrivals of each model, seconds, as requests in order."""
    arrival_s = np.concatenate([*times.values(), np.zeros(0)])
    order = np.argsort(arrival_s, kind="stable")
    return Requests(arrival_s[order], np.repeat(list(times), [len(t) for t in times.values()])[order].astype(np.int64))


def deployment_of(scenario: Scenario, placement: Placement) -> Deployment:
    """A replica for each group that hosts a model; equal groups are replicas of one kind."""
    variants = [service.variants[0] for service in scenario.services.values()]
    return Deployment(Counter(ReplicaKind(tuple(variants[m] for m in group.models), group.shape)
                              for group in placement if group.models))


def placement_of(scenario: Scenario, deployment: Deployment) -> Placement:
    """The groups of a deployment."""
    models = {service.variants[0]: m for m, service in enumerate(scenario.services.values())}
    return tuple(Group(kind.shape, tuple(sorted(models[variant] for variant in kind.variants)))
                 for kind, count in deployment.replicas.items() for _ in range(count))


def _model(scenario: Scenario, name: str, types: Sequence[str]) -> PlacedModel:
    service = scenario.services[name]
    if len(service.variants) != 1 or name not in scenario.applications:
        raise ValueError(f"service {name} of {scenario.name} is part of a chain, or has several variants: placement is for "
                         "services of one model each")
    variant = scenario.variants[service.variants[0]]
    latency_s: dict[Shape, tuple[float, ...]] = {}
    for shape in [Shape(0, stages, shards, device) for device in types for stages in POWERS for shards in POWERS]:
        if shape.inter_op <= MOST_STAGES and shape.intra_op <= MOST_SHARDS:
            try:
                latency_s[shape] = scenario.profile.latency_s(service.variants[0], shape, 1)
            except ProfileError:
                continue  # not measured: the model is not placed on this shape
    if not latency_s:
        raise ValueError(f"{scenario.profile.name} has no latency of {service.variants[0]} on {', '.join(types)}")
    weight_bytes = {shape: variant.memory_bytes / shape.units for shape in latency_s}
    return PlacedModel(name, service.slo_s, latency_s, weight_bytes, variant.activation_bytes, variant.load_s)
