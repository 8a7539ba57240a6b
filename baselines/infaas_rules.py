"""INFaaS's autoscaler, as pure functions: when a variant needs replicas, and whether to add them or to upgrade.

Source: Romero et al., "INFaaS: Automated Model-less Inference Serving", USENIX ATC 2021, and its published program for the
constants.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

CPU_HEADROOM = 0.95  # of capacity, above which a CPU variant needs more
GPU_SLACK_PER_S = 0.2  # of capacity, by which a device variant needs more earlier, for each second that it loads
CPU_VOTES, GPU_VOTES = 10, 20  # intervals in a row that a replica must be idle before it goes
PAST_LIMIT = 1000.0  # times the cost of replicas that a variant may not have
UPGRADE_RATIO = 1.5  # times dearer, before adding replicas gives way to another variant


@dataclass(frozen=True)
class Running:
    """One variant as the autoscaler sees it.

    Attributes:
        replicas: there are.
        most: there may be.
        capacity_rps: of one replica.
        load_s: from start to ready.
        on_cpu: or on a device.
        load_rps: that it gets.
    """

    replicas: int
    most: int
    capacity_rps: float
    load_s: float
    on_cpu: bool
    load_rps: float = 0.0


def shortfall_rps(variant: Running) -> float:
    """Load beyond what a variant should carry; above 0 it needs replicas."""
    capacity = variant.replicas * variant.capacity_rps
    if variant.on_cpu:
        return variant.load_rps - CPU_HEADROOM * capacity
    return variant.load_rps - capacity + GPU_SLACK_PER_S * variant.load_s * capacity


def has_idle_replica(variant: Running) -> bool:
    """Whether one replica less would carry the load."""
    return variant.replicas > 0 and variant.load_rps <= (variant.replicas - 1) * variant.capacity_rps


def votes_needed(variant: Running) -> int:
    """Intervals in a row with an idle replica before one goes."""
    return CPU_VOTES if variant.on_cpu else GPU_VOTES


def needed(variant: Running, load_rps: float) -> int:
    """Replicas for a load."""
    return math.ceil(load_rps / variant.capacity_rps - 1e-9)


def additions(variants: Mapping[str, Running]) -> dict[str, int]:
    """Replicas to be added, by variant: replicate what falls short, or upgrade to the variant that is ready soonest.

    Replicating costs the load times of all replicas added, a thousandfold for those beyond a variant's most. Upgrading costs
    the load times of the one variant that carries all that falls short for the least; it is chosen where replicating costs
    more than 1.5 times as much.
    """
    short = {name: rps for name, v in variants.items() if v.replicas and (rps := shortfall_rps(v)) > 0}
    if not short:
        return {}
    replicate = {name: needed(variants[name], rps) for name, rps in short.items()}
    cost = sum(_cost(variants[name], count) for name, count in replicate.items())
    total = sum(short.values())
    able = {name: needed(v, total) for name, v in variants.items() if v.replicas + needed(v, total) <= v.most}
    if not able:
        return replicate
    best = min(able, key=lambda name: (variants[name].load_s * able[name], name))
    return {best: able[best]} if cost > UPGRADE_RATIO * variants[best].load_s * able[best] else replicate


def _cost(variant: Running, count: int) -> float:
    beyond = max(0, min(count, variant.replicas + count - variant.most))
    return variant.load_s * (count - beyond + PAST_LIMIT * beyond)
