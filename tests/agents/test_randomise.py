"""Families of scenarios and bursts: what an agent trained on many cold starts meets."""

import numpy as np
import pytest

from agents.family import Family
from agents.randomise import members_of, with_bursts
from agents.vec_env import ServingVecEnv
from envs.vector_env import ServingVectorEnv
from traces.load import POISSON, RECORDED, make_load


def test_members_differ_in_cold_start_and_lag_and_in_nothing_else(scenario):
    members = members_of(scenario, "10,60,300", "0, 5")
    assert [max(map(m.load_s, m.kinds)) for m in members] == [10.0, 60.0, 300.0]
    assert [m.scrape.delay_s for m in members] == [0.0, 5.0, 0.0]
    assert members_of(scenario, "", "") == [scenario]
    assert {m.name for m in members} == {scenario.name} and members[1].candidates == scenario.candidates
    with pytest.raises(ValueError, match="cold_starts_s 'soon'"):
        members_of(scenario, "soon", "")


def test_any_field_varies_by_its_path(scenario):
    vary = "service_cv=0/0.2,failures.load_cv=0/0.5/1,failures.load_failure_ratio=0/0.1,services.*.slo_s=0.5/1,weights.slo=1/3"
    cold_starts_s = ",".join(str(10 * i) for i in range(1, 13))
    members = members_of(scenario, cold_starts_s, "", vary)
    assert [max(map(m.load_s, m.kinds)) for m in members] == [10.0 * i for i in range(1, 13)]
    assert sorted(m.service_cv for m in members) == 6 * [0.0] + 6 * [0.2]
    assert {m.failures.load_cv for m in members} == {0.0, 0.5, 1.0}
    for member in members:
        slo_s = {service.slo_s for service in member.services.values()} | {a.slo_s for a in member.applications.values()}
        assert slo_s in ({0.5}, {1.0})
    told = [(m.service_cv > 0, m.failures.load_failure_ratio > 0, m.weights.slo > 1) for m in members]
    assert len({(a, b) for a, b, _ in told}) == len({(b, c) for _, b, c in told}) == 4  # no field goes with another
    assert members == members_of(scenario, cold_starts_s, "", vary)


@pytest.mark.parametrize(("vary", "told"), [
    ("service_cv", "give a field and its values"), ("service_cv=much", "give a field and its values"),
    ("speed=1/2", "has no field 'speed'"), ("failures.speed=1", "has no field 'failures.speed'"),
    ("services.nobody.slo_s=1", "has no field 'services.nobody.slo_s'"), ("services.*.slo_s=-1", "slo_s"),
])  # fmt: skip
def test_fields_that_cannot_vary_are_refused(scenario, vary, told):
    with pytest.raises(ValueError, match=told.replace("*", r"\*")):
        members_of(scenario, "", "", vary)


def test_a_cluster_of_a_family_is_that_of_its_scenario_alone(scenario, loads):
    members = members_of(scenario, "2,9", "")
    family = Family(members, 4, loads=loads)
    alone = [ServingVectorEnv(2, scenario=m, loads=loads) for m in members]
    seeds = [5, 6, 7, 8]
    seen, _ = family.reset(seed=seeds)
    apart = [env.reset(seed=seeds[2 * i : 2 * i + 2])[0] for i, env in enumerate(alone)]
    rng = np.random.default_rng(0)
    for _ in range(scenario.episode_intervals + 2):
        assert (seen == np.concatenate(apart)).all()
        actions = rng.integers(0, family.single_action_space.nvec, (4, 3))
        seen, rewards, _, truncated, infos = family.step(actions)
        parts = [env.step(actions[2 * i : 2 * i + 2]) for i, env in enumerate(alone)]
        apart = [part[0] for part in parts]
        assert (rewards == np.concatenate([part[1] for part in parts])).all()
        if truncated.any():
            assert (infos["final_obs"][3] == parts[1][4]["final_obs"][1]).all()
            assert len(infos["final_info"]["cost"]) == 4
    assert family.episode == 1 and family.action_masks().shape[0] == 4
    with pytest.raises(ValueError, match="3 clusters for 2 members"):
        Family(members, 3, loads=loads)


def test_sb3_plays_a_family(scenario, loads):
    environment = ServingVecEnv(Family(members_of(scenario, "2,9", ""), 2, loads=loads))
    environment.seed(1)
    environment.reset()
    for _ in range(scenario.episode_intervals):
        _, _, done, infos = environment.step(np.zeros((2, 3), int))
    assert done.all() and "terminal_observation" in infos[1]


def test_bursts_raise_the_load_here_and_there():
    load = make_load(POISSON, np.full(8640, 50.0), 10.0)  # a day
    plain, many = (with_bursts({"a": load}, n, np.random.default_rng(0))["a"] for n in (0.0, 20.0))
    assert (plain.rate_rps == load.rate_rps).all() and (load.rate_rps == 50.0).all()
    raised = many.rate_rps > 50.0
    begins = int((np.diff(raised.astype(int)) == 1).sum())
    assert 8 <= begins <= 30 and 0.01 < raised.mean() < 0.3
    single = with_bursts({"a": load}, 1.0, np.random.default_rng(3))["a"].rate_rps
    assert single.max() <= 50 * 4.0 * 4.0 and (single >= 50.0).all()
    with pytest.raises(ValueError, match="recorded"):
        with_bursts({"a": make_load(RECORDED, recorded_s=np.array([1.0]))}, 1.0, np.random.default_rng(0))
