"""INFaaS as a policy: variants that are accurate enough, each scaled by its own load, upgraded where that is quicker."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from baselines import infaas_rules as rules
from baselines.infaas_rules import Running
from baselines.single_variant import Scaled, pods_in, scaled_for
from envs.contract import CPU, Decision, Observation, Policy, ReplicaKind
from envs.scenario import Scenario


class INFaaS(Policy):
    """Scales every variant of a service that is accurate enough (rules and source: `baselines.infaas_rules`).

    A user of INFaaS asks for an accuracy and a latency, and the cheapest variants that meet both may answer. Here the accuracy
    is a setting, and a variant meets the latency where it has capacity within the SLO. A pod is what `single_variant` says;
    a variant's load is its share of the capacity that is deployed. Requests go to the shortest queue.

    Replicas beyond what the budget has left are not added.

    Args:
        least_accuracy: of the variants that may answer; None: that of the least accurate.
        headroom: factor on the load (1: as published).

    Raises:
        ValueError: on reset, where no variant of a service is accurate enough, or none fits the budget.
    """

    def __init__(self, least_accuracy: float | None = None, headroom: float = 1.0) -> None:
        self.least_accuracy, self.headroom = least_accuracy, headroom

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """Settings to calibrate: the accuracy asked for, and headroom."""
        levels = [{scenario.variants[v].accuracy for v in s.variants} for s in scenario.services.values()]
        common = min(map(max, levels))  # every service has a variant that is as accurate
        asked = sorted(level for level in set().union(*levels) if level <= common)
        return {"least_accuracy": asked, "headroom": [1.0, 1.15, 1.3, 1.5, 2.0]}

    def reset(self, scenario: Scenario) -> None:
        """Starts afresh: what may answer for each service."""
        self._scenario = scenario
        self._scaled = {name: self._eligible(scenario, name) for name in scenario.services}
        self._votes = {name: dict.fromkeys(scaled, 0) for name, scaled in self._scaled.items()}
        self.memory_intervals = rules.GPU_VOTES

    def _eligible(self, scenario: Scenario, service: str) -> dict[str, Scaled]:
        accuracy = {v: scenario.variants[v].accuracy for v in scenario.services[service].variants}
        least = min(accuracy.values()) if self.least_accuracy is None else self.least_accuracy
        found = {v: scaled for v in accuracy if accuracy[v] >= least
                 and (scaled := scaled_for(scenario, service, v)) and scaled.capacity_rps > 0}
        if not found:
            raise ValueError(f"service '{service}': no variant of accuracy {least:g} or more fits the budget of "
                             f"scenario '{scenario.name}'")
        return found

    def decide(self, observation: Observation) -> Decision:
        """One run for each service."""
        replicas: dict[ReplicaKind, int] = {}
        reasons: list[str] = []
        details: dict[str, float] = {}
        left = {name: device.budget for name, device in self._scenario.devices.items()}
        for service, scaled in self._scaled.items():
            now = {v: pods_in(s, observation.deployment) for v, s in scaled.items()}
            wanted, reason = self._run(service, scaled, now, observation.services[service].offered_rps)
            if any(wanted.values()):
                given = _share_out(scaled, now, wanted, left)
            else:  # none of its variants runs, and its load is missing
                names = set(self._scenario.services[service].variants)
                given = {"": {k: n for k, n in observation.deployment.replicas.items() if names & set(k.variants)}}
                _take(given[""], left)
            for variant, pods in wanted.items():
                room = sum(scaled[variant].pods(kind) * n for kind, n in given.get(variant, {}).items())
                details[f"pods_{service}_{variant}"] = float(room)
                reason += f", room for {room} of {variant} only" if room < pods else ""
            for kind, n in (pair for rows in given.values() for pair in rows.items()):
                replicas[kind] = max(replicas.get(kind, 0), n)
            reasons.append(f"{service}: {reason}")
        return Decision(replace(observation.deployment, replicas=replicas, routes={}), "; ".join(reasons), details)

    def _run(self, service: str, scaled: Mapping[str, Scaled], now: dict[str, int], offered_rps: float
             ) -> tuple[dict[str, int], str]:
        """Pods wanted of each variant, and why."""
        if math.isnan(offered_rps):
            return now, "offered load is missing: unchanged"
        load_rps = self.headroom * offered_rps
        if not any(now.values()):
            cheapest = min(scaled, key=lambda v: (self._load_s(v) * max(1, math.ceil(load_rps / scaled[v].capacity_rps)), v))
            pods = scaled[cheapest].rounded(math.ceil(load_rps / scaled[cheapest].capacity_rps))
            return {**now, cheapest: pods}, f"{cheapest} starts with {pods} pods for {load_rps:.3g} req/s"
        whole = sum(n * scaled[v].capacity_rps for v, n in now.items())
        running = {v: Running(n, scaled[v].most, scaled[v].capacity_rps, self._load_s(v), scaled[v].candidate.device == CPU,
                              load_rps * n * scaled[v].capacity_rps / whole) for v, n in now.items()}
        added = rules.additions(running)
        wanted = {v: n + added.get(v, 0) for v, n in now.items()}
        votes = self._votes[service]
        for v, seen in running.items():
            votes[v] = votes[v] + 1 if rules.has_idle_replica(seen) and not added else 0
            if votes[v] >= rules.votes_needed(seen):
                votes[v] = 0
                others = whole - wanted[v] * scaled[v].capacity_rps
                less = max(wanted[v] - 1, scaled[v].least)
                wanted[v] = less if less < wanted[v] or others < load_rps else 0
        changes = ", ".join(f"{v} {n} -> {wanted[v]} pods" for v, n in now.items() if n != wanted[v])
        return wanted, f"{load_rps:.3g} req/s on {whole:.3g}: {changes or 'as it is'}"

    def _load_s(self, variant: str) -> float:
        return self._scenario.variants[variant].load_s


def _share_out(scaled: Mapping[str, Scaled], now: Mapping[str, int], wanted: Mapping[str, int], left: dict[str, int]
               ) -> dict[str, dict[ReplicaKind, int]]:
    """Replicas of each variant, from the units left: first what runs and stays, then what is new."""
    given = {v: _within(scaled[v], min(pods, now[v]), left) for v, pods in wanted.items()}
    for variant, pods in wanted.items():
        if pods > now[variant]:
            _take(given[variant], left, -1)
            given[variant] = _within(scaled[variant], pods, left)
    return given


def _within(scaled: Scaled, pods: int, left: dict[str, int]) -> dict[ReplicaKind, int]:
    """Replicas for as many of the pods as the units left allow, and takes these."""
    for fewer in range(scaled.rounded(pods) if pods > 0 else 0, 0, -1):
        replicas = scaled.replicas(fewer) if fewer == scaled.rounded(fewer) else {}
        if replicas and sum(kind.shape.units * n for kind, n in replicas.items()) <= left[scaled.candidate.device]:
            _take(replicas, left)
            return replicas
    return {}


def _take(replicas: Mapping[ReplicaKind, int], left: dict[str, int], times: int = 1) -> None:
    for kind, n in replicas.items():
        left[kind.shape.device] -= times * kind.shape.units * n
