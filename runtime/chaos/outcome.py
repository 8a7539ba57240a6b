"""What became of a fault, and of a trial, in figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from runtime.chaos.faults import Fault
from runtime.chaos.history import Asked, History

AFTER_S = 3.0  # what was first sent until then after a fault counts as of its time


@dataclass(frozen=True)
class Met:
    """A fault that was done.

    Attributes:
        fault: it.
        at_s: when, Unix time.
        whom: it hit.
    """

    fault: Fault
    at_s: float
    whom: str


def figures(asked: Sequence[Asked]) -> dict[str, Any]:
    """Of all requests of a trial."""
    right = [one for one in asked if one.tries[-1].right]
    latencies_s = sorted(one.tries[-1].done_s - one.due_s for one in right)
    return {
        "requests": len(asked), "answered": len(right), "at_once": sum(len(one.tries) == 1 for one in right),
        "refused": sum(not one.tries[-1].right and one.tries[-1].status > 0 for one in asked),
        "lost": sum(one.tries[-1].status == 0 for one in asked),
        "doubled": sum(one.doubled for one in asked),
        "p99_s": latencies_s[int(0.99 * len(latencies_s))] if latencies_s else None,
    }  # fmt: skip


def outcome(met: Met, history: History, events: Sequence[dict[str, Any]], decided_s: Sequence[float]) -> dict[str, Any]:
    """Of one fault. Those that overlap share what became of the requests of their time.

    It is back when the cluster answers a request that was sent after the fault, when an autoscaler decides again, and when
    another replica is ready in the place of the one that was hit: seconds after the fault's end, or its beginning.
    """
    name, end_s = met.fault.name, met.at_s + met.fault.for_s
    about = [one for one in history.asked if met.at_s <= one.due_s < end_s + AFTER_S]
    noticed_s = back_s = None
    if "worker" in name:
        noticed_s, back_s = _replaced(met, events)
    elif name.startswith("cluster"):
        back_s = _after(end_s, (t.done_s for one in history.asked for t in one.tries if t.right and t.sent_s >= end_s))
    elif name.startswith("autoscaler"):
        back_s = _after(met.at_s, (at_s for at_s in decided_s if at_s > met.at_s))
    return {
        "name": name, "at_s": met.at_s, "for_s": met.fault.for_s, "whom": met.whom,
        "noticed_s": noticed_s, "back_s": back_s,
        "requests": len(about), "again": sum(len(one.tries) > 1 for one in about),
        "unanswered": sum(not one.tries[-1].right for one in about),
    }  # fmt: skip


def _after(from_s: float, times_s: Iterable[float]) -> float | None:
    """How long it took until the first of these times; None: there is none."""
    return min((at_s - from_s for at_s in times_s), default=None)


def _replaced(met: Met, events: Sequence[dict[str, Any]]) -> tuple[float | None, float | None]:
    """After how long the loss of the replica that was hit was noticed, and another one of its kind was ready."""
    number, later = int(met.whom.removeprefix("replica ")), [event for event in events if event["t_s"] >= met.at_s]
    failed = next((event for event in later if event["what"] == "failed" and event["replica"] == number), None)
    if failed is None:
        return None, None
    ready = (event["t_s"] for event in later
             if event["what"] == "ready" and event["t_s"] > failed["t_s"] and event["kind"] == failed["kind"])
    return failed["t_s"] - met.at_s, _after(met.at_s, ready)
