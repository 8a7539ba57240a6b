"""The lines of the journal: what each says, and how a restarted process reads its state back from them.

    start     a process leads now: at_s, mode, policy, and what became of a decision that was left open
    intent    a decision, before anything is done: decision_id, t_s, at_s, mode; observation and version (inputs); proposal,
              by, failure; bounds; deployment; acts; price (where there is a currency); history (the envelope's state); shadow
    outcome   what became of it: decision_id, at_s, status, version, detail
    reload    other policies, limits, numbers of the scenario are taken up: at_s, scenario_digest
    stop      the process has ended in good order
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from envs.contract import Decision, Deployment, Observation
from envs.envelope import Change, History, Panic
from envs.scenario import Scenario
from runtime.account import Grounds
from runtime.actuators.actuator import InForce, Outcome
from runtime.autoscaler.decision import Verdict
from runtime.autoscaler.journal import Record
from runtime.autoscaler.observation_json import observation_from_json, observation_to_json
from runtime.autoscaler.policy_host import Proposal
from runtime.deployment_json import from_json, to_json


@dataclass
class Remembered:
    """What a journal says about the past.

    Attributes:
        observations: the last ones, oldest first.
        history: the envelope's state after the last decision.
        open_intent: the last decision, where nothing says what became of it.
    """

    observations: list[Observation] = field(default_factory=list)
    history: History = ()
    open_intent: Record | None = None


def intent(decision_id: str, at_s: float, mode: str, observation: Observation, in_force: InForce, proposal: Proposal,
           verdict: Verdict, scenario: Scenario, shadow: Mapping[str, Any] | None) -> Record:
    """The line before anything is done."""
    return {
        "type": "intent", "decision_id": decision_id, "t_s": observation.t_s, "at_s": at_s, "mode": mode,
        "scenario": scenario.name, "version": in_force.version,
        "observation": observation_to_json(observation, scenario),
        "by": proposal.by, "failure": proposal.failure, "proposal": _decision(proposal.decision),
        "bounds": list(verdict.bounds), "deployment": to_json(verdict.decision.deployment), "acts": verdict.acts,
        "price": _price(observation.deployment, verdict.decision.deployment, scenario),
        "history": [_event(event) for event in verdict.history],
        "shadow": shadow,
    }


def _price(in_force: Deployment, decided: Deployment, scenario: Scenario) -> Record | None:
    """Money for an hour of what is in force and of what is decided, where the scenario's prices have a currency."""
    if scenario.currency is None:
        return None
    return {"currency": scenario.currency, "in_force": scenario.price_of(in_force), "decided": scenario.price_of(decided)}


def shadow(proposal: Proposal, verdict: Verdict, acting: Verdict) -> Record:
    """What another policy would have done, as part of an intent."""
    return {"by": proposal.by, "failure": proposal.failure, "proposal": _decision(proposal.decision),
            "bounds": list(verdict.bounds), "deployment": to_json(verdict.decision.deployment),
            "agrees": verdict.decision.deployment == acting.decision.deployment}


def outcome(decision_id: str, at_s: float, found: Outcome) -> Record:
    """The line after something was done."""
    return {"type": "outcome", "decision_id": decision_id, "at_s": at_s, "status": found.status, "version": found.version,
            "detail": found.detail}


def grounds(intent: Record) -> Grounds:
    """Who decided, and why, as an intent says."""
    return Grounds(intent["by"], intent["proposal"]["reason"], tuple(intent["bounds"]))


def remembered(newest_first: Iterable[Record], scenario: Scenario, intervals: int) -> Remembered:
    """Reads back what a process needs that goes on with a journal.

    Args:
        newest_first: records (`runtime.autoscaler.journal.newest_first`).
        scenario: the problem; decisions for another one, or for one with other names in it, are not looked at.
        intervals: observations that the policies need.

    Raises:
        KeyError, TypeError, ValueError: a record is not as it should be.
    """
    found = Remembered()
    status: dict[str, str] = {}  # by decision
    intents: list[Record] = []
    records = (r for r in newest_first if r.get("type") == "outcome" or _is_intent(r, scenario))
    for record in records:
        if record["type"] == "outcome":
            status.setdefault(record["decision_id"], record["status"])
            continue
        if not intents:
            is_open = record["acts"] and record["mode"] != "advisory" and record["decision_id"] not in status
            found.open_intent = record if is_open else None
            history = tuple(_event_from(event) for event in record["history"])
            became = status.get(record["decision_id"]) or str(record["mode"])
            found.history = settled(history, record["t_s"], became)
        intents.append(record)
        if len(intents) == intervals:
            break
    found.observations = [observation_from_json(r["observation"], scenario) for r in islice(reversed(intents), intervals)]
    return found


def settled(history: History, t_s: float, status: str) -> History:
    """The envelope's state once it is known what became of the decision at t_s: a change that was not made is none."""
    if status in ("conflict", "refused", "abandoned", "advised", "advisory"):
        return tuple(event for event in history if isinstance(event, Panic) or event.t_s != t_s)
    return history


def _is_intent(record: Record, scenario: Scenario) -> bool:
    if record.get("type") != "intent" or record["scenario"] != scenario.name:
        return False
    seen = record["observation"]
    return (set(seen["services"]) == set(scenario.services) and set(seen["applications"]) == set(scenario.applications)
            and set(seen["load_s"]) == set(scenario.variants))


def _decision(decision: Decision) -> Record:
    details = {name: float(value) if math.isfinite(value) else None for name, value in decision.details.items()}
    return {"deployment": to_json(decision.deployment), "reason": decision.reason, "details": details}


def _event(event: Change | Panic) -> Record:
    if isinstance(event, Panic):
        return {"t_s": event.t_s, "panic": event.application}
    return {"t_s": event.t_s, "before": to_json(event.before)}


def _event_from(value: Mapping[str, Any]) -> Change | Panic:
    if "panic" in value:
        return Panic(value["t_s"], value["panic"])
    return Change(value["t_s"], from_json(value["before"]))
