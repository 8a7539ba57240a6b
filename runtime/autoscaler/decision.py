"""The decision core: from an observation and a policy's proposal to what is done, and what bound it. Pure, no I/O.

The rules are the envelope's (`envs.envelope`), the same in evaluations; here is what only a live process needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Real

from envs.contract import Decision, Deployment, Observation, ReplicaKind
from envs.envelope import History, Limits, guard, why_blind
from envs.profiles import ProfileError
from envs.scenario import Scenario

LONGEST_REASON = 1000
MOST_DETAILS = 1000


@dataclass(frozen=True)
class Verdict:
    """What is done.

    Attributes:
        decision: the proposal within the envelope.
        acts: whether its deployment differs from the one in force.
        bounds: what the envelope changed, and why; empty: nothing.
        history: the envelope's state, for the next decision.
        blind: why the load is not known, so that what is in force stays; empty: it is known.
    """

    decision: Decision
    acts: bool
    bounds: tuple[str, ...]
    history: History
    blind: str


def decide(observation: Observation, proposal: Decision, history: History, limits: Limits, scenario: Scenario,
           now_s: float) -> Verdict:
    """What a proposal comes to at `now_s`, by which the observation has aged while the policy thought."""
    aged = replace(observation, age_s=observation.age_s + max(0.0, now_s - observation.t_s))
    decision, bounds, history = guard(proposal, aged, scenario, limits, history)
    return Verdict(decision, decision.deployment != observation.deployment, bounds, history,
                   why_blind(aged, limits))


def problem_with(proposal: object, scenario: Scenario, running: bool = False) -> str:
    """Why something is no decision for the scenario, or nothing. What is merely over the limits is the envelope's, and so is
    what runs already (`running`) under a budget that was lowered since.
    """
    if not isinstance(proposal, Decision) or not isinstance(proposal.deployment, Deployment):
        return f"a {type(proposal).__name__} is not a decision"
    wanted = proposal.deployment
    for kind, count in wanted.replicas.items():
        device = scenario.devices.get(kind.shape.device)
        if device is None or any(v not in scenario.variants for v in kind.variants):
            return f"the scenario does not know {kind}"
        if count > device.budget and not running:
            return f"{count} replicas of {kind} on {device.budget} {kind.shape.device}"
        if problem := _problem_with_kind(kind, scenario):
            return problem
    return (_problem_with_routes(wanted, scenario) or _problem_with_thresholds(wanted, scenario)
            or _problem_with_words(proposal))


def legible(decision: Decision) -> Decision:
    """The same decision, its reason short, and of characters that can be written: no decision is refused for its words."""
    return replace(decision, reason=decision.reason[:LONGEST_REASON].encode("utf-8", "replace").decode())


def _problem_with_kind(kind: ReplicaKind, scenario: Scenario) -> str:
    """A cluster would refuse a kind that nobody has measured; those of the scenario are."""
    if kind in scenario.kinds:
        return ""
    try:
        for variant in kind.variants:
            scenario.profile.latency_s(variant, kind.shape, kind.batch)
    except ProfileError as error:
        return f"{kind}: {error}"
    return "" if kind.shape.units > 0 and 0 <= kind.max_wait_s < math.inf else f"{kind} is no kind of replica"


def _problem_with_words(decision: Decision) -> str:
    """What a journal cannot hold."""
    if not isinstance(decision.reason, str):
        return f"a reason that is a {type(decision.reason).__name__}"
    if not isinstance(decision.details, Mapping) or len(decision.details) > MOST_DETAILS:
        return f"details that are no table of at most {MOST_DETAILS} numbers"
    for name, value in decision.details.items():
        try:
            if isinstance(name, str) and isinstance(value, Real):
                name.encode(), float(value)
                continue
        except (OverflowError, UnicodeEncodeError):
            pass
        return f"a detail that is no number: {name!r:.100}"
    return ""


def _problem_with_routes(wanted: Deployment, scenario: Scenario) -> str:
    for name, shares in wanted.routes.items():
        service = scenario.services.get(name)
        if service is None:
            return f"routes of unknown service '{name}'"
        for (kind, variant), share in shares.items():
            if not math.isfinite(share):
                return f"routes of {name}: a share of {share}"
            if variant not in kind.variants or variant not in service.variants:
                return f"routes of {name}: '{variant}' is not a variant of both {kind} and the service"
            if kind not in wanted.replicas and kind not in scenario.kinds:
                return f"routes of {name}: {kind} is neither deployed nor a candidate"
    return ""


def _problem_with_thresholds(wanted: Deployment, scenario: Scenario) -> str:
    for (name, stage), threshold in wanted.thresholds.items():
        application = scenario.applications.get(name)
        if application is None or not 0 <= stage < len(application.services):
            return f"a threshold for stage {stage} of '{name}', which is not there"
        if not 0 <= threshold <= 1:
            return f"threshold {threshold} of {name}, stage {stage}"
    return ""
