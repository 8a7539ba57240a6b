"""What a run of the demonstration leaves: from the journal, from the cluster's events, and from the clients' side."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from envs.contract import Deployment, Observation
from runtime.deployment_json import from_json


@dataclass(frozen=True)
class Moment:
    """One second of the load, as the gateway's metrics tell it; None: missing.

    Attributes:
        t_s: end of the second, since the load began.
        offered_rps, violation_ratio, p50_s, p99_s: see `envs.contract.ApplicationObservation`.
        ready, pending: replicas by variant.
    """

    t_s: float
    offered_rps: float | None
    violation_ratio: float | None
    p50_s: float | None
    p99_s: float | None
    ready: Mapping[str, int]
    pending: Mapping[str, int]


@dataclass(frozen=True)
class Made:
    """One decision.

    Attributes:
        t_s: since the load began.
        by: who decided.
        reason: why, and what bound it.
        replicas: that are wanted from then on.
        changes: what it changed in the deployment, "" for nothing.
        status: what became of it; "unchanged" where there was nothing to do.
    """

    t_s: float
    by: str
    reason: str
    replicas: str
    changes: str
    status: str


@dataclass(frozen=True)
class Kill:
    """A worker killed under load; times since the load began, None: not yet.

    Attributes:
        t_s: when.
        pid: of the worker.
        replica, variant: that it was.
        seen_s: when the cluster had noticed and fenced it.
        replaced_s: when a new replica of its kind was ready.
        why: there is no new one, where none is wanted.
    """

    t_s: float
    pid: int
    replica: int | None = None
    variant: str = ""
    seen_s: float | None = None
    replaced_s: float | None = None
    why: str = ""


@dataclass(frozen=True)
class Would:
    """What a policy would have had, simulated.

    Attributes:
        policy: its name here.
        violation_ratio: requests that were not answered within the SLO.
        accuracy: mean over the answers within the SLO.
        core_s: core-seconds held.
    """

    policy: str
    violation_ratio: float
    accuracy: float
    core_s: float


@dataclass(frozen=True)
class Record:
    """All of a run.

    Attributes:
        scenario, policy, source, load: what ran.
        seconds: of load.
        slo_s: of the service.
        accuracy: of each variant, the least accurate first.
        clients: what `tidal replay --json` wrote.
        decisions: all of them.
        kill: None: it did not come to it.
        moments: one for each second.
        events: of the cluster, as its control API gave them.
        commands: of the processes, to be given again.
        would: what policies would have had of the same arrivals, simulated.
    """

    scenario: str
    policy: str
    source: str
    load: str
    seconds: int
    slo_s: float
    accuracy: Mapping[str, float]
    clients: Mapping[str, Any]
    decisions: tuple[Made, ...]
    kill: Kill | None
    moments: tuple[Moment, ...]
    events: tuple[Mapping[str, Any], ...]
    commands: Mapping[str, str]
    would: tuple[Would, ...] = ()

    @property
    def failed(self) -> int:
        """Requests without a good answer."""
        return int(self.clients["requests"] - self.clients["answered"])

    @property
    def core_s(self) -> float:
        """Core-seconds that replicas held: they have a core each."""
        return sum(sum(moment.ready.values()) + sum(moment.pending.values()) for moment in self.moments)

    @property
    def during(self) -> list[Made]:
        """Decisions made under load."""
        return [decision for decision in self.decisions if 0 <= decision.t_s <= self.seconds]


def moment_of(t_s: float, seen: Observation, application: str) -> Moment:
    """What an observation of one second tells."""
    row = seen.applications[application]
    states: dict[str, dict[str, int]] = {"ready": {}, "pending": {}}
    for kind, there in seen.kinds.items():
        for state, counts in states.items():
            if (count := getattr(there, state)) and not math.isnan(count):
                counts["+".join(kind.variants)] = int(count)
    offered, violation, p50_s, p99_s = map(_known, (row.offered_rps, row.violation_ratio, row.p50_s, row.p99_s))
    return Moment(t_s, offered, violation, p50_s, p99_s, **states)


def decisions_of(records: Iterable[Mapping[str, Any]], began_s: float) -> Iterator[Made]:
    """The decisions in a journal's records, oldest first. One whose outcome is not written yet comes the next time."""
    intents: list[Mapping[str, Any]] = []
    status = {}
    for record in records:
        if record.get("type") == "intent":
            intents.append(record)
        elif record.get("type") == "outcome":
            status[record["decision_id"]] = record["status"]
    for intent in intents:
        became = status.get(intent["decision_id"], "" if intent["acts"] else "unchanged")
        if became:
            before, after = from_json(intent["observation"]["deployment"]), from_json(intent["deployment"])
            reason = "; ".join([intent["proposal"]["reason"], *intent["bounds"]])
            changes = _changes(before, after) if became == "applied" else ""
            yield Made(intent["at_s"] - began_s, intent["by"], reason, replicas_of(after), changes, became)


def replacement_of(kill: Kill, events: Sequence[Mapping[str, Any]], began_s: float) -> Kill:
    """What the events say of a killed worker."""
    after = [e for e in events if e["t_s"] - began_s >= kill.t_s]
    lost = next((e for e in after if e["what"] == "failed"), None)
    if lost is None:
        return kill
    found = replace(kill, replica=lost["replica"], variant="+".join(lost["kind"]["variants"]), seen_s=lost["t_s"] - began_s)
    later = [e for e in after if e["number"] > lost["number"] and e["kind"] == lost["kind"]]
    because = f"replica {found.replica} failed"  # started in the same moment, where it is still wanted
    new = next((e["replica"] for e in later if e["what"] == "pending" and e["why"] == because), None)
    if new is None:
        return replace(found, why="it was not wanted any more")
    for event in later:
        if event["replica"] == new and event["what"] == "ready":
            return replace(found, replaced_s=event["t_s"] - began_s)
        if event["replica"] == new and event["what"] == "draining":
            return replace(found, why="the deployment changed before")
    return found


def replicas_of(deployment: Deployment) -> str:
    """'2 x resnet18, 1 x resnet50': on one core each, which is not said."""
    return ", ".join(f"{n} x {'+'.join(kind.variants)}" for kind, n in deployment.replicas.items()) or "nothing"


def _changes(before: Deployment, after: Deployment) -> str:
    if before.replicas == after.replicas:
        return "" if before == after else "other shares"
    return f"{replicas_of(before)} → {replicas_of(after)}"


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
