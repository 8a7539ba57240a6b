"""Calibration on made-up rewards."""

import math

import pytest

from baselines.calibrate import calibrate
from baselines.hpa import HPA
from envs.contract import Decision, Policy


class Knobs(Policy):
    def __init__(self, gain=1, offset=0):
        self.gain, self.offset = gain, offset

    def reset(self, scenario):
        pass

    def decide(self, observation):
        return Decision(observation.deployment, "")


SPACE = {"gain": [1, 2, 3, 4], "offset": [-1, 0, 1]}


def reward(policy, window):
    return -abs(policy.gain - 3) - abs(policy.offset - 1) + window


def test_the_whole_space_gives_the_best_settings():
    found = calibrate(Knobs, SPACE, [0, 5], 100, reward)
    assert found.settings == {"gain": 3, "offset": 1}
    assert found.reward == 2.5
    assert found.calls == 2 * (12 + 1)  # every settings once, and the defaults
    assert list(found.table.columns) == ["gain", "offset", "reward_window_0", "reward_window_5", "reward"]
    assert found.table.iloc[0][["gain", "offset"]].isna().all() and found.table["reward"].iloc[0] == -0.5
    assert not found.table.iloc[1:].duplicated(["gain", "offset"]).any()


@pytest.mark.parametrize("budget", [2, 7, 12])
def test_the_budget_counts_simulator_calls(budget):
    calls = []
    found = calibrate(Knobs, SPACE, [0, 1], budget, lambda p, w: calls.append((p, w)) or reward(p, w))
    assert len(calls) == found.calls == budget // 2 * 2


def test_a_seed_fixes_the_draw():
    tables = [calibrate(Knobs, SPACE, [0], 6, reward, seed).table for seed in (1, 1, 2)]
    assert tables[0].equals(tables[1]) and not tables[0].equals(tables[2])


def test_among_equals_the_first_wins_so_that_defaults_need_a_reason_to_change():
    assert calibrate(Knobs, SPACE, [0], 9, lambda p, w: 1.0).settings == {}


def test_every_policy_gets_the_same_calls(resnet):
    calls = calibrate(HPA, HPA.space(resnet), [3], 5, lambda p, w: float(p.target)).calls
    assert calls == calibrate(Knobs, SPACE, [3], 5, reward).calls == 5


def test_a_space_without_anything_to_tune_tries_the_defaults():
    assert calibrate(Knobs, {}, [0], 10, reward).calls == 1


@pytest.mark.parametrize(("windows", "budget"), [([], 5), ([0, 1], 1)])
def test_too_small_a_budget_is_told(windows, budget):
    with pytest.raises(ValueError, match="budget"):
        calibrate(Knobs, SPACE, windows, budget, reward)


def test_a_reward_that_is_no_number_is_told():
    with pytest.raises(ValueError, match="not a number"):
        calibrate(Knobs, SPACE, [0], 5, lambda p, w: math.nan)
