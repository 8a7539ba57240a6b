"""Many clusters: to the bit what as many simulated clusters do, whatever their number."""

import gymnasium
import numpy as np
import pytest

import envs  # noqa: F401  (registers the environment)
from envs.cluster import SimulatedCluster
from envs.layout import Layout
from envs.reward import pricing, reward, terms
from envs.scenario_file import load
from envs.vector_env import ServingVectorEnv
from envs.view import view_of
from traces.samplers import GAMMA, RECORDED, make_load

SCENARIOS = ("resnet-variants", "tenants", "live-demo")


def small(name, **changes):
    """A scenario with short episodes and loads that need no folder of traces."""
    scenario = load(name)
    scenario = scenario.with_(episode_intervals=8, **changes)
    rng = np.random.default_rng(5)
    mean = {"resnet-variants": 60.0, "tenants": 60.0, "live-demo": 30.0}[name]
    rates = mean * rng.uniform(0.1, 3.0, 400)
    return scenario, {a: make_load(GAMMA, rates, scenario.interval_s / 2, cv=1.5) for a in scenario.applications}


def rollout(env, steps, seed, rows=slice(None)):
    """Observations, rewards and truncations of random actions that are the same for every number of clusters."""
    seen, _ = env.reset(seed=seed)
    nvec = env.single_action_space.nvec
    out = [seen[rows]]
    for t in range(steps):
        actions = np.stack([np.random.default_rng((t, e)).integers(nvec) for e in range(env.num_envs)])
        seen, rewards, _, truncated, infos = env.step(actions)
        out += [seen[rows], rewards[rows], truncated[rows], infos.get("cost", infos.get("final_info", {}).get("cost"))[rows]]
    return out


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("scrape", [{}, {"missing_ratio": 0.3, "stale_ratio": 0.3, "window_intervals": 2}, {"interval_s": 0}])
def test_steps_equal_those_of_simulated_clusters(name, scrape):
    scenario, loads = small(name)
    if scrape:
        if name != "resnet-variants":
            pytest.skip("the scrape has nothing to do with the rest of a scenario")
        scenario = scenario.with_(scrape=scrape, failures={"load_cv": 0.5, "load_failure_ratio": 0.2, "mean_time_s": 100})
    env = ServingVectorEnv(3, scenario=scenario, loads=loads)
    layout, prices = Layout(scenario), pricing(scenario, scenario.kinds)
    seen, infos = env.reset(seed=11)
    theirs = [
        SimulatedCluster(scenario, loads, seed=int(s), offset_s=float(o))
        for s, o in zip(infos["cluster_seed"], infos["offset_s"])
    ]
    history = [layout.no_history() for _ in theirs]
    looks = [cluster.first_observation for cluster in theirs]
    rng = np.random.default_rng(3)
    for _ in range(scenario.episode_intervals - 1):
        for e, look in enumerate(looks):
            view = view_of(look, scenario)
            history[e] = layout.remember(history[e], view)
            np.testing.assert_array_equal(seen[e], layout.encode(view, history[e]))
        seen, rewards, *_ = env.step(rng.integers(env.single_action_space.nvec, size=env.action_space.shape))
        clusters = env.process.clusters
        for e, cluster in enumerate(theirs):
            cluster.apply(clusters.deployment(e))
            looks[e] = cluster.advance()
            for name_, mine in clusters.totals()._asdict().items():
                np.testing.assert_array_equal(mine if name_ == "t_s" else mine[e], getattr(cluster.totals(), name_), name_)
            found = terms(prices, cluster.last_truth, cluster.change_load_s, scenario.interval_s)
            assert rewards[e] == reward(scenario.weights, found)
            if e == 0:
                assert repr(clusters.observations()[0]) == repr(looks[0])  # nan is not equal to itself


