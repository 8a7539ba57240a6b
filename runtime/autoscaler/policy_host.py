"""Around a policy: a deadline, and a circuit breaker with a baseline to fall back on. A policy may fail; scaling goes on.

    closed       the policy decides. When it raises, is late, or gives what is no decision, the baseline decides this once.
    open         after `FAILURES` failures in a row the baseline decides, for `RETRY_AFTER_INTERVALS`.
    half-open    then the policy is tried again: one success closes the breaker, one failure opens it again.

A late answer is dropped and never applied. A policy that has missed observations starts afresh on those that its memory
needs before it decides again. The baseline sees every observation, so that it can take over at any time.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from envs.contract import Decision, Observation, Policy
from envs.scenario import Scenario
from runtime.autoscaler.decision import LONGEST_REASON, legible, problem_with
from runtime.deadline import DeadlineMissed, DeadlineThread

FAILURES = 3
RETRY_AFTER_INTERVALS = 10
LIMIT_RATIO = 0.5  # of the deadline: then a policy that can stop early does


class InvalidDecision(ValueError):
    """A policy gave something that is no decision for the scenario."""


@dataclass(frozen=True)
class Proposal:
    """What is proposed.

    Attributes:
        decision: by the policy, by the baseline, or to hold what is in force.
        by: name of who decided; "hold" where all failed.
        failure: why it was not the policy, or nothing.
    """

    decision: Decision
    by: str
    failure: str = ""


class HostedPolicy:
    """One policy in a thread of its own.

    Args:
        name: of the policy, for people.
        policy: is reset on the scenario here.
        scenario: the problem.
        deadline_s: for one decision.
    """

    def __init__(self, name: str, policy: Policy, scenario: Scenario, deadline_s: float) -> None:
        policy.limit_s = LIMIT_RATIO * deadline_s
        policy.reset(scenario)
        self.name = name
        self._policy, self._scenario, self._deadline_s = policy, scenario, deadline_s
        self.memory: deque[Observation] = deque(maxlen=max(1, policy.memory_intervals))
        self._behind = False
        self._thread = DeadlineThread(f"policy {name}")

    def remember(self, observations: Iterable[Observation]) -> None:
        """Takes observations that it has not decided on; it sees them before it decides next."""
        self.memory.extend(observations)
        self._behind = True

    def decide(self, observation: Observation) -> Decision:
        """Its decision; the observation is remembered in any case.

        Raises:
            DeadlineMissed: it is late, or still busy with an earlier decision.
            InvalidDecision: it is not one for the scenario.
            Exception: whatever the policy raises.
        """
        past = tuple(map(_copy, self.memory)) if self._behind else ()
        self._behind = True  # until it has decided
        self.memory.append(observation)
        decision = self._thread.call(lambda: self._decide(past, _copy(observation)), self._deadline_s)
        if problem := problem_with(decision, self._scenario):
            raise InvalidDecision(problem)
        self._behind = False
        return legible(decision)

    def close(self) -> None:
        """Ends its thread."""
        self._thread.close()

    def _decide(self, past: tuple[Observation, ...], observation: Observation) -> Decision:
        if past:
            self._policy.reset(self._scenario)
            for earlier in past:
                self._policy.decide(earlier)
        return self._policy.decide(observation)


def _words(error: Exception) -> str:
    """What an error says, as it can be written."""
    try:
        return str(error)[:LONGEST_REASON].encode("utf-8", "replace").decode()
    except Exception:  # of a policy's own making
        return "it cannot be told"


def _copy(observation: Observation) -> Observation:
    """For the policy alone: whatever it does to the tables, the envelope and the next decision see what was observed."""
    seen = observation
    return replace(seen, applications=dict(seen.applications), services=dict(seen.services), kinds=dict(seen.kinds),
                   devices=dict(seen.devices), load_s=dict(seen.load_s))


class PolicyHost:
    """A policy behind a circuit breaker.

    Args:
        policy: decides while it can.
        baseline: decides in its place.
        interval_s: between decisions.

    Attributes:
        failures: how often the policy failed, by cause: exception, deadline, invalid; and baseline, where that failed.
    """

    def __init__(self, policy: HostedPolicy, baseline: HostedPolicy, interval_s: float) -> None:
        self._policy, self._baseline = policy, baseline
        self._retry_after_s = RETRY_AFTER_INTERVALS * interval_s
        self._in_a_row = 0
        self._open_until_s = float("-inf")
        self.failures: Counter[str] = Counter()

    @property
    def open(self) -> bool:
        """True while the baseline decides."""
        return self._in_a_row >= FAILURES

    @property
    def memory_intervals(self) -> int:
        """Past observations that both need after a restart."""
        return max(host.memory.maxlen or 1 for host in (self._policy, self._baseline))

    def remember(self, observations: Iterable[Observation]) -> None:
        """Rebuilds the memory of both, after a restart, from the last observations, oldest first."""
        for host in (self._policy, self._baseline):
            host.remember(observations)

    def propose(self, observation: Observation) -> Proposal:
        """Never raises; takes as long as two deadlines at most."""
        fallback, trouble = self._attempt(self._baseline, observation)
        if self.open and observation.t_s < self._open_until_s:
            self._policy.remember([observation])
            failure = f"{self._policy.name} is given time until {self._open_until_s:.0f}"
        else:
            decision, failure = self._attempt(self._policy, observation)
            if decision is not None:
                self._in_a_row = 0
                return Proposal(decision, self._policy.name)
            self._in_a_row += 1
            self._open_until_s = observation.t_s + self._retry_after_s
        if fallback is not None:
            return Proposal(fallback, self._baseline.name, failure)
        return Proposal(Decision(observation.deployment, "nobody can decide: unchanged"), "hold", f"{failure}; {trouble}")

    def close(self) -> None:
        """Ends both threads."""
        self._policy.close()
        self._baseline.close()

    def _attempt(self, host: HostedPolicy, observation: Observation) -> tuple[Decision | None, str]:
        try:
            return host.decide(observation), ""
        except DeadlineMissed as error:
            cause, told = "deadline", str(error)
        except InvalidDecision as error:
            cause, told = "invalid", f"{host.name}: {_words(error)}"
        except Exception as error:
            cause, told = "exception", f"{host.name}: {type(error).__name__}: {_words(error)}"
        self.failures["baseline" if host is self._baseline else cause] += 1
        return None, told
