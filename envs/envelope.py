"""The envelope: safety rules that every decision passes, live and in evaluation. Pure functions; nothing is remembered here.

`project` makes a deployment feasible: within each device type's budget, and placed on its nodes. `guard` holds a
decision within an operator's limits (bounds, change per window, cool-down, no loss of capacity in a panic, no change on
missing or stale observations), then projects it. What `guard` needs of the past is passed in and handed back, so that
whoever journals decisions can journal that too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from envs.contract import Decision, Deployment, Observation, ReplicaKind, Route
from envs.room import affordable, hosts, placed
from envs.scenario import Scenario
from envs.waking import woken

Moves = dict[tuple[ReplicaKind, ReplicaKind], int]  # (kind wanted, kind given) -> replicas
Slot = int | ReplicaKind  # a candidate by index, or a kind that is no candidate: what has a level


def project(deployment: Deployment, scenario: Scenario) -> tuple[Deployment, tuple[str, ...]]:
    """The nearest feasible deployment, and what was changed.

    Feasible: each device type holds at most its budget, first-fit-decreasing places every replica whole on a node
    (without `nodes`: one node as large as the budget; on cpu the node's memory counts too), and all together cost at most
    the scenario's `price_limit`.

    The rule: replicas that no node can hold are lowered until one can. Then replicas on the device type are lowered one
    step at a time, until all are placed; then, while all cost too much, those on any device type. A step takes one replica
    to the next smaller size of its candidate, or away. The step that loses the least capacity x accuracy per unit freed
    (on any device type: per price freed) goes first; a step that takes a service's last replica off the device type (or
    off all) goes after all others; ties go to the largest replica, then to the lowest kind. A lowered replica takes its
    part of its kind's share of the routes along; the part of one taken away is spread over the rest.

    A feasible deployment is returned as it is; projecting twice is projecting once. The order of steps does not depend
    on the budget: of two budgets that hold each replica by itself, the smaller never leaves a candidate more.

    Returns:
        The deployment, and a note for each kind that was lowered ("2 x resnet50 @8c -> resnet50 @6c").
    """
    moves: Moves = {(kind, kind): n for kind, n in deployment.replicas.items()}
    for wanted, given in tuple(moves):
        while not _can_run(given, scenario):
            smaller = _smaller(given, scenario)
            _move(moves, wanted, given, smaller, moves[wanted, given])
            if smaller is None:
                break
            given = smaller
    while short := _too_much(_held(moves), scenario):
        wanted, given = _least_loss(moves, short, scenario)
        _move(moves, wanted, given, _smaller(given, scenario), 1)
    if all(wanted == given for wanted, given in moves) and _held(moves) == deployment.replicas:
        return deployment, ()
    return replace(deployment, replicas=_held(moves), routes=_rerouted(deployment, moves)), _lowered(deployment, moves)


def _held(moves: Moves) -> dict[ReplicaKind, int]:
    held: dict[ReplicaKind, int] = {}
    for (_, given), n in moves.items():
        held[given] = held.get(given, 0) + n
    return held


def _move(moves: Moves, wanted: ReplicaKind, given: ReplicaKind, to: ReplicaKind | None, n: int) -> None:
    """Takes n replicas from one kind to another, or away."""
    moves[wanted, given] -= n
    if not moves[wanted, given]:
        del moves[wanted, given]
    if to is not None:
        moves[wanted, to] = moves.get((wanted, to), 0) + n


def _smaller(kind: ReplicaKind, scenario: Scenario) -> ReplicaKind | None:
    """The next smaller size of the candidate that the kind belongs to; None: only away."""
    sizes = (k for c in scenario.candidates if c.sized for k in c.kinds
             if replace(k, shape=kind.shape) == kind and k.shape.units < kind.shape.units)
    return max(sizes, key=lambda k: k.shape.units, default=None)


def _can_run(kind: ReplicaKind, scenario: Scenario) -> bool:
    """True where an empty node can hold one replica."""
    device = scenario.devices.get(kind.shape.device)
    if device is None or any(v not in scenario.variants for v in kind.variants):
        return False
    room = min(device.budget, max(device.nodes, default=device.budget))
    return kind.shape.units <= room and scenario.memory_bytes(kind) <= device.memory_bytes


def _too_much(held: Mapping[ReplicaKind, int], scenario: Scenario) -> set[str]:
    """The device types of which something is to be given up: one without room for all, or all where they cost too much."""
    devices = sorted({kind.shape.device for kind in held})
    short = next(({name} for name in devices if not placed(held, name, scenario)), set())
    return short if short or affordable(held, scenario) else set(devices)


def _least_loss(moves: Moves, short: set[str], scenario: Scenario) -> tuple[ReplicaKind, ReplicaKind]:
    """The step to take next on these device types."""
    held = {k: n for k, n in _held(moves).items() if k.shape.device in short}
    price = {name: scenario.devices[name].price if len(short) > 1 else 1.0 for name in short}
    left = {name: sum(n for k, n in held.items() if hosts(k, name, scenario)) for name in scenario.services}

    def rank(move: tuple[ReplicaKind, ReplicaKind]) -> tuple[bool, float, int, ReplicaKind, ReplicaKind]:
        wanted, given = move
        smaller = _smaller(given, scenario)
        last = smaller is None and any(left[name] == 1 and hosts(given, name, scenario) for name in left)
        freed = (given.shape.units - (smaller.shape.units if smaller else 0)) * price[given.shape.device]
        lost = worth(given, scenario) - (worth(smaller, scenario) if smaller else 0.0)
        return last, lost / freed if freed else -math.inf, -given.shape.units, given, wanted

    return min((move for move in moves if move[1].shape.device in short), key=rank)


def worth(kind: ReplicaKind, scenario: Scenario) -> float:
    """Capacity x accuracy of one replica, with its best variant; 0 where the scenario has no profile of it."""
    try:
        return max(scenario.capacity_rps(kind, v) * scenario.variants[v].accuracy for v in kind.variants)
    except ValueError:
        return 0.0


def _rerouted(deployment: Deployment, moves: Moves) -> dict[str, dict[Route, float]]:
    """Routes in which each replica takes its part of its kind's share along; a service that loses all shares has no routes."""
    routes: dict[str, dict[Route, float]] = {}
    for service, shares in deployment.routes.items():
        kept: dict[Route, float] = {}
        for (kind, variant), share in shares.items():
            for (wanted, given), n in moves.items():
                if wanted == kind and share > 0:
                    kept[given, variant] = kept.get((given, variant), 0.0) + share * n / deployment.replicas[kind]
        total = sum(kept.values())
        if total > 0:
            routes[service] = {route: share / total for route, share in kept.items()}
    return routes


