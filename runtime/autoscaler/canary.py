"""A new policy decides for a share of the time, in turns, and no more once too many requests violate their SLO in one of them.

The turns of both are spread evenly over the time, by Unix time alone, so that whoever goes on with a journal goes on with the
turn. Whoever is not on duty sees every observation. Whose decision one is stands in the journal, as for any policy (`by`).
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable

from envs.contract import Observation
from runtime.autoscaler.policy_host import PolicyHost, Proposal

TURN_INTERVALS = 20

log = logging.getLogger("tidal.autoscaler")


class CanaryHost(PolicyHost):
    """Hosts both policies, as one `PolicyHost` does one.

    Args:
        acting: the policy that has proved itself.
        canary: the new one.
        share: of the time, in [0, 1].
        violation_limit: the canary is withdrawn when it was on duty and an application's ratio of violations was above it.
        interval_s: between decisions.

    Attributes:
        withdrawn: why it decides no more; "": it does.
    """

    def __init__(self, acting: PolicyHost, canary: PolicyHost, share: float, violation_limit: float,
                 interval_s: float) -> None:
        self._acting, self._canary, self._share, self._limit = acting, canary, share, violation_limit
        self._turn_s = TURN_INTERVALS * interval_s
        self._was_canary = False
        self.withdrawn = ""

    @property
    def open(self) -> bool:
        """True while a baseline decides in place of the acting policy."""
        return self._acting.open

    @property
    def failures(self) -> Counter[str]:  # type: ignore[override]  # of both
        """How often they failed, by cause."""
        return self._acting.failures + self._canary.failures

    @property
    def memory_intervals(self) -> int:
        """Past observations that both need after a restart."""
        return max(self._acting.memory_intervals, self._canary.memory_intervals)

    def remember(self, observations: Iterable[Observation]) -> None:
        """See `PolicyHost`."""
        seen = list(observations)
        for host in (self._acting, self._canary):
            host.remember(seen)

    def propose(self, observation: Observation) -> Proposal:
        """See `PolicyHost`."""
        worst = max((row.violation_ratio for row in observation.applications.values()
                     if not math.isnan(row.violation_ratio)), default=0.0)
        if self._was_canary and worst > self._limit and not self.withdrawn:
            self.withdrawn = f"{worst:.3g} of the requests violated their SLO in its turn"
            log.error("the canary is withdrawn: %s", self.withdrawn)
        self._was_canary = not self.withdrawn and self.on_duty(observation.t_s)
        host, other = (self._canary, self._acting) if self._was_canary else (self._acting, self._canary)
        other.remember([observation])
        return host.propose(observation)

    def on_duty(self, t_s: float) -> bool:
        """Whether a time is in one of the canary's turns."""
        turn = math.floor(t_s / self._turn_s + 1e-9)
        return math.floor((turn + 1) * self._share) > math.floor(turn * self._share)

    def close(self) -> None:
        """Ends the threads of both."""
        self._acting.close()
        self._canary.close()
