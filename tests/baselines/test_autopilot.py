"""Autopilot's recommenders: figures worked by hand from the paper, an independent ensemble, and the policy."""

import itertools

import numpy as np
import pytest
from observed import NAN, counted, observe, only, pod

from baselines.autopilot import Autopilot
from baselines.autopilot_rules import (
    COST_DECAY,
    DECAYS,
    MARGINS,
    Ensemble,
    Prices,
    average,
    load_adjusted_percentile,
    peak,
    weights,
    whole,
)


def test_windows():
    weight = weights(3, 60.0, 120.0)
    assert weight == pytest.approx([0.5, 0.5**0.5, 1.0])
    assert peak([3, 9, 2]) == 9
    assert average([4, 0, 8], weight) == pytest.approx((4 * 0.5 + 8) / (0.5 + 0.5**0.5 + 1))


def test_the_percentile_counts_load_not_time():
    """Ninety intervals of 1 and ten of 10: half of the load, 95 of 190, is served at 10."""
    use = [1.0] * 90 + [10.0] * 10
    even = np.ones(100)
    assert load_adjusted_percentile(use, even, 40) == 1
    assert load_adjusted_percentile(use, even, 50) == 10
    assert load_adjusted_percentile(use, even, 47.3) == 1  # 90 of 190 is 47.4 %
    assert load_adjusted_percentile([0.0, 0.0], np.ones(2), 95) == 0
    assert load_adjusted_percentile([3.0], np.ones(1), 95) == 3


def test_whole_pods():
    assert [whole(x) for x in (0.0, 1.0, 1.2, 3.0000000001)] == [1, 1, 2, 3]


def plain_ensemble(use, most, prices):
    """The same recursions with plain loops over models and limits."""
    models = [{"d": d, "m": m, "o": [0.0] * (most + 1), "u": [0.0] * (most + 1), "base": 0, "cost": 0.0}
              for d, m in itertools.product(DECAYS, MARGINS)]
    chosen, limit, track = None, 0, []
    for s in use:
        totals = []
        for i, model in enumerate(models):
            before = model["base"]
            losses = []
            for x in range(1, most + 1):
                model["o"][x] = (1 - model["d"]) * model["o"][x] + model["d"] * (s > x)
                model["u"][x] = (1 - model["d"]) * model["u"][x] + model["d"] * (s < x)
                losses.append(prices.overrun * model["o"][x] + prices.underrun * model["u"][x]
                              + prices.limit_change * (before > 0 and x != before))
            model["base"] = 1 + losses.index(min(losses))
            mine = model["limit"] = min(model["base"] + model["m"], most)
            paid = prices.overrun * model["o"][mine] + prices.underrun * model["u"][mine]
            paid += prices.limit_change * (before > 0 and mine != before + model["m"])
            model["cost"] = COST_DECAY * paid + (1 - COST_DECAY) * model["cost"]
            totals.append(model["cost"] + prices.model_change * (chosen is not None and i != chosen)
                          + prices.limit_change * (limit > 0 and mine != limit))
        chosen = totals.index(min(totals))
        limit = models[chosen]["limit"]
        track.append(limit)
    return track


@pytest.mark.parametrize("seed", range(4))
def test_the_ensemble_is_the_plain_one(seed):
    rng = np.random.default_rng(seed)
    use = np.clip(np.cumsum(rng.normal(0, 1, 80)) + 6, 0, 12)
    ensemble = Ensemble(14)
    assert [ensemble.observe(u) for u in use] == plain_ensemble(use, 14, Prices())


def test_the_ensemble_covers_a_steady_use_and_follows_a_higher_one():
    ensemble = Ensemble(20)
    first = [ensemble.observe(4.5) for _ in range(30)]
    assert set(first[5:]) == {5}
    assert [ensemble.observe(9.5) for _ in range(30)][-1] >= 10


def started(scenario, **settings):
    policy = Autopilot(**settings)
    policy.reset(scenario)
    return policy


@pytest.mark.parametrize(("method", "cores"), [("peak", 13), ("average", 5), ("percentile", 13)])
def test_pods_for_use(resnet, method, cores):
    """8 cores, busy 0.2 five times, then all: use 1.6 x 5, and 8. Margin 0.6: mean 2.67 x 1.6 = 4.3, the others 12.8."""
    policy = started(resnet, variant="resnet50", method=method, margin=0.6, hold_s=30, half_life_s=1e9)
    for i, busy in enumerate([0.2] * 5 + [1.0]):
        decision = policy.decide(observe(resnet, only(pod("resnet50", 8)), 50.0, t_s=30.0 * (i + 1), busy=busy))
    assert decision.deployment.replicas == {pod("resnet50", cores): 1}


def test_the_greatest_recommendation_holds():
    scenario = counted()
    policy, running, track = started(scenario, method="peak", window_s=30, hold_s=90, margin=0.0), only(pod("light", 1), 8), []
    for i, busy in enumerate([1.0, 0.5, 0.25, 0.25, 0.25]):
        decision = policy.decide(observe(scenario, running, 50.0, t_s=30.0 * (i + 1), busy=busy))
        track.append(sum(decision.deployment.replicas.values()))
    assert track == [8, 8, 8, 4, 2]  # use 8, 4, 2, 2, 2; the greatest of three intervals


def test_missing_use_and_wrong_methods():
    scenario = counted()
    running = only(pod("light", 1), 4)
    decision = started(scenario).decide(observe(scenario, running, 5.0, busy=NAN))
    assert decision.deployment == running and "missing" in decision.reason
    with pytest.raises(ValueError, match="method 'oracle'"):
        Autopilot(method="oracle")