@pytest.mark.parametrize("name", ["resnet-variants", "tenants"])
def test_results_do_not_depend_on_the_number_of_clusters(name):
    scenario, loads = small(name)
    many = rollout(ServingVectorEnv(5, scenario=scenario, loads=loads), 19, 7, slice(0, 2))
    few = rollout(ServingVectorEnv(2, scenario=scenario, loads=loads), 19, 7)
    for a, b in zip(many, few, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_single_environment_is_cluster_0_and_seeds_may_be_a_list():
    scenario, loads = small("resnet-variants")
    many = ServingVectorEnv(2, scenario=scenario, loads=loads)
    seen, _ = many.reset(seed=[21, 4])
    one = gymnasium.make("tidal/Serving-v0", scenario=scenario, loads=loads)
    mine, _ = one.reset(seed=4)
    for t in range(2 * scenario.episode_intervals):
        np.testing.assert_array_equal(seen[1], mine)
        action = np.random.default_rng(t).integers(one.action_space.nvec)
        seen, rewards, _, truncated, infos = many.step(np.stack([action, action]))
        mine, earned, terminated, ended, _ = one.step(action)
        assert (earned, ended, terminated) == (rewards[1], truncated[1], False)
        assert ended == ((t + 1) % scenario.episode_intervals == 0)
        if ended:
            np.testing.assert_array_equal(infos["final_obs"][1], mine)
            assert infos["final_info"]["cost"].shape == (2,)
            mine, _ = one.reset()


def test_make_vec_takes_the_native_environment():
    scenario, loads = small("resnet-variants")
    env = gymnasium.make_vec("tidal/Serving-v0", num_envs=2, scenario=scenario, loads=loads)
    assert isinstance(env.unwrapped, ServingVectorEnv)
    assert env.metadata["autoreset_mode"] is gymnasium.vector.AutoresetMode.SAME_STEP
    seen, _ = env.reset(seed=1)
    assert env.observation_space.contains(seen)
    env.close()


def test_masks_leave_out_what_is_beyond_the_budget_and_projection_says_so():
    scenario, loads = small("tenants", devices={"gpu": {"budget": 3, "memory_bytes": 16e9}})
    env = ServingVectorEnv(2, scenario=scenario, loads=loads)
    env.reset(seed=0)
    expected = [True, True, True, True, False] * 2  # levels 0 to 4 of two candidates, of which three replicas fit
    np.testing.assert_array_equal(env.action_masks(), [expected, expected])
    _, _, _, _, infos = env.step(np.array([[1, 2], [3, 1]]))
    np.testing.assert_array_equal(infos["projected"], [False, True])
    assert [env.process.clusters.deployment(e).units("gpu") for e in range(2)] == [3, 3]


def test_delta_steps_from_what_is_in_force():
    scenario, loads = small("resnet-variants")
    env = ServingVectorEnv(1, scenario=scenario, loads=loads, action_mode="delta")
    env.reset(seed=0)
    env.step(np.array([[0, 1, 2, 1, 1]]))
    np.testing.assert_array_equal(env.process.clusters.levels, [[0, 0, 13, 0, 0]])
    np.testing.assert_array_equal(env.action_masks().reshape(5, 3)[:, 0], [False, False, True, False, False])


def test_recorded_loads_play_as_they_are():
    scenario = load("live-demo").with_(episode_intervals=2)
    loads = {"classify": make_load(RECORDED, recorded_s=np.arange(0.0, 40.0, 0.25))}
    env = ServingVectorEnv(1, scenario=scenario, loads=loads)
    env.reset(seed=0)
    *_, infos = env.step(np.array([[0, 0, 2]]))
    assert infos["offered_rps"][0] == 4.0
    with pytest.raises(ValueError, match="cannot be scaled"):
        ServingVectorEnv(1, scenario=scenario, loads=loads, load_scale=(0.5, 2))


def test_load_scales_are_drawn_within_their_range():
    scenario, loads = small("resnet-variants")
    env = ServingVectorEnv(32, scenario=scenario, loads=loads, load_scale=(0.5, 2.0))
    _, infos = env.reset(seed=0)
    assert 0.5 <= infos["load_scale"].min() < 0.8 < 1.4 < infos["load_scale"].max() <= 2.0


def test_memory_does_not_grow_with_time():
    scenario, loads = small("resnet-variants")
    env = ServingVectorEnv(2, scenario=scenario, loads=loads)
    rollout(env, 16, 0)
    sizes = {name: array.nbytes for name, array in env.process.clusters.arrays().items()}
    rollout(env, 80, 0)
    assert {name: array.nbytes for name, array in env.process.clusters.arrays().items()} == sizes
