"""Room: whether replicas fit the nodes of their device type and what may be spent, and who they are for."""

from __future__ import annotations

from collections.abc import Mapping

from envs.contract import CPU, Deployment, ReplicaKind
from envs.scenario import Scenario

ROUNDING = 1e-9  # prices that add up to the ceiling are not over it by the last bit


def placed(replicas: Mapping[ReplicaKind, int], name: str, scenario: Scenario) -> bool:
    """True where the replicas on a device type are within its budget and first-fit-decreasing places each on a node."""
    device = scenario.devices[name]
    kinds = sorted((k for k in replicas if k.shape.device == name), key=lambda k: (-k.shape.units, k))
    if sum(k.shape.units * replicas[k] for k in kinds) > device.budget:
        return False
    units = list(device.nodes) or [device.budget]
    memory = [device.memory_bytes] * len(units)
    for kind in kinds:
        need = scenario.memory_bytes(kind) if name == CPU else 0.0
        for _ in range(replicas[kind]):
            node = next((i for i in range(len(units)) if units[i] >= kind.shape.units and memory[i] >= need), None)
            if node is None:
                return False
            units[node] -= kind.shape.units
            memory[node] -= need
    return True


def affordable(replicas: Mapping[ReplicaKind, int], scenario: Scenario) -> bool:
    """True where all that is held costs no more than the scenario's ceiling, over all device types."""
    return scenario.price_limit is None or scenario.price_of(Deployment(replicas)) <= scenario.price_limit * (1 + ROUNDING)


def hosts(kind: ReplicaKind, service: str, scenario: Scenario) -> bool:
    """True where a kind answers for a service."""
    return any(v in scenario.services[service].variants for v in kind.variants)
