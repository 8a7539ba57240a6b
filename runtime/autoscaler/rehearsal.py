"""A policy's first decision, before the first that counts: what compiles itself or reads files then has done so.

Without it the deadline of the first decision under load is missed, and the thread is busy for the next ones too.
"""

from __future__ import annotations

import logging
from dataclasses import fields, replace

from envs.contract import ApplicationObservation, KindObservation, Observation, Policy, ServiceObservation
from envs.observation import missing_observation
from envs.scenario import Scenario

LOADS_RPS = (1.0, 100.0)  # nothing like the real ones: the policy forgets them

log = logging.getLogger("tidal.autoscaler")


def rehearse(policy: Policy, scenario: Scenario) -> None:
    """Has it decide on made-up loads, and forget them. A policy that fails here is not given up: it may do better later."""
    policy.reset(scenario)
    for i, offered_rps in enumerate(LOADS_RPS):
        try:
            policy.decide(made_up(scenario, offered_rps, i * scenario.interval_s))
        except Exception as error:
            log.warning("rehearsal: %s: %s", type(error).__name__, error)
    policy.reset(scenario)


def made_up(scenario: Scenario, offered_rps: float, t_s: float) -> Observation:
    """An observation without gaps: the initial deployment, ready, under this load at each application."""
    deployment = scenario.initial_deployment
    kinds = tuple(dict.fromkeys([*scenario.kinds, *deployment.replicas]))
    quiet = dict.fromkeys((field.name for field in fields(ApplicationObservation)), 0.0)
    return replace(
        missing_observation(scenario, kinds, deployment, t_s),
        age_s=0.0,
        applications={
            name: ApplicationObservation(**quiet | {"offered_rps": offered_rps, "accuracy": 1.0})
            for name in scenario.applications
        },
        services={name: ServiceObservation(offered_rps, 0.0) for name in scenario.services},
        kinds={kind: KindObservation(float(deployment.replicas.get(kind, 0)), 0.0, 0.0, 0.0, 0.5) for kind in kinds},
    )
