"""What becomes of requests: each arrives once, goes from stage to stage, and settles once; all of it is counted."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from envs.rules import in_time
from envs.scenario import Scenario
from runtime.gateway.cascade import Leaving, accuracy_of_leavers
from runtime.gateway.counters import Counters
from runtime.gateway.request import GOOD, LATE, Application, Cause, Outcome, Request
from runtime.gateway.traces import Trace
from runtime.models.model import TensorSpec
from runtime.serving.replica import Tensors

log = logging.getLogger(__name__)
LIVES = 3  # replicas that a request may be lost with: one that breaks what serves it must not break them all


class Settling:
    """Requests without a fate yet, and what became of the others.

    Args:
        scenario: applications, accuracies, and after how long requests are dropped.
        leaving: when requests leave cascades.

    Attributes:
        applications: what requests are for, by name.
        counters: since the start.
    """

    def __init__(self, scenario: Scenario, leaving: Leaving) -> None:
        self._scenario, self._leaving = scenario, leaving
        self.applications = {
            name: Application(row, name, what.services, what.slo_s, what.cascade, scenario.services[what.services[0]].tenant)
            for row, (name, what) in enumerate(scenario.applications.items())
        }  # fmt: skip
        self.counters = Counters(scenario)
        self._drop_after_s = scenario.admission.drop_after_s or math.inf
        self._outstanding: dict[Request, None] = {}
        self._untold: deque[tuple[Request, Outcome]] = deque()

    def __iter__(self) -> Iterator[Request]:
        """Requests without a fate yet, in order of arrival."""
        return iter(list(self._outstanding))

    def __len__(self) -> int:
        return len(self._outstanding)

    def arrive(self, application: str, tensors: Tensors, t_s: float, patience_s: float, trace: Trace | None) -> Request:
        """A new request, at its first stage.

        Raises:
            KeyError: the scenario has no such application.
        """
        what = self.applications[application]
        request = Request(what, self.counters.offered(what.row), t_s, tensors, LIVES, min(patience_s, self._drop_after_s),
                          trace=trace)
        self.counters.at_service(request.service)
        self._outstanding[request] = None
        return request

    def answered(self, request: Request, answer: Tensors, outputs: Sequence[TensorSpec], t_s: float,
                 thresholds: Mapping[tuple[str, int], float]) -> bool:
        """A stage has answered. True: the request is at its next stage now; else it has settled, and `tell` is to be called
        once all that follows is done.

        Args:
            request: at the stage that answered.
            answer: its tensors.
            outputs: what they are.
            t_s: now.
            thresholds: of cascades, in force.
        """
        application, variant = request.application, request.variant
        what = self._scenario.variants[variant]
        self.counters.answered(request.service, variant)
        last = request.stage == len(application.services) - 1
        accuracy = what.accuracy
        if not application.cascade:
            accuracy *= request.accuracy
        elif not last:
            threshold = thresholds.get((application.name, request.stage), 1.0)
            last = self._leaving.leaves(request, threshold, outputs, answer)
            accuracy = accuracy_of_leavers(what, threshold)
        if last:
            fate = GOOD if in_time(t_s, request.arrival_s, application.slo_s) else LATE
            self.settle(request, Outcome(fate, t_s, variant, answer), accuracy)
            return False
        self.counters.at_service(application.services[request.stage + 1])
        if not application.cascade:  # a chain's next stage gets the answer; a cascade's, what the first one got
            request.accuracy, request.tensors = accuracy, answer
        request.stage += 1
        return True

    def unanswered(self, request: Request, fate: int, t_s: float, cause: Cause, details: str = "") -> None:
        """It settles without an answer."""
        self.settle(request, Outcome(fate, t_s, cause=cause, details=details))
        asyncio.get_running_loop().call_soon(self.tell)

    def settle(self, request: Request, outcome: Outcome, accuracy: float = 0.0) -> None:
        """It has its fate; `accuracy` is that of its answer."""
        self._untold.append((request, outcome))
        del self._outstanding[request]
        request.outcome = outcome
        self.counters.settled(request, outcome, accuracy)

    def tell(self) -> None:
        """Tells whoever asked what has settled. Whom there is no memory for is told the next time."""
        again = []
        while self._untold:
            request, outcome = self._untold.popleft()
            while request.then:
                try:
                    request.then[0](outcome)
                except MemoryError:
                    again.append((request, outcome))
                    break
                except Exception:
                    log.exception("what follows from a request of '%s'", request.application.name)
                del request.then[0]
        self._untold.extend(again)
