"""What only hindsight knows: the requests of an episode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from traces.samplers import Load


@dataclass(frozen=True, eq=False)
class Future:
    """One episode to come, as `envs.episode.run_episode` takes it.

    Attributes:
        loads: what arrives, by application.
        start_s: where the episode begins in the loads, seconds.
        seed: of the requests.
        intervals: length.
        found: what hindsight has found out about it, and need not find again.
    """

    loads: Mapping[str, Load]
    start_s: float
    seed: int
    intervals: int
    found: dict[Any, Any] = field(default_factory=dict, repr=False)
