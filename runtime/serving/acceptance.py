"""Whether a deployment can be run at all: what a cluster refuses, with the reason."""

from __future__ import annotations

from envs.contract import Deployment
from envs.envelope import project
from envs.profiles import ProfileError
from envs.scenario import Scenario
from envs.served_routes import check_routes


class DeploymentRefused(ValueError):
    """A deployment cannot be run; the text names what is wrong with it, and what there is."""


def check(deployment: Deployment, scenario: Scenario) -> None:
    """Passes a deployment that the cluster can run.

    Raises:
        DeploymentRefused: it is over budget, does not fit on the nodes, or names something that the scenario does not have.
    """
    _check_kinds(deployment, scenario)
    try:
        check_routes(deployment, scenario, scenario.kinds)
    except ValueError as error:
        raise DeploymentRefused(str(error)) from error
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
