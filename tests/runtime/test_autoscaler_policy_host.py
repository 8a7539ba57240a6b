"""Around a policy: late, failing and absurd answers never get through, and the policy comes back when it is well."""

import math
import threading
import time
from dataclasses import replace

import pytest

from baselines.infadapter import InfAdapter
from baselines.static import Static
from envs.contract import Decision, Deployment, Policy, ReplicaKind, Shape
from envs.observation import missing_observation
from envs.scenario_file import load
from runtime.autoscaler.policy_host import FAILURES, RETRY_AFTER_INTERVALS, HostedPolicy, PolicyHost

SCENARIO = load("live-demo")
LEVELS = [SCENARIO.deployment(levels) for levels in ((1, 0, 0), (2, 0, 0), (0, 1, 0), (0, 2, 0))]
[KIND] = LEVELS[0].replicas
DEADLINE_S = 0.1


HOSTS = []


@pytest.fixture(autouse=True)
def no_threads_left():
    yield
    while HOSTS:
        HOSTS.pop().close()


def hosted(name, policy, deadline_s=DEADLINE_S):
    HOSTS.append(HostedPolicy(name, policy, SCENARIO, deadline_s))
    return HOSTS[-1]


def observed(number):
    return replace(missing_observation(SCENARIO, SCENARIO.kinds, SCENARIO.initial_deployment, 5.0 * number), age_s=1.0)


class Sick(Policy):
    """Does what it is told at each decision: gives a decision, raises, or calls. It keeps what it has seen since its reset."""

    memory_intervals = 3

    def __init__(self, *acts):
        self._acts = list(acts)
        self.memory = []
        self.resets = 0

    def reset(self, scenario):
        self.resets += 1
        self.memory = []

    def decide(self, observation):
        self.memory.append(observation.t_s)
        if observation.t_s != self.now_s:  # it is shown the past
            return Decision(observation.deployment, "past")
        act = self._acts.pop(0)
        if isinstance(act, BaseException):
            raise act
        return act() if callable(act) else act

    now_s = 0.0


class Second(Policy):
    def __init__(self):
        self.seen = []

    def reset(self, scenario):
        self.seen = []

    def decide(self, observation):
        self.seen.append(observation.t_s)
        return Decision(LEVELS[1], "second")


def play(policy, n, baseline=None):
    host = PolicyHost(hosted("sick", policy), hosted("second", baseline or Second()), SCENARIO.interval_s)
    proposals = []
    for number in range(n):
        policy.now_s = 5.0 * number
        proposals.append(host.propose(observed(number)))
    return host, proposals


WELL = Decision(LEVELS[0], "well")
ALIEN = ReplicaKind(("nobody",), Shape(1))
WRONG = [
    None, "a word", LEVELS[0],
    Decision(Deployment({ALIEN: 1}), ""),
    Decision(Deployment({ReplicaKind(("small",), Shape(0, 1, 1, "tpu")): 1}), ""),
    Decision(Deployment({KIND: 10**9}), ""),
    Decision(Deployment({KIND: 1}, {"nobody": {(KIND, "small"): 1.0}}), ""),
    Decision(Deployment({KIND: 1}, {"classify": {(KIND, "large"): 1.0}}), ""),
    Decision(Deployment({KIND: 1}, {"classify": {(KIND, "small"): math.nan}}), ""),
    Decision(Deployment({KIND: 1}, {"classify": {(ReplicaKind(("small",), Shape(7)), "small"): 1.0}}), ""),
    Decision(Deployment({KIND: 1}, {}, {("nothing", 0): 0.5}), ""),
    Decision(Deployment({KIND: 1}, {}, {("classify", 1): 0.5}), ""),
    Decision(Deployment({KIND: 1}, {}, {("classify", 0): math.nan}), ""),
]


def test_a_policy_that_is_well_decides():
    host, proposals = play(Sick(WELL, WELL), 2)
    assert [(p.decision, p.by, p.failure) for p in proposals] == [(WELL, "sick", "")] * 2
    assert not host.failures and not host.open


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_decision_for_the_scenario_is_never_proposed(wrong):
    host, [bad, good] = play(Sick(wrong, WELL), 2)
    assert (bad.by, bad.decision.deployment) == ("second", LEVELS[1]) and bad.failure.startswith("sick: ")
    assert good.decision == WELL
    assert host.failures == {"invalid": 1}


