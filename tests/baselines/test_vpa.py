"""VPA: the recommender's tables, worked by hand from its source, and the policy."""

import math

import pytest
from observed import NAN, counted, observe, only, pod

from baselines.vpa import VPA
from baselines.vpa_rules import BUCKETS, DecayingHistogram, Recommender, bucket_start


def end_of_bucket(cores):
    """The first bound above a value: widths 0.001, 0.00105, 0.0011025, ... added up one by one."""
    bound, width = 0.0, 0.001
    while bound <= cores * (1 + 1e-12):
        bound, width = bound + width, width * 1.05
    return bound


def test_buckets_grow_by_five_per_cent_up_to_a_thousand_cores():
    assert [bucket_start(n) for n in range(4)] == pytest.approx([0, 0.001, 0.00205, 0.0031525])
    assert bucket_start(BUCKETS - 1) >= 1000 > bucket_start(BUCKETS - 2)


def test_percentiles_of_a_decaying_histogram():
    """The recommender's own test: values and weights 1, 2, 3, 4, each a half-life after the one before.

    Their weights are then 1/8, 2/4, 3/2 and 4 of 6.125 in all: 2 %, 10 %, 35 % and 100 % from below.
    """
    histogram = DecayingHistogram(3600)
    assert histogram.percentile(0.5) == 0
    for i in range(1, 5):
        histogram.add(float(i), float(i), 3600.0 * i)
    for p, value in ((0, 1), (0.02, 1), (0.03, 2), (0.10, 2), (0.11, 3), (0.34, 3), (0.35, 4), (1, 4)):
        assert histogram.percentile(p) == pytest.approx(end_of_bucket(value)), p


def test_a_heavy_sample_is_all_but_forgotten_after_twenty_half_lives():
    histogram = DecayingHistogram(3600)
    histogram.add(2.0, 1000.0, 0.0)
    histogram.add(1.0, 1.0, 20 * 3600.0)
    assert histogram.percentile(0.999) == pytest.approx(end_of_bucket(1))
    assert histogram.percentile(1.0) == pytest.approx(end_of_bucket(2))
    histogram.add(1.0, 1.0, 130 * 3600.0)  # beyond 2^100 weights are scaled down, and the old bucket is empty
    assert histogram.percentile(1.0) == pytest.approx(end_of_bucket(1))


def test_bounds_are_wide_while_the_history_is_short():
    """Ten samples of 3 cores, one a minute: confidence is the span, 9 of 1440 minutes (10 / 1440 by samples)."""
    recommender, end = Recommender(), end_of_bucket(3.0)
    for i in range(10):
        recommender.observe(3.0, 4.0, 60.0 * i)
    days = 9 / 1440
    assert recommender.confidence == pytest.approx(days)
    said = recommender.recommend()
    assert said.target == pytest.approx(1.15 * end)
    assert said.lower == pytest.approx(1.15 * end / (1 + 0.001 / days) ** 2)
    assert said.upper == pytest.approx(1.15 * end * (1 + 1 / days))


def test_confidence_is_that_of_the_samples_where_they_are_few():
    recommender = Recommender()
    recommender.observe(1.0, 1.0, 0.0)
    assert recommender.recommend().upper == math.inf
    recommender.observe(1.0, 1.0, 30 * 86_400.0)
    assert recommender.confidence == pytest.approx(2 / 1440)


def test_samples_weigh_as_much_as_was_requested():
    """90 samples of 1 core under a request of 2, 10 of 8 under one of 20: the median by weight is 8, by number 1."""
    recommender = Recommender(half_life_s=1e12)
    for i in range(90):
        recommender.observe(1.0, 2.0, float(i))
    for i in range(10):
        recommender.observe(8.0, 20.0, 90.0 + i)
    days = 99 / 86_400
    assert recommender.recommend().lower == pytest.approx(1.15 * end_of_bucket(8.0) / (1 + 0.001 / days) ** 2)


def test_no_recommendation_is_below_25_millicores():
    recommender = Recommender()
    recommender.observe(0.0, 1.0, 0.0)
    assert recommender.recommend().target == 0.025


def started(scenario, **settings):
    policy = VPA(**settings)
    policy.reset(scenario)
    return policy


def cores(decision):
    return sum(kind.shape.cores * n for kind, n in decision.deployment.replicas.items())


def test_up_at_once_down_after_the_holds(resnet):
    """Use of 8 cores asks for ceil(1.15 x 8.x) = 10; then little use, but p90 keeps the peak until it is a tenth of all."""
    policy = started(resnet, variant="resnet50", hold=2, half_life_s=30)
    running, track = only(pod("resnet50", 8)), []
    for i, busy in enumerate([1.0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]):
        decision = policy.decide(observe(resnet, running, 90.0, t_s=30.0 * (i + 1), busy=busy))
        running = decision.deployment
        track.append(cores(decision))
    # 8 cores in use, weight 8; then 1 core in use, weight 10, older ones halved each time: the peak weighs 4 of 14, 2 of 17,
    # 1 of 18.5: under a tenth from t = 120 on. Two holds (t = 120, 150), then ceil(1.15 x 1.0x) = 2 cores.
    assert track == [10, 10, 10, 10, 10, 2, 2, 2]


def test_bounds_keep_the_size_while_nothing_is_sure(resnet):
    policy = started(resnet, variant="resnet50", mode="bounds")
    running = only(pod("resnet50", 20))
    for i in range(5):
        decision = policy.decide(observe(resnet, running, 50.0, t_s=30.0 * (i + 1), busy=0.48))
        assert decision.deployment == running, "9.6 cores in use, target 12: but the upper bound is thousands of cores"
    # The lower bound is 1.15 x 9.x / (1 + 0.001 x 86400 / 150)^2 = 4.6: a pod of 2 is outside, and gets the target.
    decision = policy.decide(observe(resnet, only(pod("resnet50", 2)), 90.0, t_s=180.0, busy=1.0))
    assert cores(decision) == 12


def test_a_missing_sample_leaves_all_as_it_is():
    scenario = counted()
    policy = started(scenario)
    running = only(pod("light", 1), 4)
    decision = policy.decide(observe(scenario, running, 10.0, busy=NAN))
    assert decision.deployment == running and "missing" in decision.reason


def test_a_wrong_mode_is_told():
    with pytest.raises(ValueError, match="mode 'auto'"):
        VPA(mode="auto")
