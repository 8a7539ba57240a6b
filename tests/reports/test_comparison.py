"""The numbers of a comparison against plain arithmetic on its episodes."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from synthetic import WEIGHTS, episode

from reports.comparison import compare, slo_figure
from reports.measures import MEASURES, REWARD, VIOLATIONS


@pytest.fixture(scope="module")
def comparison(played):
    return compare(played, WEIGHTS, np.random.default_rng(0), resamples=200)


def totals(played, policy, name):
    return np.array([e.totals[name] for e in sorted(played, key=lambda e: (e.start_s, e.seed)) if e.policy == policy])


def test_means_and_interquartile_means_are_those_of_the_episodes(played, comparison):
    for policy in comparison.policies:
        for measure in MEASURES:
            values = totals(played, policy, measure.total)
            assert comparison.estimate(measure.name, policy).value == pytest.approx(values.mean())
            assert comparison.estimate(measure.name, policy, "iqm").value == pytest.approx(stats.trim_mean(values, 0.25))


def test_differences_are_paired_and_antisymmetric(played, comparison):
    gaps = totals(played, "ppo", "violation_ratio") - totals(played, "hpa", "violation_ratio")
    found = comparison.estimate("violations", "ppo", "paired difference", "hpa")
    back = comparison.estimate("violations", "hpa", "paired difference", "ppo")
    assert found.value == pytest.approx(gaps.mean())
    assert (back.value, back.low, back.high) == pytest.approx((-found.value, -found.high, -found.low))


def test_fewer_violations_are_an_improvement(played, comparison):
    ours, theirs = totals(played, "hpa", "violation_ratio"), totals(played, "static", "violation_ratio")
    found = comparison.estimate("violations", "hpa", "probability of improvement", "static")
    assert found.value == pytest.approx(((ours < theirs) + 0.5 * (ours == theirs)).mean())


@pytest.mark.parametrize("weight", [0.3, 1.0, 3.0, 10.0])
def test_rewards_at_other_weights_equal_the_reward_terms_added_up_again(played, comparison, weight):
    for policy in comparison.policies:
        again = [
            (
                e.intervals["accuracy"]
                - WEIGHTS.cost * e.intervals["cost"]
                - weight * e.intervals["violation_ratio"]
                - WEIGHTS.change * e.intervals["change"]
            ).mean()
            for e in played
            if e.policy == policy
        ]
        assert comparison.estimate(slo_figure(weight), policy).value == pytest.approx(np.mean(again))


def test_an_interval_in_which_nothing_settled_costs_nothing():
    lone = episode("hpa", intervals=20)
    lone.intervals.loc[3, "violation_ratio"] = np.nan
    comparison = compare([lone], WEIGHTS, np.random.default_rng(0), resamples=50)
    rest = lone.intervals["violation_ratio"].sum() / 20
    gap = comparison.estimate(slo_figure(10.0), "hpa").value - comparison.estimate(REWARD.name, "hpa").value
    assert gap == pytest.approx(-9 * rest)


def test_only_windows_and_seeds_that_everyone_played_count(played):
    part = [e for e in played if not (e.policy == "ppo" and e.start_s == 0.0 and e.seed == 1)]
    comparison = compare(part, WEIGHTS, np.random.default_rng(0), resamples=50)
    assert comparison.left_out == 3
    assert len(comparison.runs) == 4 * 5
    assert (
        comparison.runs.groupby("policy")[["start_s", "seed"]].apply(lambda g: tuple(map(tuple, g.to_numpy()))).nunique() == 1
    )


def test_nothing_shared_and_wrong_names_are_errors(played):
    with pytest.raises(ValueError, match="nothing to compare"):
        compare([episode("a", 0, intervals=5), episode("b", 1, intervals=5)], WEIGHTS, np.random.default_rng(0))
    with pytest.raises(ValueError, match="'nobody' is not among"):
        compare(played, WEIGHTS, np.random.default_rng(0), reference="nobody")
    with pytest.raises(ValueError, match="twice"):
        compare([played[0], played[0]], WEIGHTS, np.random.default_rng(0))


def test_the_same_generator_gives_the_same_figures(played):
    one, two = (compare(played, WEIGHTS, np.random.default_rng(4), resamples=50).figures for _ in range(2))
    pd.testing.assert_frame_equal(one, two)


def test_rankings_know_which_way_is_better(comparison):
    violations = [comparison.estimate("violations", p).value for p in comparison.ranking(VIOLATIONS)]
    rewards = [comparison.estimate("reward", p).value for p in comparison.ranking(REWARD)]
    assert violations == sorted(violations) and rewards == sorted(rewards, reverse=True)
