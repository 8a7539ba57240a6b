"""The order/keep network as a policy, run by numpy alone: it decides replicas slowly; routes follow what is ready.

Between an order and its completion nothing is decided but routes (`baselines.two_time_scales`). Missing observations repeat
the last counted load; before the first one, the deployment in force stays.
"""

from __future__ import annotations

import math
from collections import deque
from pathlib import Path

import numpy as np

from agents.manifest import AgentError, scenario_digest
from agents.network_policy import forward
from agents.order_keep_export import read
from agents.order_keep_features import MEMORY, Question, history_features, question_features
from agents.order_keep_rules import levels_of, wanted
from baselines.two_time_scales import TwoTimeScales
from envs.contract import Decision, Observation, Policy
from envs.routes import deployment_of, hosting_of, share_out
from envs.scenario import Scenario

SLACK_S = 1.0  # an order whose load time ends this soon after a decision is counted as done


class OrderKeepPlanner(Policy):
    """The network's replicas.

    Args:
        folder: of an exported network (`agents.order_keep_export`).

    Raises:
        AgentError: the folder cannot be used; on `reset`, the scenario means something else than the one trained for.
    """

    memory_intervals = MEMORY

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.manifest, self.layers, self.menu, self.response = read(self.folder)

    def reset(self, scenario: Scenario) -> None:
        """Starts afresh on a scenario."""
        if scenario_digest(scenario) != self.manifest.scenario_digest:
            raise AgentError(
                f"{self.folder}: trained for '{self.manifest.scenario}', whose observations and actions differ from those of "
                f"'{scenario.name}'; train a network for it: python train.py --scenario {scenario.name} --agent order-keep"
            )
        self._scenario, self._hosting = scenario, hosting_of(scenario)
        self._service = next(iter(scenario.services))
        self._full_rps = float(self.menu.capacity_rps.max())
        self._past: deque[float] = deque([math.nan] * MEMORY, maxlen=MEMORY)
        self._ordered_s = -math.inf

    def decide(self, observation: Observation) -> Decision:
        """Orders, or leaves all as it is."""
        rps = observation.services[self._service].offered_rps
        rps = self._past[-1] if math.isnan(rps) else rps
        if math.isnan(rps):
            return Decision(observation.deployment, "no load observed yet: unchanged")
        self._past.append(rps)
        here = self.menu.index(self._scenario, observation.deployment)
        if left_s := self._loading_s(observation):
            return self._decision(here, rps, f"waits {left_s:.3g} s for what was ordered")
        question = Question(max(observation.load_s.values()), *self._prices())
        seen = np.concatenate([history_features(np.array(self._past), self._full_rps), question_features(question)])
        levels = levels_of(forward(self.layers, seen), np.array(rps))
        there = int(wanted(self.menu, np.array([here]), type(levels)(*(part[None] for part in levels)))[0])
        family = self.menu.family[here]
        low, high = (float(np.exp(part[family])) for part in (levels.order, levels.keep))
        meant = float(np.exp(self.menu.log_rps[here]))
        if there == here:
            return self._decision(here, rps, f"{meant:.3g} req/s lies between {low:.3g} and {high:.3g}: kept", low, high)
        self._ordered_s = observation.t_s
        return self._decision(there, rps, f"{meant:.3g} req/s, wanted {low:.3g} to {high:.3g}: ordered", low, high)

    def _prices(self) -> tuple[float, float]:
        weights = self._scenario.weights
        unit = weights.accuracy or 1.0
        return weights.cost / unit, weights.slo / unit

    def _loading_s(self, observation: Observation) -> float:
        """Seconds until what was last ordered is there; 0: nothing is awaited."""
        left_s = self._ordered_s + max(observation.load_s.values()) - observation.t_s
        return left_s if left_s > SLACK_S else 0.0

    def _decision(self, entry: int, rps: float, reason: str, low: float = math.nan, high: float = math.nan) -> Decision:
        levels = self.menu.levels[entry]
        shares = share_out(self._hosting, levels[None], np.array([[rps]]))[0]
        details = {"forecast_rps": rps, "order_rps": low, "keep_rps": high, "menu": float(entry)}
        return Decision(deployment_of(self._scenario, levels, shares), reason,
                        {k: v for k, v in details.items() if not math.isnan(v)})


class OrderKeepNetwork(TwoTimeScales):
    """The network on two time scales (`order-keep-network`).

    Args:
        folder: of an exported network.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__(OrderKeepPlanner(folder))


def fits(folder: Path, scenario: Scenario) -> bool:
    """Whether a network's decisions mean the same on a scenario; load times and prices may differ."""
    try:
        return read(folder)[0].scenario_digest == scenario_digest(scenario)
    except AgentError:
        return False

