"""AlpaServe planned anew while it serves: what a change is worth, what it plans on, and that it follows the load."""

import numpy as np
import pytest
from observed import NAN, missing, observe
from test_alpaserve_policy import scenario as placed_scenario

from baselines.alpaserve_online import AlpaServeOnline, Switching
from baselines.placement import Group, check, normal
from baselines.placement_incremental import IncrementalReplay
from baselines.placement_replay import Replay
from baselines.placement_scenario import SteadyLoad, deployment_of, placement_of, problem_of, requests_of
from envs.contract import Shape
from envs.scenario_file import load

ONE, TWO = Shape(0, 1, 1, "gpu"), Shape(0, 2, 1, "gpu")
STAY_S = 100.0


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Few replays are enough for five models."""
    monkeypatch.setattr("baselines.placement_improve.MOST_REPLAYS", 300)


@pytest.fixture(scope="module")
def placed(tmp_path_factory):
    """Five models on four devices, which load in 3 s each."""
    made = placed_scenario(tmp_path_factory.mktemp("placed"))
    return made.with_(variants={name: variant.model_copy(update={"load_s": 3.0}) for name, variant in made.variants.items()})


def test_a_deployment_is_its_placement_again(placed):
    placement = normal([Group(TWO, (0, 1, 3)), Group(ONE, (2, 4)), Group(ONE, (2, 4))])
    assert normal(placement_of(placed, deployment_of(placed, placement))) == placement


def test_a_change_costs_its_loading_and_what_is_held_twice(placed):
    """One new group of two devices loads 2 models of 3 s: the old attainment for 6 of 100 s, 12 of 400 device-seconds."""
    problem = problem_of(placed)
    scorer = IncrementalReplay(Replay(problem, requests_of(placed, 50.0)))
    before = scorer.whole(normal([Group(ONE, (0, 1)), Group(ONE, (2, 3))]))
    after = scorer.changed(before, normal([Group(ONE, (0, 1)), Group(ONE, (2, 3)), Group(TWO, (3, 4))]))
    worth, weights = Switching(placed, problem, before, STAY_S), placed.weights
    assert worth(before) == pytest.approx((weights.accuracy + weights.slo) * before.score)
    attained = 0.06 * before.score + 0.94 * after.score
    # The longest load of a candidate is one model's, 3 s; a decision is due each 10 s.
    wanted = (weights.accuracy + weights.slo) * attained - weights.cost * 12 / 400 - weights.change * 10 / 100
    assert worth(after) == pytest.approx(wanted)
    assert Switching(placed, problem, before, 5.0)(after) < worth(before)  # gone before it has loaded


def test_requests_have_the_rates_and_the_bursts_that_are_told():
    """Gamma gaps of CV 2, at any rate: 30,000 of them for the models that are asked for most."""
    made = SteadyLoad.of(load("alpaserve-shift"))
    assert made.rate_rps.sum() == pytest.approx(50.0, rel=1e-3)
    rates = np.linspace(0.0, 5.0, 24)
    requests = made.requests(rates, 6000.0, 1)
    counts = np.bincount(requests.model, minlength=24)
    assert counts[0] == 0 and np.allclose(counts, rates * 6000.0, atol=5 * 2 * np.sqrt(rates.max() * 6000.0))
    gaps = np.diff(requests.only([23]).arrival_s)
    assert gaps.std() / gaps.mean() == pytest.approx(2.0, rel=0.05)


def test_pieces_are_spread_over_the_day():
    """3000 s of a load that moves from region to region in two hours: pieces at all times of day, so that none is favoured."""
    requests = requests_of(load("alpaserve-shift"), 3000.0)
    assert requests.arrival_s[-1] < 3000.0 and (np.diff(requests.arrival_s) >= 0).all()
    first = np.histogram(requests.only([0]).arrival_s, np.arange(0, 3001, 150))[0]
    assert first.max() > 5 * first.min()
    rates = np.bincount(requests.model, minlength=24) / 3000.0
    assert rates[[0, 6, 12, 18]] == pytest.approx(SteadyLoad.of(load("alpaserve-shift")).rate_rps[[0, 6, 12, 18]], rel=0.15)


def test_it_follows_the_load_and_stays_where_no_change_pays(placed):
    policy = AlpaServeOnline(look_back=1, planning_s=60.0)
    policy.reset(placed)
    first = policy.decide(missing(placed))
    assert first.reason == "planned on the training load"
    problem = problem_of(placed)
    training = SteadyLoad.of(placed).rate_rps
    moved = {name: 12 * rate if i == 3 else rate / 4 for i, (name, rate) in enumerate(zip(placed.services, training))}
    decision = policy.decide(observe(placed, first.deployment, moved))
    placement = placement_of(placed, decision.deployment)
    check(problem, placement)
    assert "changed for the load observed" in decision.reason and decision.details["gain"] > 0.01
    assert decision.details["planned_attainment"] > decision.details["running_attainment"]
    again = policy.decide(observe(placed, decision.deployment, moved))
    assert again.details["running_attainment"] == pytest.approx(decision.details["planned_attainment"])
    settled = policy.decide(observe(placed, again.deployment, NAN))
    assert settled.deployment == again.deployment and "no load seen" in settled.reason


def test_it_is_deterministic_and_forgets_on_reset(placed):
    policy, other = AlpaServeOnline(look_back=2, planning_s=40.0), AlpaServeOnline(look_back=2, planning_s=40.0)

    def play(played):
        played.reset(placed)
        decisions = [played.decide(missing(placed))]
        for rps in (1.0, 3.0):
            decisions.append(played.decide(observe(placed, decisions[-1].deployment, rps)))
        return decisions

    assert play(policy) == play(policy) == play(other)


def test_more_load_is_planned_on_a_shorter_stretch(placed, monkeypatch):
    monkeypatch.setattr("baselines.alpaserve_online.MOST_DRAWN", 2000)
    drawn, requests = [], SteadyLoad.requests

    def counted(*arguments):
        drawn.append(requests(*arguments))
        return drawn[-1]

    monkeypatch.setattr(SteadyLoad, "requests", counted)
    policy = AlpaServeOnline(look_back=1, planning_s=60.0)
    policy.reset(placed)
    for rps in (1.0, 1e5):
        policy.decide(observe(placed, deployment_of(placed, ()), rps))
    few, many = drawn[-2:]
    assert len(few) == pytest.approx(5 * 60.0, rel=0.3) and len(many) == pytest.approx(2000, rel=0.2)
