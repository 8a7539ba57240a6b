"""The portfolio: decides as its member does, and its member is the one that earned most on training load."""

import pytest

from agents import registry
from agents.portfolio import Portfolio
from envs.episode import run_episode
from envs.loads import open_loads
from envs.scenario_file import load
from reports import protocol_tuning
from reports.protocol_plan import QUICK, Cell, sized, sources
from reports.protocol_play import Row, Task, outcome

SIZES = sized(QUICK, windows=3, intervals=6, calls=10)


@pytest.fixture
def two(monkeypatch):
    """Two that can play `live-demo`, and a forecaster that cannot, for its interval is too short."""
    monkeypatch.setattr(Portfolio, "members", ("infadapter-forecast", "infadapter-hold", "static-fast"))


def earned(found):
    """What hangs on no clock."""
    return [{name: value for name, value in e.items() if name != "decision_p50_s"} for e in found["episodes"]]


def test_it_decides_as_its_member_does():
    scenario = load("resnet-variants")
    loads = open_loads(scenario, "twitter-like", "val", 3600.0).loads
    settings = {"levels": [7, 0, 11, 0, 0]}
    own = registry._class(registry.BASELINES["static-fast"])(**settings)
    rewards = [run_episode(scenario, policy, loads, seed=0, intervals=8).totals["reward"]
               for policy in (own, Portfolio("static-fast", settings), Portfolio("infadapter-forecast"))]
    assert rewards[0] == rewards[1] != rewards[2]


def test_how_it_decides_is_its_members_matter():
    scenario = load("resnet-variants")
    kinds = {}
    for member in ("static-fast", "infadapter-forecast"):
        policy = Portfolio(member)
        policy.reset(scenario)
        kinds[member] = policy.learning
    assert kinds == {"static-fast": "planner", "infadapter-forecast": "supervised"}


def test_members_are_tried_on_load_with_bursts():
    loads = open_loads(load("resnet-variants"), "twitter-like", "val", 200 * 3600.0).loads
    (name, before), (_, after) = *loads.items(), *Portfolio.trial(loads).items()
    ratio = after.rate_rps / before.rate_rps
    assert (ratio >= 1).all() and 1.5 < ratio.max() <= 16
    assert 0.05 < (ratio > 1).mean() < 0.25  # once an hour, 6 minutes on average
    assert (Portfolio.trial(loads)[name].rate_rps == after.rate_rps).all()


def test_nobody_else_is_a_member():
    with pytest.raises(ValueError, match="member hpa: there are infadapter-forecast"):
        Portfolio("hpa")


@pytest.mark.parametrize("best", ["infadapter-hold", "static-fast"])
def test_the_protocol_takes_the_member_that_earned_most_as_its_own_row_is_calibrated(best, two, monkeypatch):
    cell = Cell("live-demo", sources(["twitter-like"])[0], 5.0)
    own = outcome(Task(cell, Row(best, (best,)), SIZES))
    told, played = [], protocol_tuning.played

    def rigged(scenario, policy, future):
        episode = played(scenario, policy, future)
        if isinstance(policy, Portfolio):
            told.append(policy.member)
            episode.totals["reward"] += 10.0 * (policy.member == best)
        return episode

    monkeypatch.setattr(protocol_tuning, "played", rigged)
    found = outcome(Task(cell, Row("portfolio", ("portfolio",)), SIZES))
    assert found["settings"] == {"member": best, "settings": own["settings"]}
    assert earned(found) == earned(own) and found["kind"] == own["kind"]
    assert told.count("static-fast") == told.count("infadapter-hold") == 3 == len(told) / 2
    assert found["calls"] == 2 * own["calls"] + 2 * 3
