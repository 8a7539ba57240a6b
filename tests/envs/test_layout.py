"""The layout of an agent's observation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as hs

from envs.layout import HISTORY, Layout, observation_names
from envs.observation import missing_observation
from envs.scenario_file import load, names
from envs.view import view_of


def entries(scenario, view, offered=None):
    """The encoded observation by name."""
    layout = Layout(scenario)
    history = layout.remember(layout.no_history(), view)
    return dict(zip(layout.names, layout.encode(view, history)))


def shown(scenario, **changes):
    """A view in which nothing happened, with some numbers changed."""
    view = view_of(missing_observation(scenario, scenario.kinds, scenario.initial_deployment, 0.0), scenario)
    zeros = {name: np.zeros_like(getattr(view, name)) for name in view._fields if name not in ("levels", "load_s")}
    return view._replace(**{**zeros, **{name: np.asarray(value, float) for name, value in changes.items()}})


@pytest.mark.parametrize("name", names())
def test_every_entry_has_a_name_of_its_own_and_a_missing_observation_has_no_values(name):
    scenario = load(name)
    view = view_of(missing_observation(scenario, scenario.kinds, scenario.initial_deployment, 0.0), scenario)
    found = entries(scenario, view)
    assert len(found) == len(observation_names(scenario)) == Layout(scenario).size
    told = ("level", "cold_start", "price", "weight")
    assert all(value == 0 for entry, value in found.items() if not entry.startswith(told))


def test_numbers_are_scaled_by_the_scenario():
    scenario = load("resnet-variants")
    full = 20 / 20 * scenario.capacity_rps(scenario.candidates[0].kinds[-1], "resnet18")
    best = max(20 // k.shape.units * scenario.capacity_rps(k, k.variants[0]) for k in scenario.kinds)
    assert best >= full
    ready = np.zeros(len(scenario.kinds))
    ready[2 * 19 + 11] = 1  # ResNet50 on 13 cores
    busy = np.where(ready > 0, 0.25, np.nan)
    found = entries(
        scenario, shown(scenario, offered_rps=[best / 2], quantiles_s=[[0.375, 0.75, np.nan]], ready=ready, busy_ratio=busy)
    )
    assert found["load[classify, 0]"] == pytest.approx(np.log(6) / np.log(41), rel=1e-6)
    assert found["load_known[classify, 0]"] == 1 and found["load_known[classify, 1]"] == 0
    assert found["p50[classify]"] == pytest.approx(1 / 3) and found["p95[classify]"] == pytest.approx(1 / 2)
    assert found["ready[2: resnet50]"] == pytest.approx(13 / 40) and found["busy[2: resnet50]"] == 0.25
    assert found["level[2: resnet50]"] == pytest.approx(12 / 19)
    assert found["cold_start[resnet152]"] == pytest.approx(8.52 / (8.52 + 30))
    assert found["seen"] == 1 and found["age"] == 0


def test_history_moves_one_interval_at_a_time():
    scenario = load("resnet-variants")
    layout, history = Layout(scenario), Layout(scenario).no_history()
    for rps in range(HISTORY + 3):
        history = layout.remember(history, shown(scenario, offered_rps=[rps]))
    assert history[:, 0].tolist() == list(range(3, HISTORY + 3))


@given(hs.integers(0, 2**32 - 1))
def test_whatever_is_seen_stays_within_the_bounds(seed):
    scenario = load("tenants")
    rng = np.random.default_rng(seed)
    view = shown(scenario)
    wild = {
        name: np.where(rng.random(x.shape) < 0.2, np.nan, 10 ** rng.uniform(-3, 9, x.shape))
        for name, x in view._asdict().items()
        if name not in ("levels", "load_s", "pending_age_s")
    }
    layout = Layout(scenario)
    view = view._replace(**wild)
    seen = layout.encode(view, layout.remember(layout.no_history(), view))
    assert seen.dtype == np.float32 and np.isfinite(seen).all() and seen.min() >= 0 and seen.max() <= 1
