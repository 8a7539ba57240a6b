"""Whether a deployment's routes can be served: asked alike by the simulator, the gateway and the cluster."""

from __future__ import annotations

from collections.abc import Container

from envs.contract import Deployment, ReplicaKind
from envs.scenario import Scenario


def check_routes(deployment: Deployment, scenario: Scenario, kinds: Container[ReplicaKind]) -> None:
    """That every route leads to a kind that is there, and to a variant of both the kind and the service.

    Args:
        deployment: whose routes are asked about.
        scenario: its services, and which variants each may serve.
        kinds: that are there beside those of which the deployment wants replicas.

    Raises:
        ValueError: one does not.
    """
    for service, routes in deployment.routes.items():
        if service not in scenario.services:
            raise ValueError(f"routes of unknown service '{service}'; known: {', '.join(scenario.services)}")
        for kind, variant in routes:
            if kind not in deployment.replicas and kind not in kinds:
                raise ValueError(f"routes of {service}: {kind} is neither deployed nor a candidate")
            if variant not in kind.variants or variant not in scenario.services[service].variants:
                raise ValueError(f"routes of {service}: '{variant}' is not a variant of both {kind} and the service")