def _lowered(deployment: Deployment, moves: Moves) -> tuple[str, ...]:
    notes = [f"{n} x {wanted} -> {given}" for (wanted, given), n in sorted(moves.items()) if wanted != given]
    for kind, n in deployment.replicas.items():
        gone = n - sum(m for (wanted, _), m in moves.items() if wanted == kind)
        if gone:
            notes.append(f"{gone} x {kind} dropped")
    return tuple(notes)


@dataclass(frozen=True)
class Limits:
    """An operator's limits. A *level* is a candidate's count, or the place of its size (`Scenario.levels`).

    A kind that is no candidate has a level of its own, its count; bounds do not apply to it.

    Attributes:
        min_levels, max_levels: bounds, one for each candidate (None: no bound).
        max_rise: levels that each candidate may rise above its lowest level in the window (None: any number).
        max_fall: levels that each candidate may fall below its highest level in the window (None: any number).
        change_window_s: length of that window; 0 compares with the deployment in force only.
        rise_cooldown_s, fall_cooldown_s: after a change of replicas, no level rises (falls) for this long.
        max_age_s: an observation older than this is stale (None: older than its own interval).
        panic_violation_ratio: an application with at least this ratio of violations is in panic (None: never).
        panic_window_s: a panic lasts until it has not been seen for this long.
    """

    min_levels: tuple[int, ...] | None = None
    max_levels: tuple[int, ...] | None = None
    max_rise: int | None = None
    max_fall: int | None = None
    change_window_s: float = 0.0
    rise_cooldown_s: float = 0.0
    fall_cooldown_s: float = 0.0
    max_age_s: float | None = None
    panic_violation_ratio: float | None = None
    panic_window_s: float = 60.0

    def at(self, t_s: float) -> Limits:
        """What holds at a time: these, always; `runtime.autoscaler.schedule` has others."""
        return self

    @property
    def memory_s(self) -> float:
        """For how long the past matters."""
        panic_s = self.panic_window_s if self.panic_violation_ratio is not None else 0.0
        return max(self.change_window_s, self.rise_cooldown_s, self.fall_cooldown_s, panic_s)


@dataclass(frozen=True)
class Change:
    """A change of replicas that was decided: when, and what was in force before."""

    t_s: float
    before: Deployment


@dataclass(frozen=True)
class Panic:
    """Too many violations were seen: when, and of which application."""

    t_s: float
    application: str


History = tuple[Change | Panic, ...]


