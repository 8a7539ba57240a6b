"""The Gymnasium environment of one cluster."""

import copy
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as hs
from stable_baselines3.common.env_checker import check_env as check_env_sb3

from baselines.static import Static
from envs.contract import Decision, Policy
from envs.envelope import project
from envs.projection import project_levels, steps_of
from envs.reward import Terms, reward
from envs.routes import ROUTE_MARGIN, deployment_of, hosting_of, share_out, shares_of
from envs.scenario_file import load, names
from envs.serving_env import ServingEnv
from traces.samplers import POISSON, make_load

LOADS = {"classify": make_load(POISSON, np.full(200, 60.0), 60.0)}
SHORT = load("resnet-variants").with_(episode_intervals=5)


def make(**arguments):
    return ServingEnv(**{"scenario": SHORT, "loads": LOADS, **arguments})


@pytest.mark.parametrize("mode", ["absolute", "delta", "residual"])
def test_gymnasium_and_stable_baselines_accept_it(mode):
    base = {"base_policy": Static()} if mode == "residual" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*not within a Box.*|.*spec.*")
        check_env(make(action_mode=mode, **base), skip_render_check=True)
        check_env_sb3(make(action_mode=mode, **base))


def test_it_is_made_by_name_and_rendered():
    env = gymnasium.make("envs:tidal/Serving-v0", scenario=SHORT, loads=LOADS, render_mode="rgb_array")
    env.reset(seed=3)
    env.step(env.action_space.sample())
    frame = env.render()
    assert frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3 and frame.std() > 0
    env.close()
    env = gymnasium.make("envs:tidal/Serving-v0", scenario=SHORT, loads=LOADS, render_mode="ansi")
    env.reset(seed=3)
    env.step(np.array([0, 0, 12, 0, 0]))
    assert "ready 1 x resnet50 @13c" in env.render() and "p99" in env.render()


def test_it_is_never_terminated_and_rewards_are_the_weighted_terms():
    env = make()
    env.reset(seed=1)
    for t in range(5):
        _, earned, terminated, truncated, info = env.step(env.action_space.sample())
        told = Terms(*(info[name] for name in ("accuracy", "cost", "violation_ratio", "change")))
        assert earned == reward(SHORT.weights, told)
        assert not terminated and truncated == (t == 4)
        assert all(isinstance(value, (int, float, bool)) for value in info.values())


def test_episodes_of_a_seed_come_in_order():
    env = make()
    first = [env.reset(seed=5)[1], env.reset()[1], env.reset()[1]]
    assert len({info["cluster_seed"] for info in first}) == 3
    assert [env.reset(seed=5)[1], env.reset()[1], env.reset()[1]] == first


class Fixed(Policy):
    """Decides on levels, with routes of its own."""

    def __init__(self, levels, shares):
        self.levels, self.shares = levels, shares

    def reset(self, scenario):
        self.scenario, self.decided = scenario, 0

    def decide(self, observation):
        self.decided += 1
        return Decision(deployment_of(self.scenario, np.array(self.levels), np.array(self.shares)), "fixed")


def test_residual_corrects_what_the_base_decides_and_keeps_its_routes_where_it_does_not():
    base = Fixed([7, 0, 11, 0, 0], [[0.25, 0, 0.75, 0, 0]])
    before = copy.deepcopy(vars(base))
    env = make(action_mode="residual", base_policy=base)
    env.reset(seed=2)
    env.step(np.ones(5, int))
    clusters = env.process.clusters
    np.testing.assert_array_equal(clusters.levels, [[7, 0, 11, 0, 0]])
    np.testing.assert_array_equal(clusters.shares, [[[0.25, 0, 0.75, 0, 0]]])
    env.step(np.array([0, 1, 2, 1, 1]))
    np.testing.assert_array_equal(clusters.levels, [[6, 0, 12, 0, 0]])
    assert clusters.shares[0, 0, 2] != 0.75
    assert vars(base) == before  # it was copied


