"""A run of the order/keep network: it learns what pays, goes on after a stop to the bit, and is confirmed in the kernel."""

from dataclasses import replace

import numpy as np
import pytest

from agents import order_keep_stage
from agents.order_keep_confirmation import Confirmation, Hours, liked
from agents.order_keep_constants import Constants
from agents.order_keep_export import Exported, export, read
from agents.order_keep_features import QUESTION, names
from agents.order_keep_menu import Menu
from agents.order_keep_network import layers_of
from agents.order_keep_response import Response
from agents.order_keep_rules import NEVER_CALM
from agents.order_keep_stage import Stage
from agents.order_keep_training import OrderKeepRun, OrderKeepSettings
from agents.run_state import evaluations
from baselines.two_time_scales import TwoTimeScales
from envs.loads import Loads
from envs.scenario_file import load
from traces.samplers import POISSON, make_load

CONFIG = {"settings": {"batch": 8, "pool": 8, "hidden": 8, "learning_rate": 0.03}, "steps": 6400, "evaluate_every": 1600,
          "seed": 0, "export": None}


@pytest.fixture(scope="module")
def scenario():
    return load("resnet-variants")


@pytest.fixture
def stage(scenario, monkeypatch):
    """Deployments for three loads, in each family: below its own load each is good, above it none is."""
    rng = np.random.default_rng(0)
    levels = np.array([[0, 0, 12, 0, 0], [0, 0, 0, 0, 9], [19, 0, 0, 0, 0]] * 3)
    units, capacity = np.tile([13.0, 10.0, 20.0], 3), np.tile([150.0, 50.0, 400.0], 3)
    family = np.repeat([0, 1, 2], 3)
    menu = Menu(levels, np.log(capacity), family, units, units[:, None] + units * (1 - np.eye(9)), capacity)
    ratios = np.array([0.1, 0.9, 1.1, 3.0])
    good = np.array([1.0, 1.0, 0.2, 0.2])[:, None, None] * np.ones((4, 2, 9))
    response = Response(ratios, np.array([0.5, 2.0]), capacity, 0.75 * good, 1 - good)
    monkeypatch.setattr(order_keep_stage, "menu_of", lambda scenario, mixes: menu)
    monkeypatch.setattr(order_keep_stage, "best_mixes", lambda scenario, sources: [(9, 0, 9, 0, 0)])
    monkeypatch.setattr(order_keep_stage, "SELECTED_WINDOWS", 3)
    monkeypatch.setattr(order_keep_stage, "measure", lambda scenario, levels, capacity_rps: response)
    rates = np.repeat(np.where(rng.random(300) < 0.5, 40.0, 120.0), 4)
    made = Loads({"classify": make_load(POISSON, rates, 30.0)}, 30.0 * len(rates), "made", "made")
    stage = Stage(scenario, {"made": made}, 0.3, {})
    stage.constants = {load_s: Constants(0.6, 1, 0.9, 2, 0) for load_s in stage.cold_starts_s}
    return stage


@pytest.fixture(autouse=True)
def unconfirmed(monkeypatch):
    monkeypatch.setattr(Stage, "confirmation", type("Silent", (), {"confirm": lambda self, folder: {}})())


def test_it_learns_what_pays(stage, tmp_path):
    run = OrderKeepRun(stage, {**CONFIG, "steps": 24_000, "evaluate_every": 12_000}, tmp_path)
    assert run.learn() and run.steps == 24_000
    rewards = [float(row["reward"]) for row in evaluations(tmp_path)]
    assert len(rewards) == 3 and max(rewards) == run.best["reward"] > rewards[0] + 0.02
    assert read(tmp_path / "best")[0].training["best_steps"] == run.best["steps"]