def guard(decision: Decision, observation: Observation, scenario: Scenario, limits: Limits = Limits(),
          history: History = ()) -> tuple[Decision, tuple[str, ...], History]:
    """A decision within the limits, what was changed, and the history to pass next time.

    The rules, the later one winning: bounds; change per window; cool-down; *wake* (a service that may wake does not sleep
    while requests come); *panic* (while an application is in panic, what would leave one of its services less capacity than
    is in force is not done); *hold* (the observation is stale, or its age or the offered load of a service is missing: the
    deployment in force stays, for missing is never zero); `project` (never over budget; where it would take what bounds,
    window or cool-down keep, the deployment in force stays). A deployment in force counts whole, with its pending replicas:
    what was asked for is not asked for again. While a rise is cut by the window or the cool-down, nothing that shares a
    service with it falls: a swap of variants does not leave less than there was. A service whose levels were changed here
    gets no routes: its requests go to all its ready hosts.

    Args:
        decision: what the policy wants.
        observation: what it saw.
        scenario: the problem.
        limits: the operator's limits.
        history: changes and panics of the last `limits.memory_s` seconds, as the call before returned it (empty at first).
    """
    in_force = observation.deployment
    missing = why_blind(observation, limits)
    recent = tuple(c for c in history if c.t_s > observation.t_s - limits.memory_s) + _panics(observation, limits)
    if missing:
        notes: tuple[str, ...] = (f"held: {missing}",) if decision.deployment != in_force else ()
        deployment, lowered = project(in_force, scenario)
    else:
        wanted, notes, lows = _limited(decision.deployment, observation, scenario, limits, history)
        if (awake := woken(wanted, _with_requests(observation, scenario), scenario)) is not wanted:
            wanted, notes = awake, (*notes, "woken: requests come")
        deployment, lowered = project(wanted, scenario)
        if loss := (_below(deployment, lows, scenario)
                    or _loss_in_panic(deployment, observation, scenario, limits, recent)):
            notes = (*notes, loss)
            deployment, lowered = project(in_force, scenario)
    if deployment.replicas != in_force.replicas:
        recent += (Change(observation.t_s, in_force),)
    return replace(decision, deployment=deployment), notes + lowered, recent


def why_blind(observation: Observation, limits: Limits) -> str:
    """Why the load is not known from an observation, so that nothing may be changed; or nothing."""
    oldest_s = observation.interval_s if limits.max_age_s is None else limits.max_age_s
    if math.isnan(observation.age_s):
        return "no observation"
    if observation.age_s > oldest_s:
        return f"observation is {observation.age_s:.3g} s old"
    gaps = [name for name, service in observation.services.items() if math.isnan(service.offered_rps)]
    return f"offered load of {', '.join(gaps)} is missing" if gaps else ""


def _with_requests(observation: Observation, scenario: Scenario) -> Iterator[str]:
    """The applications to which requests came, or that have some waiting."""
    rows = observation.services
    return (name for name, application in scenario.applications.items()
            if any(rows[z].offered_rps > 0 or rows[z].queue > 0 for z in application.services))


def _panics(observation: Observation, limits: Limits) -> tuple[Panic, ...]:
    """The applications whose violations are too many now."""
    if limits.panic_violation_ratio is None:
        return ()
    return tuple(Panic(observation.t_s, name) for name, row in observation.applications.items()
                 if row.violation_ratio >= limits.panic_violation_ratio)


def _loss_in_panic(wanted: Deployment, observation: Observation, scenario: Scenario, limits: Limits, history: History) -> str:
    """What a deployment would take from a service of an application in panic, or nothing."""
    since_s = observation.t_s - limits.panic_window_s
    panicking = {c.application for c in history if isinstance(c, Panic) and c.t_s > since_s}
    for application in sorted(panicking):
        for service in scenario.applications[application].services:
            now, then = (_capacity_rps(d, service, scenario) for d in (observation.deployment, wanted))
            if then < now:
                return f"panic: {service} would fall from {now:.4g} to {then:.4g} req/s"
    return ""


def _capacity_rps(deployment: Deployment, service: str, scenario: Scenario) -> float:
    """What the replicas of a deployment carry of a service, each with the first variant that it has for it."""
    total = 0.0
    for kind, n in deployment.replicas.items():
        variant = next((v for v in scenario.services[service].variants if v in kind.variants), None)
        if variant is not None and worth(kind, scenario) > 0:
            total += n * scenario.capacity_rps(kind, variant)
    return total


