"""CascadeServe's gear plan, made beforehand: for each range of load a cascade, its replicas and its batch triggers.

Source: Kossmann et al., "CascadeServe: Unlocking Model Cascades for Inference Serving", 2024 (arXiv 2406.14424): cascades by
cost and accuracy, load ranges, replication, batch triggers; where a later one fails the earlier ones choose anew. Placement on
nodes is the cluster's here, so that a gear is a deployment.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from envs.contract import Deployment, ReplicaKind
from envs.scenario import Scenario


class Place(NamedTuple):
    """One place of a cascade: its variant, the threshold at which requests leave, and the share of all that gets here."""

    variant: str
    threshold: float
    reach_ratio: float


@dataclass(frozen=True)
class Cascade:
    """Places in order, with the accuracy of the answers and the cost of one request (price x units x seconds)."""

    places: tuple[Place, ...]
    accuracy: float
    cost: float


@dataclass(frozen=True)
class Gear:
    """What is run up to a load.

    Attributes:
        load_rps: greatest load.
        cascade: which places.
        kinds: replica kind of each place, and how many.
        objective: of the scenario's weights.
    """

    load_rps: float
    cascade: Cascade
    kinds: tuple[tuple[ReplicaKind, int], ...]
    objective: float


def cascades_of(scenario: Scenario, application: str) -> list[Cascade]:
    """All cascades of the candidates' variants: in each place one variant, and a threshold of its certainty curve."""
    services = [scenario.services[s] for s in scenario.applications[application].services]
    hosted = {v for c in scenario.candidates for v in c.variants}
    found: list[Cascade] = []
    for variants in itertools.product(*([v for v in s.variants if v in hosted] for s in services)):
        for thresholds in itertools.product(*(_thresholds(scenario, v) for v in variants[:-1]), (0.0,)):
            found.append(cascade_of(scenario, variants, thresholds))
    return list(dict.fromkeys(found))


def _thresholds(scenario: Scenario, variant: str) -> list[float]:
    """The measured points of a variant's certainty curve; none: certainty is unknown, and all are passed on or none."""
    return [row.threshold for row in scenario.variants[variant].certainty] or [1.0]


def cascade_of(scenario: Scenario, variants: Sequence[str], thresholds: Sequence[float]) -> Cascade:
    """A cascade, as the cluster plays it: who leaves at a threshold, and how accurate, lies between the curve's rows."""
    places, accuracy, cost, reach = [], 0.0, 0.0, 1.0
    for i, (name, threshold) in enumerate(zip(variants, thresholds)):
        leave, right = 1.0, scenario.variants[name].accuracy
        curve = scenario.variants[name].certainty
        if i < len(variants) - 1:
            rows = [row.threshold for row in curve]
            leave = float(np.interp(threshold, rows, [row.leave_ratio for row in curve])) if curve else 0.0
            right = float(np.interp(threshold, rows, [row.accuracy for row in curve])) if curve else right
        places.append(Place(name, threshold, reach))
        accuracy += reach * leave * right
        cost += reach * min(scenario.devices[k.shape.device].price * k.shape.units / scenario.capacity_rps(k, name)
                            for k in scenario.kinds if name in k.variants)
        reach *= 1 - leave
        if reach <= 1e-9:
            break
    return Cascade(tuple(places), accuracy, cost)


def pareto(cascades: Sequence[Cascade]) -> list[Cascade]:
    """Those that no other one beats in both cost and accuracy, the cheapest first."""
    kept: list[Cascade] = []
    for cascade in sorted(cascades, key=lambda c: (c.cost, -c.accuracy)):
        if not kept or cascade.accuracy > kept[-1].accuracy + 1e-12:
            kept.append(cascade)
    return kept


def gear_for(scenario: Scenario, application: str, cascades: Sequence[Cascade], load_rps: float, capacity_ratio: float,
             least_accuracy: float = 0.0) -> Gear | None:
    """The gear of the best objective for a load; None where no cascade carries it within budget and SLO.

    Args:
        scenario: its weights of accuracy and cost are the objective's.
        application: a cascade.
        cascades: to choose from; one that fails gives way to the next best.
        load_rps: > 0.
        capacity_ratio: factor on throughputs.
        least_accuracy: of all answers; from there on cost alone counts. 0: the objective has both.
    """
    best: Gear | None = None
    whole = scenario.whole_price
    for cascade in cascades:
        if cascade.accuracy < least_accuracy:
            continue
        for kinds in _replicated(scenario, scenario.applications[application].slo_s, cascade, load_rps, capacity_ratio):
            cost = sum(scenario.devices[k.shape.device].price * k.shape.units * n for k, n in kinds) / whole
            gained = 0.0 if least_accuracy else scenario.weights.accuracy * cascade.accuracy
            value = gained - (scenario.weights.cost or 1.0) * cost
            if best is None or value > best.objective + 1e-12:
                best = Gear(load_rps, cascade, kinds, value)
    return best


def _replicated(scenario: Scenario, slo_s: float, cascade: Cascade, load_rps: float,
                capacity_ratio: float) -> Iterator[tuple[tuple[ReplicaKind, int], ...]]:
    """Kinds and counts that carry a cascade: each choice of batch triggers that keeps SLO, budget and counts."""
    choices = []
    for place in cascade.places:
        rps = load_rps * place.reach_ratio
        rows = []
        for candidate in scenario.candidates:
            for kind in candidate.kinds if place.variant in candidate.variants else ():
                n = math.ceil(rps / (capacity_ratio * scenario.capacity_rps(kind, place.variant)) - 1e-9)
                fill_s = min((kind.batch - 1) / rps, kind.max_wait_s)
                latency_s = fill_s + sum(scenario.profile.latency_s(place.variant, kind.shape, kind.batch))
                if n <= (1 if candidate.sized else candidate.max_count):
                    rows.append((kind, max(1, n), latency_s))
        choices.append(rows)
    for row in itertools.product(*choices):
        kinds = tuple((kind, n) for kind, n, _ in row)
        held = {name: sum(k.shape.units * n for k, n in kinds if k.shape.device == name) for name in scenario.devices}
        if sum(latency_s for *_, latency_s in row) <= slo_s and all(held[d] <= scenario.devices[d].budget for d in held):
            yield kinds


def deployment_of(scenario: Scenario, application: str, gear: Gear) -> Deployment:
    """The deployment of a gear: replicas, routes and thresholds."""
    services = scenario.applications[application].services
    replicas: dict[ReplicaKind, int] = {}
    for kind, n in gear.kinds:
        replicas[kind] = replicas.get(kind, 0) + n
    routes = {s: {(kind, place.variant): 1.0} for s, place, (kind, _) in zip(services, gear.cascade.places, gear.kinds)}
    thresholds = {(application, i): place.threshold for i, place in enumerate(gear.cascade.places[: len(services) - 1])}
    return Deployment(replicas, routes, thresholds)


