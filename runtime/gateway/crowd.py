"""All clients together, over HTTP and gRPC: room for their bodies, and the pace at which they are turned away."""

from __future__ import annotations

from runtime.gateway.limits import Limits

NO_MEMORY = "no memory for it now; send it again"
TOO_MUCH = "too much is being sent by all clients together"


class Crowd:
    """What clients share of the limits.

    Attributes:
        left_bytes: room for more of bodies, which keep theirs until their requests are answered; below 0: it was too much.
        turned_away: requests that have yet to be told so.
    """

    def __init__(self, limits: Limits) -> None:
        self.left_bytes, self.turned_away = limits.bodies_bytes, 0
        self._refusals_per_s = limits.refusals_per_s

    @property
    def pause_s(self) -> float:
        """After which one more who is turned away is told so."""
        return (self.turned_away + 1) / self._refusals_per_s