def _limited(wanted: Deployment, observation: Observation, scenario: Scenario, limits: Limits,
             history: History) -> tuple[Deployment, tuple[str, ...], dict[Slot, int]]:
    """Bounds, then change per window and cool-down; and the level that each slot keeps, whatever there is room for."""
    now, want = _levels(observation.deployment, scenario), _levels(wanted, scenario)
    changes = [c for c in history if isinstance(c, Change)]
    window = [_levels(c.before, scenario) for c in changes if c.t_s > observation.t_s - limits.change_window_s] + [now]
    since_s = observation.t_s - changes[-1].t_s if changes else math.inf
    slots = tuple(dict.fromkeys((*want, *now)))
    given = {slot: _bounded(slot, want.get(slot, 0), limits) for slot in slots}
    cut = []
    for slot in slots:
        top = min(levels.get(slot, 0) for levels in window) + limits.max_rise if limits.max_rise is not None else math.inf
        if since_s < limits.rise_cooldown_s:
            top = 0
        if given[slot] > (top := max(top, now.get(slot, 0))):
            given[slot] = int(top)
            cut.append(slot)
    lows = {}
    for slot in slots:
        low = max(levels.get(slot, 0) for levels in window) - limits.max_fall if limits.max_fall is not None else 0
        if since_s < limits.fall_cooldown_s:
            low = now.get(slot, 0)
        lows[slot] = min(max(low, _bounded(slot, 0, limits)), now.get(slot, 0))
        if any(_share_service(slot, other, scenario) for other in cut):
            low = now.get(slot, 0)
        given[slot] = max(given[slot], min(low, now.get(slot, 0)))
    changed = [slot for slot in slots if given[slot] != want.get(slot, 0)]
    notes = tuple(f"{_name(s, scenario)}: level {want.get(s, 0)} -> {given[s]}, in force {now.get(s, 0)}" for s in changed)
    if not changed:
        return wanted, (), lows
    return _with_levels(wanted, {s: given[s] for s in changed}, scenario), notes, lows


def _below(deployment: Deployment, lows: Mapping[Slot, int], scenario: Scenario) -> str:
    """What there is no room for beside the rest, though it may not be taken; or nothing."""
    levels = _levels(deployment, scenario)
    short = [slot for slot, low in lows.items() if levels.get(slot, 0) < low]
    return f"no room beside what stays of {', '.join(_name(slot, scenario) for slot in short)}: unchanged" if short else ""


def _bounded(slot: Slot, level: int, limits: Limits) -> int:
    if isinstance(slot, ReplicaKind):
        return level
    low = limits.min_levels[slot] if limits.min_levels is not None else 0
    return max(low, min(level, limits.max_levels[slot]) if limits.max_levels is not None else level)


def _levels(deployment: Deployment, scenario: Scenario) -> dict[Slot, int]:
    """Level of every candidate, and of every other kind that the deployment has (its count, not cut at `max_count`)."""
    rest: dict[Slot, int] = dict(deployment.replicas.items())
    levels: dict[Slot, int] = {}
    for i, candidate in enumerate(scenario.candidates):
        held = [rest.pop(kind, 0) for kind in candidate.kinds]
        levels[i] = max((place + 1 for place, n in enumerate(held) if n), default=0) if candidate.sized else held[0]
    levels.update(rest)
    return levels


def _with_levels(deployment: Deployment, levels: Mapping[Slot, int], scenario: Scenario) -> Deployment:
    """The deployment with some levels set, and no routes for the services that they host."""
    replicas = dict(deployment.replicas)
    for slot, level in levels.items():
        kinds = _kinds(slot, scenario)
        for kind in kinds:
            replicas.pop(kind, None)
        if level:
            sized = len(kinds) > 1
            replicas[kinds[level - 1] if sized else kinds[0]] = 1 if sized else level
    touched = {name for slot in levels for name in _services(slot, scenario)}
    routes = {name: shares for name, shares in deployment.routes.items() if name not in touched}
    return replace(deployment, replicas=replicas, routes=routes)


def _kinds(slot: Slot, scenario: Scenario) -> tuple[ReplicaKind, ...]:
    return (slot,) if isinstance(slot, ReplicaKind) else scenario.candidates[slot].kinds


def _services(slot: Slot, scenario: Scenario) -> Iterable[str]:
    return (name for name in scenario.services if hosts(_kinds(slot, scenario)[0], name, scenario))


def _share_service(a: Slot, b: Slot, scenario: Scenario) -> bool:
    return not set(_services(a, scenario)).isdisjoint(_services(b, scenario))


def _name(slot: Slot, scenario: Scenario) -> str:
    return str(slot) if isinstance(slot, ReplicaKind) else "+".join(scenario.candidates[slot].variants)
