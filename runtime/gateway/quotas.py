"""Admission quotas: a token bucket for each tenant that has one."""

from __future__ import annotations

from envs.rules import refill
from envs.scenario import Tenant


class Quota:
    """The bucket of one tenant, full at the start.

    Args:
        tenant: its quota and burst.
        t_s: the start.
    """

    def __init__(self, tenant: Tenant, t_s: float) -> None:
        self._rps, self._burst = tenant.quota_rps, tenant.burst
        self._tokens, self._last_s = tenant.burst, t_s

    def take(self, t_s: float) -> bool:
        """Takes a token where there is one."""
        if self._rps is None:
            return True
        self._tokens = refill(self._tokens, self._last_s, t_s, self._rps, self._burst)
        self._last_s = t_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    @property
    def wait_s(self) -> float:
        """How long after the last attempt there will be a token."""
        return max(0.0, 1 - self._tokens) / self._rps if self._rps else 0.0
