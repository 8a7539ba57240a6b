"""The order/keep network as a policy, run by numpy alone: it decides replicas slowly; routes follow what is ready.

Between an order and its completion nothing is decided but routes (`baselines.two_time_scales`). Missing observations repeat
the last counted load; before the first one, the deployment in force stays. Outside the range of
training InfAdapter decides (`agents.order_keep_trust`).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from pathlib import Path

import numpy as np

from agents.manifest import AgentError, scenario_digest
from agents.network_policy import forward
from agents.order_keep_constants import nearest
from agents.order_keep_export import read
from agents.order_keep_features import MEMORY, Question, history_features, question_features
from agents.order_keep_menu import SPREADS
from agents.order_keep_rules import Levels, at_cold_start, base_of, levels_of, wanted
from agents.order_keep_trust import CONSTANTS, NETWORK, PLANNER, outside, strange
from baselines.infadapter import InfAdapter
from baselines.two_time_scales import TwoTimeScales
from envs.contract import Decision, Observation, Policy
from envs.routes import deployment_of, hosting_of, share_out
from envs.scenario import Scenario

PRETRAINED = Path(__file__).parent / "pretrained" / "resnet-variants-order-keep-network"
SLACK_S = 1.0  # an order whose load time ends this soon after a decision is counted as done


class OrderKeepPlanner(Policy):
    """The network's replicas.

    Args:
        folder: of an exported network (`agents.order_keep_export`).
        rule: `NETWORK` or `CONSTANTS` decides always; None: the network as long as it is trusted.

    Raises:
        AgentError: the folder cannot be used; on `reset`, the scenario means something else than the one trained for.
    """

    memory_intervals = MEMORY

    def __init__(self, folder: str | Path, rule: int | None = None) -> None:
        self.folder, self.rule = Path(folder), rule
        self.manifest, self.network = read(self.folder)

    def reset(self, scenario: Scenario) -> None:
        """Starts afresh on a scenario."""
        if scenario_digest(scenario) != self.manifest.scenario_digest:
            raise AgentError(
                f"{self.folder}: trained for '{self.manifest.scenario}', whose observations and actions differ from those of "
                f"'{scenario.name}'; train a network for it: python train.py --scenario {scenario.name} --agent order-keep"
            )
        self._scenario, self._hosting = scenario, hosting_of(scenario)
        self._service = next(iter(scenario.services))
        self._full_rps = float(self.network.menu.capacity_rps.max())
        self._past: deque[float] = deque([math.nan] * MEMORY, maxlen=MEMORY)
        self._ordered_s = -math.inf
        self._planner = InfAdapter()
        self._planner.reset(scenario)

    def decide(self, observation: Observation) -> Decision:
        """Orders, or leaves all as it is."""
        rps = observation.services[self._service].offered_rps
        rps = self._past[-1] if math.isnan(rps) else rps
        if math.isnan(rps):
            return Decision(observation.deployment, "no load observed yet: unchanged")
        self._past.append(rps)
        planned = self._planner.decide(observation) if self.rule is None else None
        menu, question = self.network.menu, self._question(observation)
        here = menu.index(self._scenario, observation.deployment)
        rule, why, levels = self._ruling(rps, question)
        if left_s := self._loading_s(observation, question):
            return self._decision(here, rps, f"waits {left_s:.3g} s for what was ordered", rule)
        if rule == PLANNER and planned is not None:
            return replace(planned, reason=f"{planned.reason}{why}")
        there = int(wanted(menu, np.array([here]), Levels(*(part[None] for part in levels)))[0])
        family = menu.family[here]
        low, high = (float(np.exp(part[family])) for part in (levels.order, levels.keep))
        meant = f"{np.exp(menu.log_rps[here]):.3g} req/s, wanted {low:.3g} to {high:.3g}"
        if there != here:
            self._ordered_s = observation.t_s
        return self._decision(there, rps, f"{meant}: {'kept' if there == here else 'ordered'}{why}", rule, low, high)

    def _ruling(self, rps: float, question: Question) -> tuple[int, str, Levels]:
        """Who decides, why it is not the network, and what the levels are."""
        network = self.network
        past = np.array(self._past)
        features = history_features(past, self._full_rps)
        constants = nearest(network.constants, question.load_s)
        base = base_of(*constants.offsets(features), constants.family)
        outputs = forward(network.layers, np.concatenate([features, question_features(question)]))
        outputs = at_cold_start(outputs, question.load_s, sorted(network.constants))
        learned = levels_of(outputs, np.array(rps), base)
        constant = constants.levels(past, len(SPREADS))
        if self.rule is not None:
            return self.rule, "", (learned, constant)[self.rule]
        if outside(question, network.load_s) or strange(features, network.low, network.high):
            return PLANNER, " by the planner: outside the range of training", learned
        return NETWORK, "", learned

    def _question(self, observation: Observation) -> Question:
        weights = self._scenario.weights
        unit = weights.accuracy or 1.0
        return Question(max(observation.load_s.values()), weights.cost / unit, weights.slo / unit)

    def _loading_s(self, observation: Observation, question: Question) -> float:
        """Seconds until what was last ordered is there; 0: nothing is awaited."""
        left_s = self._ordered_s + question.load_s - observation.t_s
        return left_s if left_s > SLACK_S else 0.0

    def _decision(self, entry: int, rps: float, reason: str, rule: int, low: float = math.nan,
                  high: float = math.nan) -> Decision:
        levels = self.network.menu.levels[entry]
        shares = share_out(self._hosting, levels[None], np.array([[rps]]))[0]
        details = {"load_rps": rps, "order_rps": low, "keep_rps": high, "menu": float(entry), "rule": float(rule)}
        return Decision(deployment_of(self._scenario, levels, shares), reason,
                        {k: v for k, v in details.items() if not math.isnan(v)})


class OrderKeepNetwork(TwoTimeScales):
    """The network on two time scales, as long as it is trusted (`order-keep-network`).

    Args:
        folder: of an exported network; the one that comes with the checkout.
    """

    learning = "reward-trained"
    rule: int | None = None

    def __init__(self, folder: str | Path = PRETRAINED) -> None:
        super().__init__(OrderKeepPlanner(folder, self.rule))


class AlwaysNetwork(OrderKeepNetwork):
    """The network without the trust gate (`agents.order_keep_policy:AlwaysNetwork`)."""

    rule = NETWORK


class AlwaysConstants(OrderKeepNetwork):
    """The constants that the network corrects, alone (`agents.order_keep_policy:AlwaysConstants`)."""

    learning = "planner"
    rule = CONSTANTS


def fits(folder: Path, scenario: Scenario) -> bool:
    """Whether a network's decisions mean the same on a scenario; load times and prices may differ."""
    try:
        return read(folder)[0].scenario_digest == scenario_digest(scenario)
    except AgentError:
        return False
