"""Planners buy where capacity is cheap: a few cores at night, the GPU by day, and neither at twenty times its price."""

import itertools
from pathlib import Path

import pytest
from observed import observe

from agents import registry
from envs.envelope import project
from envs.scenario_file import load

MIXED = load(Path(__file__).parents[2] / "examples" / "mixed_devices" / "scenario.yaml")
PLANNERS = ["infadapter", "ipa", "loki", "proteus"]


def at(**prices):
    """The scenario at other prices."""
    return MIXED.with_(devices={name: device.model_copy(update={"price": prices.get(name, device.price)})
                                for name, device in MIXED.devices.items()})


def decided(name, scenario, rps):
    policy = registry.make(name, scenario)
    policy.reset(scenario)
    for i in range(4):
        deployment = policy.decide(observe(scenario, scenario.initial_deployment, rps, t_s=scenario.interval_s * i)).deployment
    assert project(deployment, scenario) == (deployment, ())
    return deployment


@pytest.mark.parametrize("name", PLANNERS)
@pytest.mark.parametrize("prices, dear", [({"t4": 20 * 0.526}, "t4"), ({"cpu": 20 * 0.0425}, "cpu")])
def test_what_is_dear_is_not_bought(name, prices, dear):
    cheap = {"t4": "cpu", "cpu": "t4"}[dear]
    deployment = decided(name, at(**prices), 25.0)  # eight cores carry it, and so does one GPU
    assert deployment.units(dear) == 0 < deployment.units(cheap)


def test_infadapter_earns_what_the_best_of_all_deployments_would():
    """Every deployment of the candidates is tried: of those that carry the load at its 0.8, the best by its objective."""
    for rps in (8.0, 25.0, 60.0):
        best = -float("inf")
        for levels in itertools.product(*(range(c.levels) for c in MIXED.candidates)):
            held = MIXED.deployment(levels)
            if project(held, MIXED)[1]:
                continue
            best = max(best, worth(held, rps))
        assert worth(decided("infadapter", MIXED, rps), rps) == pytest.approx(best, abs=2e-3)


def worth(deployment, rps):
    """Accuracy of the load on the most accurate replicas first, less the price; nothing where the load is not carried."""
    left, accuracy = rps * 1.1, 0.0
    hosts = sorted(deployment.replicas, key=lambda k: -MIXED.variants[k.variants[0]].accuracy)
    for kind in hosts:
        taken = min(left, 0.8 * deployment.replicas[kind] * MIXED.capacity_rps(kind, kind.variants[0]))
        accuracy, left = accuracy + taken * MIXED.variants[kind.variants[0]].accuracy, left - taken
    if left > 0:
        return -float("inf")
    return accuracy / (rps * 1.1) - MIXED.weights.cost * MIXED.price_of(deployment) / MIXED.whole_price
