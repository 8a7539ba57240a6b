"""Waking: while an application has requests, each of its services that may wake has a replica wanted.

A cluster, live or simulated, sees to it by itself, at the request that finds a service without a replica: it waits then, and
is answered after the cold start (`docs/scale_to_zero.md`). So does the envelope, as long as requests come.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from envs.contract import Deployment
from envs.room import affordable, hosts, placed
from envs.scenario import Scenario


def woken(deployment: Deployment, applications: Iterable[str], scenario: Scenario) -> Deployment:
    """A deployment in which no service of these applications sleeps that may wake; the same one where none does.

    Each is given one replica, of the smallest kind of the candidate that its `wake` names, unless there is no room or money
    for it.

    Args:
        deployment: what is wanted.
        applications: that have requests.
        scenario: says which services may wake, and how.
    """
    replicas = dict(deployment.replicas)
    for application in applications:
        for name in scenario.applications[application].services:
            candidate = scenario.services[name].wake
            if candidate is None or any(hosts(kind, name, scenario) for kind in replicas):
                continue
            kind = scenario.candidates[candidate].kinds[0]
            more = {**replicas, kind: 1}
            if placed(more, kind.shape.device, scenario) and affordable(more, scenario):
                replicas = more
    return deployment if replicas == deployment.replicas else replace(deployment, replicas=replicas)


def wakeful(scenario: Scenario) -> bool:
    """Whether any service may wake."""
    return any(service.wake is not None for service in scenario.services.values())
