"""Before its first decision that counts, a policy has decided once on a load, and forgotten it."""

import math
from dataclasses import astuple

import pytest

from agents import registry
from envs.contract import Decision, Policy
from envs.scenario_file import load
from runtime.autoscaler.decision import problem_with
from runtime.autoscaler.rehearsal import made_up, rehearse


class Remembers(Policy):
    """Keeps what it has been shown since its last reset, and all that it ever was."""

    def __init__(self, fails=False):
        self.fails, self.ever, self.since = fails, [], None

    def reset(self, scenario):
        self.since = []

    def decide(self, observation):
        self.ever.append(observation)
        self.since.append(observation)
        if self.fails:
            raise RuntimeError("not today")
        return Decision(observation.deployment, "as it is")


@pytest.mark.parametrize("fails", [False, True])
def test_a_policy_has_seen_a_whole_observation_and_forgets_it(fails):
    policy = Remembers(fails)
    rehearse(policy, load("live-demo"))
    assert policy.since == [] and len(policy.ever) == 2
    first, second = policy.ever
    assert first.t_s < second.t_s
    for observation in policy.ever:
        rows = [*observation.applications.values(), *observation.services.values()]
        assert not any(math.isnan(number) for row in rows for number in astuple(row))


@pytest.mark.parametrize("name", ["infadapter", "infadapter-fast", "hpa", "static"])
def test_a_rehearsal_changes_no_later_decision(name):
    scenario = load("live-demo")
    fresh, rehearsed = (registry.make(name, scenario) for _ in range(2))
    rehearse(rehearsed, scenario)
    fresh.reset(scenario)
    for i, rps in enumerate((20.0, 60.0, 110.0, 15.0)):
        observation = made_up(scenario, rps, i * scenario.interval_s)
        ours, theirs = rehearsed.decide(observation), fresh.decide(observation)
        assert ours == theirs and problem_with(ours, scenario) == ""
