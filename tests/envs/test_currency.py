"""Prices in a currency: what holding devices costs, which files are refused, and that nothing else hangs on it."""

from pathlib import Path

import pytest

from envs.digest import digest
from envs.scenario import Device
from envs.scenario_file import ScenarioError, load
from envs.scenario_written import write

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
