"""Whether a deployment can be run at all: what a cluster refuses, with the reason."""

from __future__ import annotations

from envs.contract import Deployment
from envs.envelope import project
from envs.profiles import ProfileError
from envs.scenario import Scenario


class DeploymentRefused(ValueError):
    """A deployment cannot be run; the text names what is wrong with it, and what there is."""


def check(deployment: Deployment, scenario: Scenario) -> None:
    """Passes a deployment that the cluster can run.

    Raises:
        DeploymentRefused: it is over budget, does not fit on the nodes, or names something that the scenario does not have.
    """
    _check_kinds(deployment, scenario)
    _check_routes(deployment, scenario)
    for application, stage in deployment.thresholds:
        chain = scenario.applications.get(application)
        if chain is None or stage >= len(chain.services):
            raise DeploymentRefused(f"threshold of stage {stage} of '{application}': there is no such stage; "
                                    f"applications: {', '.join(scenario.applications)}")
    for name, device in scenario.devices.items():
        if (units := deployment.units(name)) > device.budget:
            raise DeploymentRefused(f"over budget: the deployment holds {units} of {name}, of which there are {device.budget}")
    if changed := project(deployment, scenario)[1]:
        raise DeploymentRefused(f"the nodes have no room for it; what would fit: {'; '.join(changed)}")


def _check_kinds(deployment: Deployment, scenario: Scenario) -> None:
    for kind in deployment.replicas:
        for variant in kind.variants:
            if variant not in scenario.variants:
                raise DeploymentRefused(f"unknown kind {kind}: no variant '{variant}'; known: {', '.join(scenario.variants)}")
            if kind.shape.device not in scenario.devices:
                raise DeploymentRefused(f"unknown kind {kind}: no device '{kind.shape.device}'; "
                                        f"known: {', '.join(scenario.devices)}")
            try:
                scenario.profile.latency_s(variant, kind.shape, kind.batch)
            except ProfileError as error:
                raise DeploymentRefused(f"unknown kind {kind}: {error}") from error


def _check_routes(deployment: Deployment, scenario: Scenario) -> None:
    for service, shares in deployment.routes.items():
        if service not in scenario.services:
            raise DeploymentRefused(f"routes of unknown service '{service}'; known: {', '.join(scenario.services)}")
        for kind, variant in shares:
            if kind not in deployment.replicas and kind not in scenario.kinds:
                raise DeploymentRefused(f"routes of {service}: {kind} is neither deployed nor a candidate")
            if variant not in kind.variants or variant not in scenario.services[service].variants:
                raise DeploymentRefused(f"routes of {service}: '{variant}' is not a variant of both {kind} and the service")
