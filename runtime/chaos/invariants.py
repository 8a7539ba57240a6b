"""What must hold whatever goes wrong: pure functions from a history to what it breaks, in one line each."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

from runtime.chaos.history import Begun, History, Intent

MOST_TIMES_BUDGET = 2  # an old replica goes when its successor is ready: for so long both are held
LOOKS_BELOW = 3  # in a row, that make it more than a moment between two steps

Invariant = Callable[[History], Iterator[str]]


def answered_or_refused(history: History) -> Iterator[str]:
    """Every request has one right answer, or was refused, with a reason, when it was sent last."""
    for asked in history.asked:
        last = asked.tries[-1]
        if asked.doubled:
            yield f"request {asked.number}: answered more than once"
        elif last.status == 200 and not last.right:
            yield f"request {asked.number}: another answer than its own: {last.told}"
        elif last.status == 0:
            yield f"request {asked.number}: no answer to {len(asked.tries)} tries: {last.told}"
        elif not last.right and not last.told:
            yield f"request {asked.number}: {last.status} without a reason"


def executed_once(history: History) -> Iterator[str]:
    """A request is begun once each time that it is sent, and once more for each worker that was lost with it.

    A worker counts as lost with it where another one began it afterwards, and the first began nothing from then on.
    """
    tries = {asked.number: len(asked.tries) for asked in history.asked}
    last_s, begun = dict[int, float](), defaultdict[int, list[Begun]](list)
    for batch in history.begun:
        last_s[batch.pid] = batch.at_s
        for number in batch.numbers:
            begun[number].append(batch)
    for number, batches in begun.items():
        lost = sum(last_s[batch.pid] <= after.at_s for batch, after in pairwise(batches) if batch.pid != after.pid)
        if len(batches) > tries.get(number, 0) + lost:
            yield (f"request {number}: begun {len(batches)} times, sent {tries.get(number, 0)} times, "
                   f"{lost} workers were lost with it")


def within_bounds(history: History) -> Iterator[str]:
    """No accepted deployment is over the budget, or below the operator's floor."""
    floor = history.limits.min_levels or ()
    for version in history.versions:
        for name, device in history.scenario.devices.items():
            if (units := version.deployment.units(name)) > device.budget:
                yield f"version {version.number}: {units} {name} of a budget of {device.budget}"
        for number, (level, least) in enumerate(zip(history.scenario.levels(version.deployment), floor)):
            if level < least:
                yield f"version {version.number}: candidate {number} at {level}, below its floor of {least}"


def nothing_runs_away(history: History) -> Iterator[str]:
    """Replicas never hold more than budgets that overlap, nor do those that come and serve fall below the floor."""
    most = MOST_TIMES_BUDGET * sum(device.budget for device in history.scenario.devices.values())
    floor, below = history.limits.min_levels or (), Counter[int]()
    for look in history.looks:
        if (held := sum(replica.units for replica in look.replicas)) > most:
            yield f"at {look.at_s:.3f}: {held} units are held, of at most {most}"
        there = Counter(r.candidate for r in look.replicas if r.state in ("pending", "ready"))
        for number, least in enumerate(floor):
            below[number] = below[number] + 1 if look.serving and there[number] < least else 0
            if below[number] == LOOKS_BELOW:
                yield f"at {look.at_s:.3f}: {there[number]} replicas of candidate {number}, below its floor of {least}"


def changes_per_window(history: History) -> Iterator[str]:
    """The autoscaler moves no candidate further within the window than the operator lets it, from where others may have put
    it by hand.
    """
    limits, intents = history.limits, {intent.decision_id: intent for intent in history.intents}
    done = [intents[v.decision_id] for v in history.versions if v.decision_id in intents] if history.journal_whole else []
    for number, intent in enumerate(done):
        after, befores = history.scenario.levels(intent.after), _recent(done[:number], intent, history)
        for candidate, level in enumerate(after):
            now = befores[-1][candidate]
            low, high = (pick(before[candidate] for before in befores) for pick in (min, max))
            if limits.max_rise is not None and level > max(low + limits.max_rise, now):
                yield f"decision {intent.decision_id}: candidate {candidate} rises from {low} to {level} in the window"
            if limits.max_fall is not None and level < min(high - limits.max_fall, now):
                yield f"decision {intent.decision_id}: candidate {candidate} falls from {high} to {level} in the window"


def _recent(done: list[Intent], intent: Intent, history: History) -> list[tuple[int, ...]]:
    """Levels that were in force before each change of the window, and now."""
    since_s = intent.t_s - history.limits.change_window_s
    return [history.scenario.levels(i.before) for i in (*(d for d in done if d.t_s > since_s), intent)]


def decided_once(history: History) -> Iterator[str]:
    """No decision is carried out twice, none without having been journaled, and versions are what they were."""
    by_number: dict[int, str] = {}
    for version in history.versions:
        if by_number.setdefault(version.number, version.decision_id) != version.decision_id:
            yield f"version {version.number} is of two decisions: {by_number[version.number]}, {version.decision_id}"
    ids = Counter(identity for identity in by_number.values() if identity)
    yield from (f"decision {identity} was carried out {times} times" for identity, times in ids.items() if times > 1)
    if history.journal_whole:
        known = {intent.decision_id for intent in history.intents}
        yield from (f"decision {identity} was carried out and never journaled" for identity in ids
                    if identity not in known and "/claim-" not in identity)
    for intent in history.intents:
        if intent.status == "applied" and by_number and intent.decision_id not in ids and intent.before != intent.after:
            yield f"decision {intent.decision_id} is applied by the journal, and no version is of it"


def one_identity(history: History) -> Iterator[str]:
    """No number is given to two replicas, no process to two numbers."""
    started: dict[int, float] = {}
    owner: dict[tuple[int, int], int] = {}
    for look in history.looks:
        for replica in look.replicas:
            if started.setdefault(replica.number, replica.started_s) != replica.started_s:
                yield f"replica {replica.number} was started twice"
            for process in replica.processes:
                if owner.setdefault(process, replica.number) != replica.number:
                    yield f"process {process[0]} is of the replicas {owner[process]} and {replica.number}"


def advice_is_not_acted_on(history: History) -> Iterator[str]:
    """No version is of a decision of the autoscaler that may only advise."""
    yield from (f"version {v.number} is of the advised decision {v.decision_id}" for v in history.versions
                if v.decision_id in history.advised)


def all_is_well_in_the_end(history: History) -> Iterator[str]:
    """When the faults are over, what is wanted comes to be; and what was started, ends."""
    if not history.settled:
        yield "when all faults were over, the replicas that are wanted did not come to be ready"
    yield from (f"left over: {command}" for command in history.left)


INVARIANTS: Mapping[str, Invariant] = {
    "answered or refused": answered_or_refused, "executed once": executed_once, "within bounds": within_bounds,
    "nothing runs away": nothing_runs_away, "changes per window": changes_per_window, "decided once": decided_once,
    "one identity": one_identity, "advice is not acted on": advice_is_not_acted_on,
    "all is well in the end": all_is_well_in_the_end,
}


def broken(history: History) -> list[str]:
    """What a history breaks."""
    return [f"{name}: {text}" for name, invariant in INVARIANTS.items() for text in invariant(history)]
