"""The order/keep network as a policy, run by numpy alone: it decides replicas slowly; routes follow what is ready.

Between an order and its completion nothing is decided but routes (`baselines.two_time_scales`). Missing observations repeat
the last counted load; before the first one, the deployment in force stays. Where the network is not trusted
(`agents.order_keep_trust`), InfAdapter on two time scales decides, with its calibrated settings.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from agents.manifest import AgentError, scenario_digest
from agents.network_policy import forward
from agents.order_keep_constants import nearest
from agents.order_keep_export import read
from agents.order_keep_features import MEMORY, Question, history_features, question_features
from agents.order_keep_menu import FAST_MARGIN
from agents.order_keep_rules import NEVER_CALM, Levels, at_cold_start, corrected, first_of, levels_of, wanted
from agents.order_keep_trust import doubt
from baselines.two_time_scales import TwoTimeScales
from envs.contract import Decision, Observation, Policy
from envs.routes import deployment_of, hosting_of, share_out
from envs.scenario import Scenario

PRETRAINED = Path(__file__).parent / "pretrained" / "resnet-variants-order-keep-network"
NETWORK, CONSTANTS = 0, 1  # who says the levels
INITIAL = 0  # entry of the menu
SLACK_S = 1.0  # an order whose load time ends this soon after a decision is counted as done


class OrderKeepPlanner(Policy):
    """The network's replicas.

    Args:
        folder: of an exported network (`agents.order_keep_export`).
        rule: whether the network says the levels, or the constants that it corrects.
        gated: whether somebody else decides while it is not to be trusted.

    Attributes:
        doubt: why the network was not to be trusted with the last observation; empty: it was.

    Raises:
        AgentError: the folder cannot be used; on `reset`, the scenario means something else than the one trained for.
    """

    memory_intervals = MEMORY

    def __init__(self, folder: str | Path, rule: int = NETWORK, gated: bool = False) -> None:
        self.folder, self.rule, self.gated = Path(folder), rule, gated
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
        self._ordered_s, self._begun, self._entry = -math.inf, False, INITIAL
        self.doubt = ""

    def decide(self, observation: Observation) -> Decision:
        """Orders, or leaves all as it is."""
        rps = observation.services[self._service].offered_rps
        rps = self._past[-1] if math.isnan(rps) else rps
        if math.isnan(rps):
            return Decision(observation.deployment, "no load observed yet: unchanged")
        self._past.append(rps)
        menu, question = self.network.menu, self._question(observation)
        levels = self._levels(rps, question)
        here = menu.index(self._scenario, observation.deployment, self._entry, int(levels.family.argmax()))
        if left_s := self._loading_s(observation, question):
            return self._decision(here, rps, f"waits {left_s:.3g} s for what was ordered")
        there = int(wanted(menu, np.array([here]), Levels(*(part[None] for part in levels)))[0])
        if not self._begun and here == INITIAL and (first := self._first(question)) is not None:
            there = first
        self._begun = True
        family = menu.family[here]
        low, high = (float(np.exp(part[family])) for part in (levels.order, levels.keep))
        meant = f"{np.exp(menu.log_rps[here]):.3g} req/s, wanted {low:.3g} to {high:.3g}"
        if there != here and not (self.gated and self.doubt):
            self._ordered_s = observation.t_s
        return self._decision(there, rps, f"{meant}: {'kept' if there == here else 'ordered'}", low, high)

    def _levels(self, rps: float, question: Question) -> Levels:
        network, past = self.network, np.array(self._past)
        features = history_features(past, self._full_rps)
        self.doubt = doubt(network, features, question)
        near_s = nearest(network.constants, question.load_s)
        constants, now_rps = network.constants[near_s], np.array(rps)
        if self.rule == CONSTANTS:
            return constants.levels(features, now_rps, network.menu)
        outputs = forward(network.layers, np.concatenate([features, question_features(question)]))
        outputs = corrected(at_cold_start(outputs, question.load_s, sorted(network.constants)), features, network.calm[near_s])
        return levels_of(outputs, now_rps, constants.base(features, now_rps, network.menu))

    def _first(self, question: Question) -> int | None:
        constants = self.network.constants
        return first_of(self.network.menu, constants[nearest(constants, question.load_s)].family)

    def _question(self, observation: Observation) -> Question:
        weights = self._scenario.weights
        unit = weights.accuracy or 1.0
        return Question(max(observation.load_s.values()), weights.cost / unit, weights.slo / unit)

    def _loading_s(self, observation: Observation, question: Question) -> float:
        """Seconds until what was last ordered is there; 0: nothing is awaited."""
        left_s = self._ordered_s + question.load_s - observation.t_s
        return left_s if left_s > SLACK_S else 0.0

    def _decision(self, entry: int, rps: float, reason: str, low: float = math.nan, high: float = math.nan) -> Decision:
        self._entry = entry
        levels = self.network.menu.levels[entry]
        shares = share_out(self._hosting, levels[None], np.array([[rps]]))[0]
        details = {"load_rps": rps, "order_rps": low, "keep_rps": high, "menu": float(entry)}
        return Decision(deployment_of(self._scenario, levels, shares), reason,
                        {k: v for k, v in details.items() if not math.isnan(v)})


class OrderKeepNetwork(Policy):
    """The network on two time scales as long as it is trusted, else the planner (`order-keep-network`).

    Args:
        folder: of an exported network; the one that comes with the checkout.

    Attributes:
        learning: "planner" where the network is not to correct anything: at any cold start, after `reset` at the scenario's.
    """

    memory_intervals = MEMORY

    def __init__(self, folder: str | Path = PRETRAINED) -> None:
        self._slow = OrderKeepPlanner(folder, gated=True)
        self.manifest, network = self._slow.manifest, self._slow.network
        self._correcting = {s for s, calm in network.calm.items() if calm < NEVER_CALM and s not in network.planned_s}
        self.learning = "reward-trained" if self._correcting else "planner"
        self._network = TwoTimeScales(self._slow, FAST_MARGIN)
        self._planner = TwoTimeScales(**self.manifest.planner)

    def reset(self, scenario: Scenario) -> None:
        """Starts afresh on a scenario."""
        self._network.reset(scenario)
        self._planner.reset(scenario)
        near_s = nearest(self._slow.network.constants, max(map(scenario.load_s, scenario.kinds)))
        self.learning = "reward-trained" if near_s in self._correcting else "planner"

    def decide(self, observation: Observation) -> Decision:
        """Both see all; one decides."""
        learned, planned = self._network.decide(observation), self._planner.decide(observation)
        if not self._slow.doubt:
            return learned
        return replace(planned, reason=f"{planned.reason}; by the planner: {self._slow.doubt}")


class AlwaysNetwork(TwoTimeScales):
    """The network without the trust gate (`agents.order_keep_policy:AlwaysNetwork`)."""

    learning = "reward-trained"
    rule = NETWORK

    def __init__(self, folder: str | Path = PRETRAINED) -> None:
        super().__init__(OrderKeepPlanner(folder, self.rule), FAST_MARGIN)

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """Nothing: its settings came with the training."""
        return {}


class AlwaysConstants(AlwaysNetwork):
    """The constants that the network corrects, alone (`agents.order_keep_policy:AlwaysConstants`)."""

    learning = "planner"
    rule = CONSTANTS


def fits(folder: Path, scenario: Scenario) -> bool:
    """Whether a network's decisions mean the same on a scenario; load times and prices may differ."""
    try:
        return read(folder)[0].scenario_digest == scenario_digest(scenario)
    except AgentError:
        return False
