"""What the autoscaler tells a cluster: on what grounds it changes something and, of each decision, what came of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Grounds:
    """Who decided, and why. All empty where a change came from somebody who did not say.

    Attributes:
        policy: its name.
        reason: its own, in one line.
        bounds: what the envelope changed, and why.
    """

    policy: str = ""
    reason: str = ""
    bounds: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "; ".join((": ".join(filter(None, (self.policy, self.reason))), *self.bounds))


UNSAID = Grounds()


@dataclass(frozen=True)
class Account:
    """One decision, also of those that change nothing.

    Attributes:
        decision_id: as in the journal.
        t_s: time of the decision, Unix time.
        interval_s: to the next one.
        mode: of the autoscaler: act, advisory, shadow.
        status: unchanged, advised, or what became of the action (`runtime.actuators.actuator.Status`).
        deployment: what was decided on, in words.
        grounds: who decided, and why.
        trouble: what stood in the way: why another than the policy decided, why nothing was done; "" where nothing.
    """

    decision_id: str
    t_s: float
    interval_s: float
    mode: str
    status: str
    deployment: str
    grounds: Grounds
    trouble: str = ""
