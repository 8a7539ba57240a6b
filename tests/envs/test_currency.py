"""Prices in a currency: what holding devices costs, which files are refused, and that nothing else hangs on it."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import registry
from envs.clusters import Clusters
from envs.contract import Deployment
from envs.digest import digest
from envs.envelope import guard, project, worth
from envs.observation import missing_observation
from envs.scenario import Device
from envs.scenario_file import ScenarioError, load
from envs.scenario_written import write
from runtime.serving.acceptance import DeploymentRefused, check

MIXED = Path(__file__).parents[2] / "examples" / "mixed_devices" / "scenario.yaml"
OWN = MIXED.parents[1] / "own_scenario.yaml"


def edited(tmp_path, old, new, of=MIXED):
    text = of.read_text()
    assert old in text
    (tmp_path / "latency.csv").write_text((of.parent / "latency.csv").read_text())
    path = tmp_path / "scenario.yaml"
    path.write_text(text.replace(old, new))
    return path


def test_what_is_held_costs_its_price_on_every_device_type():
    scenario = load(MIXED)
    assert scenario.whole_price == pytest.approx(24 * 0.0425 + 2 * 0.526)
    assert scenario.price_of(scenario.deployment([0, 2, 0, 0, 1])) == pytest.approx(8 * 0.0425 + 0.526)
    assert scenario.price_of(scenario.deployment([0] * 5)) == 0


@pytest.mark.parametrize("old, new, line, told", [
    ("budget: 24, price: 0.0425", "budget: 24", "  cpu:", "devices.cpu: no price; give USD for a unit and hour"),
    ("currency: USD", "currency: $", "currency:", "currency: string should match"),
    ("price: 0.526", "price: 0", "  t4:", "devices.t4.price: should be greater than 0, not 0"),
])  # fmt: skip
def test_a_wrong_price_is_told_with_its_line(tmp_path, old, new, line, told):
    path = edited(tmp_path, old, new)
    number = next(i for i, text in enumerate(path.read_text().splitlines(), 1) if text.startswith(line))
    with pytest.raises(ScenarioError) as error:
        load(path)
    assert f"{path}:{number}: {told}".lower() in str(error.value).lower()


def test_a_price_of_one_is_written_and_read_back(tmp_path):
    scenario = load(MIXED)
    scenario = scenario.with_(devices={**scenario.devices, "t4": Device(budget=2, price=1.0)})
    again = load(write(scenario, tmp_path, ""))
    assert digest(again) == digest(scenario) and again.currency == "USD"


def test_a_scenario_without_a_currency_has_the_digest_that_it_had():
    """As computed at the commit before currencies came: settings and agents that were found for a scenario stay its own."""
    assert digest(load(OWN)) == "883a961c11f9c8dd3f6c2d7e2eac77ed1d4c870b89be260c8e154d3aa455ad8f"


# ---- a ceiling over all device types

CEILING = load(MIXED).with_(price_limit=1.0)  # USD an hour: a GPU, or 23 cores, and not both


def test_a_deployment_over_the_ceiling_is_lowered_by_what_carries_least_for_its_price():
    wanted = CEILING.deployment([4, 0, 0, 1, 0])
    worst = min(wanted.replicas, key=lambda kind: worth(kind, CEILING) / CEILING.price_of(Deployment({kind: 1})))
    kept, notes = project(wanted, CEILING)
    fewer = {n: Deployment({**wanted.replicas, worst: n}) for n in range(1, wanted.replicas[worst] + 1)}
    most = max((n for n, deployment in fewer.items() if CEILING.price_of(deployment) <= 1.0), default=0)
    rest = {kind: n for kind, n in wanted.replicas.items() if kind != worst}
    assert kept.replicas == {**rest, **({worst: most} if most else {})} and notes
    assert project(kept, CEILING) == (kept, ())


@given(st.lists(st.integers(0, 6), min_size=5, max_size=5), st.floats(0.2, 3.0))
@settings(max_examples=100, derandomize=True, deadline=None)
def test_whatever_is_wanted_budgets_and_ceiling_hold_and_what_fits_is_not_touched(levels, limit):
    scenario = CEILING.with_(price_limit=limit, initial=())
    wanted = scenario.deployment([min(level, c.max_count) for level, c in zip(levels, scenario.candidates)])
    kept, notes = project(wanted, scenario)
    assert scenario.price_of(kept) <= limit * (1 + 1e-9)
    assert all(kept.units(name) <= device.budget for name, device in scenario.devices.items())
    assert bool(notes) == (kept != wanted)
    if wanted.units("cpu") <= 24 and wanted.units("t4") <= 2 and scenario.price_of(wanted) <= limit:
        assert kept == wanted
    if wanted.replicas and limit >= 2 * 0.526:  # whatever is wanted, one replica of it can be paid
        assert kept.replicas


def test_the_cluster_refuses_what_is_over_the_ceiling_and_the_envelope_lowers_each_policys_decision():
    with pytest.raises(DeploymentRefused):
        check(CEILING.deployment([6, 0, 0, 1, 0]), CEILING)
    busy = CEILING.with_(initial=())
    seen = missing_observation(busy, busy.kinds, busy.initial_deployment, 0.0)
    services = {"classify": replace(seen.services["classify"], offered_rps=500.0, queue=0.0)}
    seen = replace(seen, age_s=0.0, services=services)
    for name in ("infadapter", "loki", "proteus", "hpa", "target-tracking", "static"):
        policy = registry.make(name, busy)
        policy.reset(busy)
        decision, _, _ = guard(policy.decide(seen), seen, busy)
        assert busy.price_of(decision.deployment) <= 1.0, name


def test_what_cannot_keep_a_ceiling_says_so():
    with pytest.raises(ValueError, match="leave `price_limit` out"):
        Clusters(CEILING, {}, 2)
    with pytest.raises(ValueError, match="more than the price_limit of"):
        CEILING.with_(price_limit=0.2)