@pytest.mark.parametrize("name", [*names()])
def test_levels_are_projected_as_the_envelope_does(name):
    scenario = load(name)
    steps, rng = steps_of(scenario), np.random.default_rng(0)
    most = [c.levels for c in scenario.candidates]
    rows = rng.integers(most, size=(150, len(most))) * (rng.random((150, len(most))) < rng.random((150, 1)))
    given = rows.copy()
    changed = project_levels(steps, given)
    for row, mine, lowered in zip(rows, given, changed):
        theirs, notes = project(scenario.deployment(row), scenario)
        assert tuple(mine) == scenario.levels(theirs)
        assert lowered == bool(notes)


def test_projection_places_replicas_on_nodes_and_keeps_the_last_of_a_service():
    scenario = load("tenants").with_(devices={"gpu": {"budget": 3, "nodes": [2, 1], "memory_bytes": 16e9}})
    scenario48 = load("resnet-variants-48").with_(devices={"cpu": {"budget": 48, "nodes": [24, 24], "memory_bytes": 4e9}})
    for case in (scenario, scenario48):
        most = [c.levels for c in case.candidates]
        rows = np.random.default_rng(1).integers(most, size=(150, len(most)))
        given = rows.copy()
        project_levels(steps_of(case), given)
        assert [tuple(row) for row in given] == [case.levels(project(case.deployment(row), case)[0]) for row in rows]


@given(hs.floats(0.1, 1000), hs.lists(hs.integers(0, 19), min_size=5, max_size=5))
def test_routes_fill_the_most_accurate_first(load_rps, levels):
    scenario = SHORT
    shares = share_out(hosting_of(scenario), np.array([levels]), np.array([[load_rps]]))[0, 0]
    capacity = np.array(
        [scenario.capacity_rps(c.kinds[n - 1], c.variants[0]) if n else 0 for c, n in zip(scenario.candidates, levels)]
    )
    if not capacity.sum():
        assert not shares.any()
        return
    assert shares.sum() == pytest.approx(1)
    needed = ROUTE_MARGIN * load_rps
    if needed >= capacity.sum():
        np.testing.assert_allclose(shares, capacity / capacity.sum())
        return
    order = np.argsort([-scenario.variants[c.variants[0]].accuracy for c in scenario.candidates])
    carried = shares[order] * needed
    before = np.cumsum(capacity[order]) - capacity[order]
    np.testing.assert_allclose(carried, np.clip(needed - before, 0, capacity[order]), atol=1e-9 * needed)


def test_missing_loads_are_shared_by_capacity_and_services_that_share_a_candidate_by_load():
    hosting = hosting_of(SHORT)
    shares = share_out(hosting, np.array([[3, 0, 8, 0, 0]]), np.array([[np.nan]]))[0, 0]
    capacity = [
        SHORT.capacity_rps(SHORT.candidates[0].kinds[2], "resnet18"),
        SHORT.capacity_rps(SHORT.candidates[2].kinds[7], "resnet50"),
    ]
    assert shares[[0, 2]] == pytest.approx(np.array(capacity) / sum(capacity))
    tenants = load("tenants")
    shares = share_out(hosting_of(tenants), np.array([[2, 1]]), np.array([[60.0, 20.0, 0.0]]))[0]
    np.testing.assert_allclose(shares.sum(1), 1)
    np.testing.assert_allclose(shares[0], shares[1])  # each has its part of both kinds


def test_routes_that_the_candidates_cannot_say_are_left_out():
    deployment = deployment_of(SHORT, np.array([3, 0, 8, 0, 0]), np.array([[0.5, 0, 0.5, 0, 0]]))
    np.testing.assert_array_equal(shares_of(SHORT, deployment), [[0.5, 0, 0.5, 0, 0]])
    both = {**deployment.replicas, SHORT.candidates[2].kinds[0]: 1}
    routes = {(kind, kind.variants[0]): 1 / 3 for kind in both}
    assert not shares_of(SHORT, type(deployment)(both, {"classify": routes})).any()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"action_mode": "sideways"}, "absolute, delta, residual"),
        ({"action_mode": "residual"}, "base_policy"),
        ({"load_scale": (2.0, 1.0)}, "load_scale"),
        ({"render_mode": "loud"}, "rgb_array"),
        ({"loads": {"classify": make_load(POISSON, np.ones(2), 10.0)}}, "fit into a load"),
        ({"loads": {"other": LOADS["classify"]}}, "unknown application"),
    ],
)
def test_wrong_arguments_are_told(wrong, told):
    with pytest.raises(ValueError, match=told):
        make(**wrong)
