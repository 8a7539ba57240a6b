"""Scalar rules shared by the compiled kernel and the live gateway.

Each is a plain Python function that numba also compiles: `docs/simulator.md` in code, one rule each.
"""

from __future__ import annotations

import math

from numba.extending import register_jitable


@register_jitable
def fewer_per_server(count_a: int, servers_a: int, count_b: int, servers_b: int) -> bool:
    """Whether a has strictly fewer requests per server than b (compared without division)."""
    return count_a * servers_b < count_b * servers_a


@register_jitable
def batch_ready(waiting: int, batch: int, t_s: float, oldest_joined_s: float, max_wait_s: float) -> bool:
    """Whether a group may start: it is full, or its oldest request has waited long enough."""
    return waiting >= batch or t_s >= oldest_joined_s + max_wait_s


@register_jitable
def expired(t_s: float, arrival_s: float, drop_after_s: float) -> bool:
    """Whether a request is too old to be worth a server."""
    return t_s - arrival_s > drop_after_s


@register_jitable
def in_time(t_s: float, arrival_s: float, slo_s: float) -> bool:
    """Whether an answer (or an expected one) at t meets the SLO."""
    return t_s - arrival_s <= slo_s


@register_jitable
def refill(tokens: float, last_s: float, t_s: float, quota_rps: float, burst: float) -> float:
    """Tokens of an admission quota's bucket at t."""
    return min(burst, tokens + (t_s - last_s) * quota_rps)


@register_jitable
def nanoseconds(seconds: float) -> int:
    """Whole nanoseconds, so that the order of a sum cannot matter."""
    return math.floor(seconds * 1e9 + 0.5)


@register_jitable
def billionths(accuracy: float) -> int:
    """Accuracy in whole billionths, for the same reason."""
    return math.floor(accuracy * 1e9 + 0.5)
