"""What a record leaves open: places of requests within a step, and times of the service."""

import numpy as np
import pytest
from scipy import stats

from envs.scenario_file import load
from reports.replay.draws import Doubt, draw, greatest_cv, placed
from reports.replay.recording import recording

DOUBT = Doubt(0.2, 0.3, "a test")


def test_every_step_keeps_its_count_and_poisson_places_are_uniform():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 60, 400)
    times = placed(counts, 15.0, 1.0, rng)
    assert np.histogram(times, np.arange(401) * 15.0)[0].tolist() == counts.tolist() and (np.diff(times) >= 0).all()
    assert stats.kstest(times % 15.0 / 15.0, "uniform").pvalue > 0.01


def test_burstier_gaps_have_their_cv():
    times = placed(np.full(200, 500), 10.0, 2.0, np.random.default_rng(1))
    gaps = np.diff(times)
    assert gaps.std() / gaps.mean() == pytest.approx(2.0, rel=0.05)


def test_parts_of_requests_go_over_to_the_next_step():
    assert len(placed(np.full(10, 2.5), 1.0, 1.0, np.random.default_rng(0))) == 25


def test_the_cv_of_counts():
    rng = np.random.default_rng(2)
    assert greatest_cv(rng.poisson(40, 4000).astype(float)) == pytest.approx(1.0, abs=0.05)
    bursty = rng.negative_binomial(40 / 8, 1 / 9, 4000).astype(float)  # variance 9 times the mean
    assert greatest_cv(bursty) == pytest.approx(3.0, rel=0.1)
    assert greatest_cv(np.array([np.nan, 3.0])) == 1.0


def test_draws_spread_over_the_times_and_the_middle_one_has_the_scenarios_own():
    scenario, found = load("resnet-variants"), recording("x", np.nan, 15.0, np.full(40, 300.0), scrape_s=15.0)
    drawn = [draw(found, scenario, DOUBT, i, 5) for i in range(5)]
    factors = [d.factor for d in drawn]
    assert factors == pytest.approx(np.exp(0.2 * stats.norm.ppf([0.1, 0.3, 0.5, 0.7, 0.9])))
    kind, variant = scenario.kinds[0], scenario.kinds[0].variants[0]
    for d in drawn:
        ours, theirs = (s.profile.latency_s(variant, kind.shape, 1)[0] for s in (d.scenario, scenario))
        assert ours == pytest.approx(d.factor * theirs)
        assert d.scenario.capacity_rps(kind, variant) == pytest.approx(scenario.capacity_rps(kind, variant) / d.factor)
    assert len({d.scenario.load_s(kind) for d in drawn}) == 5
    times = [next(iter(d.loads.values())).recorded_s for d in drawn]
    assert [len(t) for t in times] == [12_000] * 5 and not np.array_equal(times[0], times[1])


def test_requests_whose_times_were_recorded_are_played_as_they_were():
    exact = np.sort(np.random.default_rng(0).random(100)) * 60
    found = recording("x", np.nan, 1.0, np.histogram(exact, np.arange(61))[0], arrival_s=exact)
    drawn = draw(found, load("resnet-variants"), DOUBT, 1, 2)
    assert np.array_equal(next(iter(drawn.loads.values())).recorded_s, exact) and np.isnan(drawn.cv)
