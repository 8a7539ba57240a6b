"""Observations for tests of policies, and a small scenario of counted candidates on two device types."""

import math

import pandas as pd

from envs.contract import (
    Deployment,
    KindObservation,
    Observation,
    ReplicaKind,
    ServiceObservation,
    Shape,
)
from envs.profiles import LATENCY_COLUMNS, Profile
from envs.scenario import Candidate, Device, InitialReplica, Scenario, Service, Variant, Workload

NAN = math.nan
GPU = Shape(0, 1, 1, "gpu")


def observe(scenario, deployment, rps, t_s=30.0, busy=0.5, ready=None, pending=None):
    """What a policy sees.

    Args:
        scenario: the problem.
        deployment: in force; all its replicas are ready unless `ready` says otherwise.
        rps: offered to each service: a number for all, or a dict.
        t_s: time of the decision.
        busy: busy ratio of every kind with ready replicas.
        ready: kind -> ready replicas.
        pending: kind -> for each pending replica, seconds since its start.
    """
    ready, pending = dict(deployment.replicas) if ready is None else ready, pending or {}
    kinds = {k: KindObservation(ready.get(k, 0), len(pending.get(k, ())), 0, 0, busy if ready.get(k) else NAN,
                                tuple(pending.get(k, ())))
             for k in dict.fromkeys((*scenario.kinds, *deployment.replicas, *ready, *pending))}
    services = {name: ServiceObservation(rps[name] if isinstance(rps, dict) else rps, 0) for name in scenario.services}
    load_s = {name: variant.load_s for name, variant in scenario.variants.items()}
    return Observation(t_s, scenario.interval_s, 1.0, deployment, {}, services, kinds, {}, load_s)


def missing(scenario, t_s=0.0):
    """The observation of the first decision: every number is missing."""
    kinds = {k: KindObservation(NAN, NAN, NAN, NAN, NAN) for k in scenario.kinds}
    services = {name: ServiceObservation(NAN, NAN) for name in scenario.services}
    load_s = {name: variant.load_s for name, variant in scenario.variants.items()}
    return Observation(t_s, scenario.interval_s, NAN, scenario.initial_deployment, {}, services, kinds, {}, load_s)


def pod(variant, cores):
    return ReplicaKind((variant,), Shape(cores=cores))


def card(variant):
    return ReplicaKind((variant,), GPU)


def counted(mean_rps=None, services=("see",), load_s=20.0, second=1.0, currency=1.0):
    """`see`: light (40 req/s a core) or heavy (8 req/s a card), counts of up to 10 and 4; `hear`: hum (16 req/s a core).

    All times are multiplied by `second`, all rates divided by it, and prices multiplied by `currency`.
    """
    load_s, mean_rps = load_s * second, mean_rps and mean_rps / second
    rows = [("light", "cpu", None, 1, 1, 1, 0, second / 40), ("heavy", "gpu", 0, 1, 1, 1, 0, second / 8),
            ("hum", "cpu", None, 1, 1, 1, 0, second / 16)]
    hosted = {"see": ("heavy", "light"), "hear": ("hum",)}
    candidates = [Candidate(variants=("light",), cores=(1,), max_count=10),
                  Candidate(variants=("heavy",), device="gpu", max_count=4),
                  Candidate(variants=("hum",), cores=(1,), max_count=5)]
    return Scenario(
        name="counted", source="made up for this test", interval_s=30 * second, binding="late",
        devices={"cpu": Device(budget=12, price=currency), "gpu": Device(budget=4, price=3.0 * currency)},
        variants={"light": Variant(accuracy=0.6, load_s=load_s), "heavy": Variant(accuracy=0.9, load_s=2 * load_s),
                  "hum": Variant(accuracy=0.8, load_s=load_s)},
        services={name: Service(variants=hosted[name], slo_s=second) for name in services},
        candidates=tuple(candidates[: 2 + ("hear" in services)]), initial=(InitialReplica(candidate=0, level=3),),
        workload={name: Workload(trace="twitter-like", mean_rps=mean_rps) for name in services},
        profile=Profile(pd.DataFrame(rows, columns=LATENCY_COLUMNS)))


def only(kind, n=1):
    return Deployment({kind: n})


def forecasts(forecaster, loads):
    """What it says after each of the loads."""
    found = []
    for rps in loads:
        forecaster.observe(rps)
        found.append(forecaster.forecast())
    return found
