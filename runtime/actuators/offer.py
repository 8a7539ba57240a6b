"""The actuator for those who ask: replicas wanted of each kind, offered as a gauge, and by KEDA's protocol.

Others scale by what is offered: the HorizontalPodAutoscaler by the gauge, KEDA by `runtime.actuators.keda`. So nothing may be
offered that nobody stands by: not before the first decision, not by a process that stands by or advises, and not by one whose
loop has not come round. Then there is no series, and KEDA gets an error; neither is a 0, which would be acted upon.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily

from envs.contract import Deployment, ReplicaKind
from runtime.account import Account, Grounds
from runtime.actuators.accepted import LastAccepted
from runtime.actuators.actuator import Outcome
from runtime.clock import Clock

REPLICAS, DECIDED = "tidal_autoscaler_desired_replicas", "tidal_autoscaler_desired_replicas_decided_timestamp_seconds"
LABELS = ("kind", "variant", "device")


class Offer(LastAccepted):
    """Offers what is decided; see `runtime.actuators.actuator.Actuator`. A collector of Prometheus' client besides.

    Args:
        deployment: in force at first.
        decision_id: that it came from; "": from none.
        kinds: those that somebody scales; there are no others, and no routes (`runtime.actuators.replicas_only`).
        clock: time.
        silence_s: for so long after a decision it is stood by.
    """

    def __init__(self, deployment: Deployment, decision_id: str, kinds: Sequence[ReplicaKind], clock: Clock,
                 silence_s: float) -> None:
        super().__init__(Deployment({kind: deployment.replicas.get(kind, 0) for kind in kinds}), decision_id)
        self.kinds, self._clock, self._silence_s = tuple(kinds), clock, silence_s
        self._decided_s = float("-inf")
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []

    def tell(self, account: Account) -> None:
        """See `Actuator`. With each decision what is in force is stood by anew."""
        if account.mode != "advisory":
            with self._lock:
                self._decided_s = self._clock.now_s()
            self._changed()

    def replicas(self, kind: ReplicaKind) -> int | None:
        """How many are wanted; None: nobody stands by a number now."""
        return self.current().deployment.replicas.get(kind, 0) if self._stood_by else None

    def on_change(self, listener: Callable[[], None]) -> None:
        """Has a function called, in the thread of the decisions, when something may have changed."""
        self._listeners.append(listener)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The series of one page."""
        told = "Replicas wanted of a kind; absent while nobody stands by a number."
        wanted = GaugeMetricFamily(REPLICAS, told, labels=LABELS)
        for kind in self.kinds:
            if (count := self.replicas(kind)) is not None:
                wanted.add_metric([str(kind), "+".join(kind.variants), kind.shape.device], count)
        yield wanted
        decided = GaugeMetricFamily(DECIDED, "Unix time of the last decision that was stood by.")
        if self._decided_s > float("-inf"):
            decided.add_metric([], self._decided_s)
        yield decided

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing: the names are known to be its own."""
        return ()

    @property
    def _stood_by(self) -> bool:
        return 0 <= self._clock.now_s() - self._decided_s <= self._silence_s

    def _carry_out(self, deployment: Deployment, decision_id: str, grounds: Grounds) -> Outcome:
        if others := [str(kind) for kind in deployment.replicas if kind not in self.kinds]:
            return Outcome("refused", "", f"nobody scales {', '.join(others)}")
        return Outcome("applied")

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()
