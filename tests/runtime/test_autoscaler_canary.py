"""A canary has its share of the time, in turns, and is withdrawn over violations in one of them, over nothing else."""

from dataclasses import replace

import pytest
from autoscaling import autoscaler, host, journaled, run
from simulated_service import FakeClock
from test_autoscaler_process import Steady

from baselines.static import Static
from envs.contract import Decision, Policy
from envs.scenario_file import load
from runtime.actuators.dry_run import DryRun
from runtime.autoscaler.canary import TURN_INTERVALS, CanaryHost
from runtime.autoscaler.rehearsal import made_up

SCENARIO = load("live-demo")
INTERVAL_S = SCENARIO.interval_s
TURN_S = TURN_INTERVALS * INTERVAL_S


class Sums(Policy):
    """Its decision tells how many observations it has seen, of the last three."""

    memory_intervals = 3

    def reset(self, scenario):
        self.seen = []

    def decide(self, observation):
        self.seen = [*self.seen, observation.t_s][-4:]
        return Decision(observation.deployment, f"new, after {self.seen}")


@pytest.fixture
def canary():
    made = []

    def make(share, limit=0.05):
        made.append(CanaryHost(host(Static(), SCENARIO), host(Sums(), SCENARIO), share, limit, INTERVAL_S))
        return made[-1]

    yield make
    for one in made:
        one.close()


def seen(t_s, violation_ratio=0.0):
    observation = made_up(SCENARIO, 10.0, t_s)
    return replace(observation, applications={
        name: replace(row, violation_ratio=violation_ratio) for name, row in observation.applications.items()})


def by_canary(proposal):
    return proposal.decision.reason.startswith("new")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 1 / 3, 0.5, 1.0])
def test_its_share_of_the_turns_is_exact_and_spread_evenly(canary, share):
    host = canary(share)
    turns = [host.on_duty(turn * TURN_S) for turn in range(1200)]
    assert sum(turns) == pytest.approx(1200 * share, abs=1)
    for begin in range(0, 1200, 60):
        assert sum(turns[begin:begin + 60]) == pytest.approx(60 * share, abs=1)
    assert all(host.on_duty(3 * TURN_S) == host.on_duty(4 * TURN_S - INTERVAL_S * (k + 1)) for k in range(TURN_INTERVALS))


def test_whoever_comes_on_duty_has_seen_what_was_before(canary):
    host = canary(0.5)
    times = [k * INTERVAL_S for k in range(2 * TURN_INTERVALS)]
    said = [host.propose(seen(t_s)) for t_s in times]
    assert [by_canary(p) for p in said] == [False] * TURN_INTERVALS + [True] * TURN_INTERVALS
    assert said[TURN_INTERVALS].decision.reason == f"new, after {times[TURN_INTERVALS - 3:TURN_INTERVALS + 1]}"


def test_violations_in_its_turn_withdraw_it_and_those_before_do_not(canary):
    host = canary(0.5)
    assert not by_canary(host.propose(seen(0.0, 0.9)))
    assert by_canary(host.propose(seen(TURN_S, 0.9)))  # that was the other one's
    assert by_canary(host.propose(seen(TURN_S + INTERVAL_S, 0.05)))
    assert by_canary(host.propose(seen(TURN_S + 2 * INTERVAL_S, float("nan"))))
    assert not host.withdrawn
    assert not by_canary(host.propose(seen(TURN_S + 3 * INTERVAL_S, 0.06)))
    assert "0.06 of the requests" in host.withdrawn
    assert not by_canary(host.propose(seen(3 * TURN_S)))


def test_the_journal_tells_whose_decision_it_was(canary, tmp_path):
    host = canary(0.5)
    run(autoscaler(SCENARIO, host, Steady(), DryRun(SCENARIO.initial_deployment), tmp_path, FakeClock(last_s=2 * TURN_S)))
    said = [record["proposal"]["reason"].startswith("new") for record in journaled(tmp_path)]
    assert said[:2 * TURN_INTERVALS] == [False] * TURN_INTERVALS + [True] * TURN_INTERVALS