def test_a_run_that_was_stopped_goes_on_to_the_bit(stage, tmp_path, monkeypatch):
    whole = OrderKeepRun(stage, CONFIG, tmp_path / "whole")
    assert whole.learn()
    stopped = OrderKeepRun(stage, CONFIG, tmp_path / "stopped")
    update = OrderKeepRun._update

    def until(run):
        if run.done == 5:
            raise KeyboardInterrupt
        update(run)

    monkeypatch.setattr(OrderKeepRun, "_update", until)
    assert not stopped.learn()
    monkeypatch.setattr(OrderKeepRun, "_update", update)
    going_on = OrderKeepRun(stage, CONFIG, tmp_path / "stopped")
    going_on.resume()
    assert going_on.done == 4 and going_on.learn()
    for mine, theirs in zip(layers_of(going_on.network), layers_of(whole.network)):
        np.testing.assert_array_equal(mine[0], theirs[0])
    assert going_on.best["reward"] == whole.best["reward"]
    steps = [[row["steps"] for row in evaluations(tmp_path / folder)] for folder in ("stopped", "whole")]
    assert steps[0] == steps[1]
    with pytest.raises(ValueError, match="not a checkpoint"):
        OrderKeepRun(stage, CONFIG, tmp_path / "nothing").resume()


def test_settings_are_those_of_the_batches_too():
    assert OrderKeepSettings(batch=3, hidden=5).batch == 3


def test_the_kernel_says_who_decides(stage, scenario, tmp_path, monkeypatch):
    """Each is said to have earned most somewhere; the constants play once for all seeds."""
    OrderKeepRun(stage, CONFIG, tmp_path).learn()
    manifest, network = read(tmp_path / "best")
    export(network._replace(calm=dict.fromkeys(network.calm, -9.0)), tmp_path / "best", scenario, manifest.training)
    monkeypatch.setattr("agents.order_keep_confirmation.HOURS", 1)
    monkeypatch.setattr("agents.order_keep_confirmation.INTERVALS", 4)
    hours = Hours(scenario, stage.loads, {"made": (0.0, 3600.0)})
    assert np.isfinite(hours.earned(TwoTimeScales(fast_margin=1.6), 30.0))
    said = {"AlwaysNetwork": {30.0: 3, 60.0: 2, 120.0: 1}, "AlwaysConstants": {30.0: 2, 60.0: 3, 120.0: 2},
            "TwoTimeScales": {30.0: 1, 60.0: 1, 120.0: 3}}
    asked = []
    monkeypatch.setattr(hours, "earned", lambda policy, s: asked.append(type(policy).__name__) or said[asked[-1]][s])
    found = Confirmation(hours, {"fast_margin": 1.6}, (30.0, 60.0, 120.0))
    assert found.confirm(tmp_path / "best")[60.0] == {"network": 2, "constants": 3, "planner": 1}
    manifest, network = read(tmp_path / "best")
    assert network.planned_s == (120.0,) and network.planner == {"fast_margin": 1.6}
    assert network.calm[30.0] == -9.0 and network.calm[60.0] == network.calm[120.0] == NEVER_CALM
    assert manifest.training["in_the_kernel"]["30 s"]["network"] == 3
    found.confirm(tmp_path / "best")
    assert asked.count("AlwaysConstants") == 3 and asked.count("TwoTimeScales") == 3


def test_a_mix_is_liked_where_it_earns_most_in_the_kernel(stage, scenario, monkeypatch):
    menu = replace(stage.menu, family=np.array([0, 0, 0, 1, 1, 2, 2, 2, 3]))
    hours = Hours(scenario, stage.loads, {"made": (0.0, 9e3)})
    said = {0: {30.0: 2, 120.0: 1}, 3: {30.0: 1, 120.0: 2}}
    monkeypatch.setattr(hours, "earned", lambda policy, s: said[policy.planner.network.constants[s].family][s])
    unseen = np.zeros(len(names()) - QUESTION)
    nothing = Exported(stage.nothing, menu, stage.response, unseen, unseen,
                       dict.fromkeys((30.0, 120.0), Constants(0.6, 1, 0.9, 2, 0)), (0.0, 0.0), {}, {})
    assert [row.family for row in liked(hours, nothing).values()] == [0, 3]
