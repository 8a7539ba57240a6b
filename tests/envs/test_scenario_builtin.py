"""The built-in scenarios: their numbers are the published ones, and each can be loaded, checked and changed."""

import pickle

import numpy as np
import pytest
import yaml

from envs import scenario_file
from envs.contract import ReplicaKind, Shape

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")


@pytest.mark.parametrize("name", scenario_file.names())
def test_loads_without_a_problem_and_survives_pickling(name):
    assert scenario_file.check(name) == []
    scenario = scenario_file.load(name)
    assert scenario.name == name
    assert set(scenario.workload) == set(scenario.applications)
    assert pickle.loads(pickle.dumps(scenario)).initial_deployment == scenario.initial_deployment


@pytest.mark.parametrize("name", scenario_file.names())
def test_says_what_it_is_where_it_is_from_and_how_to_use_it(name):
    head = scenario_file.find(name).read_text().split("\n\n")[0].splitlines()
    assert all(line.startswith("# ") for line in head)
    assert any(line.startswith("# Source: ") for line in head)
    assert any(line.startswith(f"# Use: python evaluate.py --scenario {name} ") for line in head)


@pytest.mark.parametrize("name", scenario_file.names())
def test_initial_deployment_is_the_action_that_makes_it_and_fits(name):
    scenario = scenario_file.load(name)
    deployment = scenario.initial_deployment
    assert scenario.deployment(scenario.levels(deployment)) == deployment
    for device, row in scenario.devices.items():
        assert 0 < deployment.units(device) <= row.budget


def test_resnet_variants_is_infadapters_setting():
    scenario = scenario_file.load("resnet-variants")
    assert scenario.devices["cpu"].budget == 20
    assert scenario.interval_s == 30
    assert scenario.services["classify"].slo_s == 0.75
    assert scenario.admission.queue_limit_s == 1.25
    assert [scenario.variants[v].accuracy for v in RESNETS] == [0.69758, 0.73314, 0.7613, 0.77374, 0.78312]
    assert [scenario.variants[v].load_s for v in RESNETS] == [6.44, 6.79, 6.82, 7.77, 8.52]
    assert [c.cores for c in scenario.candidates] == [tuple(range(2, 21))] * 5
    weights = scenario.weights
    assert (weights.accuracy, weights.cost, weights.slo, weights.change) == (1, 0.05, 1, 0.001)


def capacities(variant):
    scenario = scenario_file.load("resnet-variants")
    return [scenario.capacity_rps(ReplicaKind((variant,), Shape(n)), variant) for n in range(1, 21)]


def test_resnet_capacities_are_the_raw_table():
    """InfAdapter's table at 750 ms; planners apply their own coefficient."""
    assert [sum(capacities(v)) for v in RESNETS] == [5058, 2742, 2062, 1067, 722]
    assert [capacities(v)[7] for v in RESNETS] == [190, 94, 78, 39, 27]
    assert [capacities(v)[19] for v in RESNETS] == [473, 259, 200, 98, 67]


def test_regression_over_the_capacities_is_the_published_one():
    fitted = [1, 2, 4, 8, 16]
    lines = [np.polyfit(fitted, [capacities(v)[n - 1] for n in fitted], 1) for v in RESNETS]
    slopes, intercepts = [24.4462, 13.0444, 10.3212, 5.0901, 3.8145], [-6.1667, -1.8750, -3.7917, 0.0417, -2.2500]
    assert np.allclose([line[0] for line in lines], slopes, atol=1e-4)
    assert np.allclose([line[1] for line in lines], intercepts, atol=1e-4)


def test_both_resnet_scenarios_differ_in_size_only():
    first, second = (yaml.safe_load(scenario_file.find(n).read_text()) for n in ("resnet-variants", "resnet-variants-48"))
    changed = {field for field in first if first[field] != second[field]}
    assert changed == {"name", "devices", "initial", "workload"}
    assert second["workload"]["classify"]["mean_rps"] == pytest.approx(48 / 20 * first["workload"]["classify"]["mean_rps"])


def test_initial_deployments_carry_the_mean_load():
    for name in ("resnet-variants", "resnet-variants-48"):
        scenario = scenario_file.load(name)
        carried = sum(0.8 * scenario.capacity_rps(kind, kind.variants[0]) for kind in scenario.initial_deployment.replicas)
        assert carried >= scenario.workload["classify"].mean_rps


def test_the_flood_offers_far_more_than_its_quota():
    scenario = scenario_file.load("tenants")
    quotas = {name: tenant.quota_rps for name, tenant in scenario.tenants.items()}
    assert quotas == {"gold": None, "silver": None, "flood": 100}
    assert scenario.workload["flood"].mean_rps >= 4 * quotas["flood"]


def test_a_changed_copy_moves_the_slo_of_a_lone_service():
    scenario = scenario_file.load("resnet-variants")
    service = scenario.services["classify"].model_copy(update={"slo_s": 0.5})
    assert scenario.with_(services={"classify": service}).applications["classify"].slo_s == 0.5


def test_without_a_measurement_a_replica_carries_its_throughput_at_most():
    scenario = scenario_file.load("tenants")
    kind = scenario.kinds[0]
    latency_s = scenario.profile.latency_s("light", kind.shape, kind.batch)
    assert scenario.capacity_rps(kind, "light") == pytest.approx(kind.batch / max(latency_s))