@pytest.mark.parametrize("error", [ZeroDivisionError("division by zero"), SystemExit(3), KeyboardInterrupt(), MemoryError()])
def test_a_policy_that_raises_does_not_end_the_process(error):
    host, [bad, good] = play(Sick(error, WELL), 2)
    assert (bad.by, good.by) == ("second", "sick")
    assert host.failures == {"exception": 1}


def test_a_late_answer_is_never_applied_and_the_thread_is_not_called_meanwhile():
    release = threading.Event()
    late = Decision(LEVELS[3], "late")
    policy = Sick(lambda: (release.wait(10), late)[1], WELL)
    host, proposals = play(policy, 2)
    assert [p.by for p in proposals] == ["second", "second"]
    assert policy.memory == [0.0]  # the second observation was not shown to it while it was busy
    assert host.failures == {"deadline": 2}
    release.set()
    while host._policy._thread.busy:
        time.sleep(0.001)
    policy.now_s = 10.0
    assert host.propose(observed(2)).decision == WELL
    assert (policy.resets, policy.memory) == (2, [0.0, 5.0, 10.0])  # afresh, on all that it had missed


def test_a_policy_that_hangs_for_good_leaves_the_baseline_in_charge():
    never = threading.Event()
    _, proposals = play(Sick(never.wait), 4 * RETRY_AFTER_INTERVALS)
    assert {p.by for p in proposals} == {"second"}
    never.set()


def test_the_breaker_opens_waits_and_tries_again():
    error = ValueError("sick")
    policy = Sick(*[error] * FAILURES, error, WELL, WELL)
    host, proposals = play(policy, FAILURES + 2 * RETRY_AFTER_INTERVALS + 1)
    by = [p.by for p in proposals]
    first_trial = FAILURES - 1 + RETRY_AFTER_INTERVALS
    second_trial = first_trial + RETRY_AFTER_INTERVALS
    assert [i for i, who in enumerate(by) if who == "sick"] == [second_trial, second_trial + 1]
    assert host.failures == {"exception": FAILURES + 1}  # it was not asked in between
    assert proposals[FAILURES].failure == "sick is given time until 60"
    assert policy.memory[-2:] == [5.0 * second_trial, 5.0 * (second_trial + 1)]
    assert policy.memory[:3] == [5.0 * (second_trial - i) for i in (3, 2, 1)]  # the last three that its memory needs
    assert not host.open


def test_the_baseline_has_seen_everything_when_it_takes_over():
    baseline = Second()
    play(Sick(WELL, WELL, ValueError()), 3, baseline)
    assert baseline.seen == [0.0, 5.0, 10.0]


def test_when_all_fail_what_is_in_force_stays():
    class Broken(Second):
        def decide(self, observation):
            raise RuntimeError("broken too")

    host, [held] = play(Sick(ValueError("sick")), 1, Broken())
    assert (held.by, held.decision.deployment) == ("hold", SCENARIO.initial_deployment)
    assert held.failure == "sick: ValueError: sick; second: RuntimeError: broken too"
    assert host.failures == {"exception": 1, "baseline": 1}


def test_memory_is_rebuilt_from_the_last_observations():
    def observation(number, rps):
        seen = observed(number)
        return replace(seen, services={"classify": replace(seen.services["classify"], offered_rps=rps)})

    loads = [20, 80, 30, 25, 60, 10, 10, 10, 70]
    through, restarted = (hosted("i", InfAdapter(memory=3, hold=0), 120.0) for _ in range(2))
    decisions = [through.decide(observation(i, rps)) for i, rps in enumerate(loads)]
    restarted.remember([observation(i, rps) for i, rps in enumerate(loads[:-1])])
    assert restarted.decide(observation(8, 70)) == decisions[-1]
    fresh = hosted("i", InfAdapter(memory=3, hold=0), 120.0)
    assert fresh.decide(observation(8, 10)) != decisions[-1]


def test_a_static_baseline_is_enough():
    _, [proposal] = play(Sick(ValueError()), 1, Static())
    assert proposal.decision.deployment == SCENARIO.initial_deployment


def test_a_policy_that_can_stop_early_is_told_to_before_the_deadline():
    policy = Sick()
    hosted("early", policy, deadline_s=3.0)
    assert 0 < policy.limit_s < 3.0 and Sick().limit_s == float("inf")
