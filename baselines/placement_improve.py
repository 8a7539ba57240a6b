"""A better search: from any placement to better ones, by small moves and by groups rebuilt, for as long as one likes.

Beside models that change places (`baselines.placement_moves`), a few groups are taken away, their devices cut anew, of any
mixture of shapes, and filled by AlpaServe's greedy rule. Each placement is scored by a replay of what the change can reach
(`baselines.placement_incremental`). A move is kept where it is no worse than the placement was some moves ago (late
acceptance: Burke and Bykov, EJOR 2017), the best one ever seen is the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from baselines.alpaserve_search import best_cut, search_sep
from baselines.placement import Group, Placement, normal, room, with_model
from baselines.placement_incremental import IncrementalReplay, Scored
from baselines.placement_moves import emptied, exchange, put, remove
from baselines.placement_replay import Replay
from envs.contract import Shape

Worth = Callable[[Scored], float]
Enough = Callable[[IncrementalReplay], bool]

KINDS = ("put", "remove", "exchange", "rebuild")
SHARES = (0.6, 0.05, 0.25, 0.1)
LATE = 20  # moves
BUDGET = 3e7  # requests replayed: two or three seconds
MOST_REPLAYS = 10_000
WIDER = 4  # times as many requests as AlpaServe plans on: with as many, gains do not carry over to others
JUDGED = 16  # times as many again, and others, tell whether they do
NOISE = 0.001  # of the requests: what a plan must gain to be taken for better


def requests_played(most: float) -> Enough:
    """A budget that is the same on every machine; of few requests no more replays than those take."""
    return lambda scorer: scorer.played >= most or scorer.replays >= MOST_REPLAYS


def plan(replay: Replay, wider: Replay, enough: Enough, seed: int = 0, judge: Replay | None = None) -> Scored:
    """From nothing: AlpaServe's search on the devices of each type, then better ones on more requests.

    Args:
        replay: of the requests that AlpaServe plans on.
        wider: of those that the better search plans on; it tries so much more that it would learn few by heart.
        enough: as for `improve`.
        seed: of the moves.
        judge: as for `better`.

    Raises:
        ValueError: no model runs on any group of the devices of a type.
    """
    start = search_sep(replay).placement if len(replay.problem.stocks) == 1 else _anew(replay)
    return better(wider, start, enough, seed, judge)


def replan(replay: Replay, running: Placement, enough: Enough, seed: int, worth: Worth) -> Scored:
    """From what runs, or from AlpaServe's search from nothing where that is worth more.

    Args:
        replay: of the requests to plan on.
        running: the placement that runs.
        enough: as for `improve`; what the search from nothing replays does not count.
        seed: of the moves.
        worth: as for `improve`, with what a change costs.
    """
    starts = (running, _anew(replay))
    best = max(starts, key=lambda start: worth(improve(replay, start, requests_played(0))))  # the first of equal ones
    return improve(replay, best, enough, seed, worth)


def _anew(replay: Replay) -> Placement:
    """AlpaServe's search on the devices of each type."""
    types = tuple(replay.problem.stocks)
    return best_cut(replay).placement if len(types) == 1 else tuple(group for device in types for group in _on(replay, device))


def better(replay: Replay, start: Placement, enough: Enough, seed: int = 0, judge: Replay | None = None) -> Scored:
    """The best placement seen, where it answers more requests by more than noise; else the start.

    Args:
        replay: of the requests to plan on.
        start: any feasible placement.
        enough: as for `improve`.
        seed: of the moves.
        judge: of the requests that tell whether it does, others than those planned on, so that what was learned by heart does
            not count. None: those planned on.
    """
    before, judge = improve(replay, start, requests_played(0)), judge or replay
    answered, least = judge.play(before.placement).good.sum(), NOISE * len(judge.requests)
    if len(judge.requests) - answered <= least:
        return before  # there is nothing to be gained
    found = improve(replay, start, enough, seed)
    return found if judge.play(found.placement).good.sum() - answered > least else before


def _on(replay: Replay, device: str) -> Placement:
    """AlpaServe's search on one type of several: as if there were no other."""
    problem = replay.problem.of_type(device)
    running = [m for m, model in enumerate(problem.models) if model.latency_s]
    return best_cut(Replay(problem, replay.requests.only(running)), models=running).placement


def by_score(scored: Scored) -> float:
    """What a placement is worth that no other one makes way for."""
    return scored.score


def improve(replay: Replay, start: Placement, enough: Enough, seed: int = 0, worth: Worth = by_score) -> Scored:
    """The best placement seen from a start on.

    Args:
        replay: of the requests to plan on.
        start: any placement that is feasible, for example the one that runs.
        enough: asked before each move whether to stop.
        seed: of the moves.
        worth: what is maximised.
    """
    scorer, rng = IncrementalReplay(replay), np.random.default_rng(seed)
    here = best = scorer.whole(normal(start))
    worth_here = best_worth = worth(here)
    late = [worth_here] * LATE
    step = 0
    while not enough(scorer):
        step += 1
        there = _move(scorer, here, rng)
        if there is not None and (worth_there := worth(there)) >= min(worth_here, late[step % LATE]):
            here, worth_here = there, worth_there
        late[step % LATE] = worth_here
        if worth_here > best_worth:
            best, best_worth = here, worth_here
    return best


def _move(scorer: IncrementalReplay, here: Scored, rng: np.random.Generator) -> Scored | None:
    kind = rng.choice(KINDS, p=SHARES)
    if kind == "rebuild":
        staying, shapes = emptied(scorer.problem, here.placement, rng)
        return fill(scorer, here, staying, shapes)
    if kind == "put":
        placement = put(scorer.problem, here, scorer.asked - here.good, rng)
    else:
        placement = remove(here, rng) if kind == "remove" else exchange(scorer.problem, here, rng)
    return None if placement is None or placement == here.placement else scorer.changed(here, placement)


def fill(scorer: IncrementalReplay, before: Scored, staying: Placement, shapes: Sequence[Shape]) -> Scored:
    """New groups beside those that stay, filled by AlpaServe's greedy rule; the best of what is seen on the way.

    Args:
        scorer: scores.
        before: what was scored, of which `staying` is a part.
        staying: groups that are left alone.
        shapes: of the new groups.
    """
    here = scorer.changed(before, normal([*staying, *(Group(shape) for shape in shapes)]))
    best = here
    while True:
        new = _places(here.placement, staying)
        fits = room(scorer.problem, here.placement) & new[:, None]
        if not fits.any():
            return best
        groups = np.argsort(here.dispatched, kind="stable")
        order = np.argsort(scorer.asked - here.good, kind="stable")[::-1]
        g, m = np.unravel_index(np.argmax(fits[np.ix_(groups, order)]), fits.shape)
        here = scorer.changed(here, with_model(here.placement, int(groups[g]), int(order[m])))
        if here.score > best.score:
            best = here


def _places(placement: Placement, staying: Placement) -> np.ndarray:
    """(groups,) bool: the groups that are not among those that stay."""
    left = list(staying)
    new = np.ones(len(placement), dtype=bool)
    for g, group in enumerate(placement):
        if group in left:
            left.remove(group)
            new[g] = False
    return new
