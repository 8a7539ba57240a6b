"""A network over proposals as a policy, run by numpy alone.

Missing observations repeat the last counted load; before the first one, what runs stays. Where the load looks unlike any in
training, the scenario's planner decides.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from pathlib import Path

import numpy as np

from agents.brain import forward
from agents.manifest import AgentError, scenario_digest
from agents.proposals import moves_of
from agents.proposals_export import ProposalsManifest, read
from agents.proposals_features import MEMORY, features
from agents.proposals_rules import minded, parted, wanted
from agents.proposals_table import routed
from baselines.two_time_scales import TwoTimeScales
from envs.contract import Decision, Deployment, Observation, Policy
from envs.scenario import Scenario

STRANGE = 0.15  # share of the features beyond the range of training, at which a load is unlike any there


class ProposalsPlanner(Policy):
    """The network's replicas.

    Args:
        folder: of an exported network (`agents.proposals_export`).
        trusted: decide on loads unlike those of training too.

    Raises:
        AgentError: the folder cannot be used; on `reset`, the scenario means something else than the one trained for.
    """

    memory_intervals = MEMORY

    def __init__(self, folder: str | Path, trusted: bool = False) -> None:
        self.folder, self.trusted = Path(folder), trusted
        self.manifest, self.network = read(self.folder)

    def reset(self, scenario: Scenario) -> None:
        """Starts afresh on a scenario."""
        if scenario_digest(scenario) != self.manifest.scenario_digest:
            raise AgentError(
                f"{self.folder}: trained for '{self.manifest.scenario}', whose observations and actions differ from those of "
                f"'{scenario.name}'; train a network for it: python train.py --scenario {scenario.name} --agent proposals"
            )
        self._scenario = scenario
        self._planner: Policy | None = None
        self._moves = moves_of(scenario, self.network.proposals)
        self._extra = minded(self._moves)
        self._past: deque[np.ndarray] = deque(maxlen=MEMORY)

    def decide(self, observation: Observation) -> Decision:
        """The proposal of the greatest score, less what the move costs."""
        rps = np.array([observation.applications[name].offered_rps for name in self._scenario.applications])
        if np.isnan(rps).any():
            if not self._past:
                return Decision(observation.deployment, "no load observed yet: unchanged")
            rps = np.where(np.isnan(rps), self._past[-1], rps)
        self._past.append(rps)
        seen = self._seen()
        outside = float(((seen < self.network.low) | (seen > self.network.high)).mean())
        if outside > STRANGE and not self.trusted:
            return self._planned(observation, outside)
        score, mind = parted(forward(self.network.layers, seen))
        here = self.network.proposals.index(observation.deployment)
        there = int(wanted(score[None], mind[None], self._extra, np.array([here]))[0])
        kept = self.network.proposals.deployment(there).replicas == observation.deployment.replicas
        gain = float(score[there] - score[here])
        reason = f"proposal {there} of {len(score)} " + ("kept" if kept else f"instead of {here}, better by {gain:.3g}")
        details = {"load_rps": float(rps.sum()), "proposal": float(there), "gain": gain, "mind": float(mind)}
        return Decision(self._deployment(there), reason, details)

    def _seen(self) -> np.ndarray:
        past = np.full((MEMORY, len(self._past[-1])), math.nan)
        past[MEMORY - len(self._past) :] = self._past
        return features(past, self.network.mean_rps)

    def _planned(self, observation: Observation, outside: float) -> Decision:
        """What the planner decides; it begins when it is first needed."""
        if self._planner is None:
            self._planner = planner_of(self._scenario)
        planned = self._planner.decide(observation)
        why = f"by the planner: {outside:.0%} of what is seen is outside the range of training"
        return replace(planned, reason=f"{planned.reason}; {why}")

    def _deployment(self, entry: int) -> Deployment:
        thresholds = self._scenario.initial_deployment.thresholds
        return replace(self.network.proposals.deployment(entry), thresholds=thresholds)


class ProposalsNetwork(Policy):
    """The network as it is played: on two time scales where routes are part of a decision (`proposals-network`).

    Args:
        folder: of an exported network.
        trusted: see `ProposalsPlanner`.
    """

    def __init__(self, folder: str | Path, trusted: bool = False) -> None:
        self._replicas = ProposalsPlanner(folder, trusted)
        self.learning = self._replicas.network.learning
        self.memory_intervals = MEMORY

    @property
    def manifest(self) -> ProposalsManifest:
        """See `agents.proposals_export.ProposalsManifest`."""
        return self._replicas.manifest

    def reset(self, scenario: Scenario) -> None:
        """Starts afresh on a scenario."""
        self._playing: Policy = TwoTimeScales(self._replicas) if routed(scenario) else self._replicas
        self._playing.reset(scenario)

    def decide(self, observation: Observation) -> Decision:
        """The network's replicas, with routes where there are any."""
        return self._playing.decide(observation)


def planner_of(scenario: Scenario) -> Policy:
    """Who decides where the network is not trusted, with calibrated settings where there are some; reset."""
    from agents import registry

    lone = len(scenario.applications) == 1
    chained = any(len(application.services) > 1 for application in scenario.applications.values())
    planner = registry.make(("ipa-fast" if chained else "infadapter-fast") if lone else "alpaserve-online", scenario)
    planner.reset(scenario)
    return planner
