"""A portfolio: of several policies the one that earned most on training load decides, for ever.

No rule leads everywhere: a constant mix is ahead on one trace and hopeless on the next. Which one to run is told by the past
of the load that is to be served: whoever calibrates the portfolio plays each member on training windows
(`reports/protocol_tuning.py`, or `evaluate.py --calibrate`), and the name of the best one is the setting that is kept. It does
not change its mind while it runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from agents import registry
from agents.randomise import with_bursts
from envs.contract import Decision, Observation, Policy
from envs.scenario import Scenario
from traces.load import Load

MEMBERS = ("infadapter-forecast", "static-fast", "mpc", "mpc-forecast")
PLANNER = "planner"
BURSTS_PER_DAY, SEED = 24.0, 0  # laid over the load that members are tried on


class Portfolio(Policy):
    """Decides as one of its members does (`portfolio`).

    Args:
        member: one of `MEMBERS`; None: the first.
        settings: of the member; None: those that the registry makes it with.

    Attributes:
        learning: after `reset`, how the member came to decide as it does.

    Raises:
        ValueError: a member that is none; on reset, what the member raises.
    """

    learning = PLANNER
    members = MEMBERS

    def __init__(self, member: str | None = None, settings: Mapping[str, Any] | None = None) -> None:
        self.member, self.settings = member or self.members[0], settings
        if self.member not in self.members:
            raise ValueError(f"member {member}: there are {', '.join(self.members)}")

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """Which member."""
        return {"member": list(cls.members)}

    @staticmethod
    def trial(loads: Mapping[str, Load]) -> dict[str, Load]:
        """The load that members are tried on: training load, and over it a burst an hour.

        A load's past may be calmer than its future: there a constant deployment wins that no surge has met.
        """
        return with_bursts(loads, BURSTS_PER_DAY, np.random.default_rng(SEED))

    def reset(self, scenario: Scenario) -> None:
        """Starts afresh on a scenario."""
        policy = registry.make(self.member, scenario)
        self._policy = policy if self.settings is None else type(policy)(**self.settings)
        self._policy.limit_s = self.limit_s
        self._policy.reset(scenario)
        self.memory_intervals = self._policy.memory_intervals
        self.learning = getattr(self._policy, "learning", PLANNER)

    def decide(self, observation: Observation) -> Decision:
        """The member's decision."""
        return self._policy.decide(observation)
