"""A portfolio: of several policies the one that earned most on training load decides, for ever.

No rule leads everywhere: a constant mix is ahead on one trace and hopeless on the next. Which one to run is told by the past
of the load that is to be served: whoever calibrates the portfolio plays each member on training windows
(`reports/protocol_tuning.py`, or `evaluate.py --calibrate`), and the name of the best one is the setting that is kept. It does
not change its mind while it runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agents import registry
from envs.contract import Decision, Observation, Policy
from envs.scenario import Scenario

MEMBERS = ("infadapter-hold", "static-fast", "infadapter-forecast", "mpc-forecast", "order-keep-network")
PLANNER = "planner"


class Portfolio(Policy):
    """Decides as one of its members does (`portfolio`).

    Args:
        member: one of `MEMBERS`.
        settings: of the member; None: those that the registry makes it with.

    Attributes:
        learning: after `reset`, how the member came to decide as it does.

    Raises:
        ValueError: a member that is none; on reset, what the member raises.
    """

    learning = PLANNER
    members = MEMBERS

    def __init__(self, member: str = MEMBERS[0], settings: Mapping[str, Any] | None = None) -> None:
        if member not in MEMBERS:
            raise ValueError(f"member {member}: there are {', '.join(MEMBERS)}")
        self.member, self.settings = member, settings

    @classmethod
    def space(cls, scenario: Scenario) -> Mapping[str, Sequence[Any]]:
        """Which member: of those that are made for the scenario."""
        return {"member": [name for name in MEMBERS if _made(name, scenario)]}

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


def _made(name: str, scenario: Scenario) -> bool:
    try:
        registry.make(name, scenario)
    except LookupError:
        return False
    return True
