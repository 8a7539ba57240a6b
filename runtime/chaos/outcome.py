"""What became of a fault, and of a trial, in figures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import Any

from runtime.chaos.faults import Fault
from runtime.chaos.harm import SHARE
from runtime.chaos.history import Asked, Held, History, Look

AFTER_S = 3.0  # what was first sent until then after a fault counts as of its time
HEARD_S = 1.0
CAPACITY = ("cluster", "worker", "loading worker", "draining worker", "Ray node")  # beginnings of faults that keep it away
STOPPED = {"cluster hung": 1.0, "cluster starved of CPU": 1 - SHARE}  # which part of a fault's time the cluster stood still


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


def outcome(met: Met, all_met: Sequence[Met], history: History, events: Sequence[dict[str, Any]],
            decided_s: Sequence[float]) -> dict[str, Any]:
    """Of one fault of all those that were done. Those that overlap share what became of the requests of their time.

    It is noticed when the cluster says so of the replica that was hit. It is back when the cluster answers a request that was
    sent after the fault, when an autoscaler decides again, and when as many replicas of the candidate that was hit are ready
    as were wanted before, or are wanted then if those are fewer: seconds after the fault's end, or its beginning.
    `..._net_s` leaves out the time in which the cluster did not run, or was stopped by another fault. `back_last_s` counts
    from the end of the last fault that kept capacity away. `load_s` is the longest load of the replicas that brought it back.
    """
    name, end_s = met.fault.name, met.at_s + met.fault.for_s
    about = [one for one in history.asked if met.at_s <= one.due_s < end_s + AFTER_S]
    noticed_s = back_s = noticed_net_s = back_net_s = back_last_s = loaded_s = None
    if hit := [int(number) for number in re.findall(r"replica (\d+)", met.whom)]:
        if (noticed_s := _after(met.at_s, _failures(hit, met, events), max)) is not None:
            noticed_net_s = noticed_s - _stood_s(met.at_s, noticed_s, all_met, history)
            if (back_s := _after(met.at_s, _as_wanted(hit, met.at_s, met.at_s + noticed_s, history))) is not None:
                back_net_s = back_s - _stood_s(met.at_s, back_s, all_met, history)
                back_last_s = met.at_s + back_s - _last_s(met.at_s, met.at_s + back_s, all_met, history)
                loaded_s = _slowest_s(hit, met.at_s, met.at_s + back_s, history)
    elif name.startswith("cluster"):
        back_s = _after(end_s, (t.done_s for one in history.asked for t in one.tries if t.right and t.sent_s >= end_s))
    elif name.startswith("autoscaler"):
        back_s = _after(met.at_s, (at_s for at_s in decided_s if at_s > met.at_s))
    return {
        "name": name, "at_s": met.at_s, "for_s": met.fault.for_s, "whom": met.whom,
        "noticed_s": noticed_s, "noticed_net_s": noticed_net_s, "back_s": back_s, "back_net_s": back_net_s,
        "back_last_s": back_last_s, "load_s": loaded_s,
        "requests": len(about), "again": sum(len(one.tries) > 1 for one in about),
        "unanswered": sum(not one.tries[-1].right for one in about),
    }  # fmt: skip


def _loads(looks: Iterable[Look]) -> Iterator[tuple[float, Held]]:
    """When replicas that were seen to load were ready for the first time."""
    loading = set[int]()
    for look in looks:
        for replica in look.replicas:
            if replica.state == "pending":
                loading.add(replica.number)
            elif replica.state == "ready" and replica.number in loading:
                loading.remove(replica.number)
                yield look.at_s, replica


def _slowest_s(hit: Sequence[int], from_s: float, to_s: float, history: History) -> float:
    """The longest load that ended in a time, of the candidates that replicas were lost of; 0: none did."""
    about = _candidates(hit, history)
    return max((at_s - replica.started_s for at_s, replica in _loads(history.looks)
                if from_s < at_s <= to_s and replica.candidate in about), default=0.0)


def _last_s(from_s: float, to_s: float, all_met: Sequence[Met], history: History) -> float:
    """When the last fault was over that kept capacity away in a time; one of the cluster is over once it serves again."""
    ends_s = [met.at_s + met.fault.for_s for met in all_met if met.fault.name.startswith(CAPACITY)]
    serves_s = [after.at_s for look, after in pairwise(history.looks) if not look.serving]
    return max(end_s for end_s in [from_s, *ends_s, *serves_s] if from_s <= end_s <= to_s)


def _after(from_s: float, times_s: Iterable[float], which: Callable[..., float | None] = min) -> float | None:
    """How long it took until the first of these times; None: there is none."""
    return which((at_s - from_s for at_s in times_s), default=None)


def _failures(hit: Sequence[int], met: Met, events: Sequence[dict[str, Any]]) -> list[float]:
    """When the cluster noticed that replicas were lost. What is over can be noticed for a while only."""
    to_s = met.at_s + met.fault.for_s + HEARD_S if met.fault.for_s else inf
    return [event["t_s"] for event in events
            if event["what"] == "failed" and event["replica"] in hit and met.at_s <= event["t_s"] <= to_s]


def _as_wanted(hit: Sequence[int], at_s: float, from_s: float, history: History) -> Iterator[float]:
    """When, from a time on, as many were ready as were wanted at another, of each candidate that some were lost of."""
    about = _candidates(hit, history)
    before = [look for look in history.looks if look.at_s <= at_s][-1].wanted
    for look in history.looks:
        ready = Counter(replica.candidate for replica in look.replicas if replica.state == "ready")
        if look.at_s > from_s and look.serving and all(
                ready[candidate] >= min(before[candidate], look.wanted[candidate]) for candidate in about):
            yield look.at_s


def _candidates(hit: Sequence[int], history: History) -> set[int]:
    return {replica.candidate for look in history.looks for replica in look.replicas if replica.number in hit}


def _stood_s(from_s: float, for_s: float, all_met: Sequence[Met], history: History) -> float:
    """How much of a time the cluster did not run, or was stopped by a fault."""
    to_s = from_s + for_s
    stood_s = sum(STOPPED.get(met.fault.name, 0.0) * _shared_s(met.at_s, met.at_s + met.fault.for_s, from_s, to_s)
                  for met in all_met)
    return stood_s + sum(_shared_s(look.at_s, after.at_s, from_s, to_s)
                         for look, after in pairwise(history.looks) if not look.serving)


def _shared_s(begin_s: float, end_s: float, from_s: float, to_s: float) -> float:
    return max(0.0, min(end_s, to_s) - max(begin_s, from_s))
