"""The order/keep rule on a menu, and what clusters that follow it earn by the response.

Order up to one level, keep up to another, in between leave all as it is; what is ordered is waited for before the next
decision. Vectorised over N clusters; numpy alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from agents.order_keep_features import Question, names
from agents.order_keep_menu import SPREADS, Menu
from agents.order_keep_response import Response

ROUGHNESS = names().index("roughness of 120")  # of the load over the last hour
NEVER_CALM = 9.0  # a roughness beyond what the feature can be
LIKING = 3.0  # logit of the base's family
STAYING = 0.15  # who is in a mix stays unless its levels move so far (log): about one step of the menu
HEADS_S = (0.0, 30.0, 60.0, 120.0, 300.0)  # cold starts for which a network has outputs; 0: the scenario's own


class Levels(NamedTuple):
    """Levels for each family, (..., H) each: log of the load to order for, of the load to keep for, liking of the family."""

    order: np.ndarray
    keep: np.ndarray
    family: np.ndarray


class Base(NamedTuple):
    """What a network corrects, so that it begins as a rule with constants: logs relative to the last load.

    Attributes:
        order: (..., H) order level of each family.
        gap: (..., H) from there to the keep level, before softplus.
        family: which one is liked.
    """

    order: np.ndarray
    gap: np.ndarray
    family: int


def base_of(order: np.ndarray, keep: np.ndarray, family: int, menu: Menu, now_rps: np.ndarray) -> Base:
    """The base of order and keep levels (...), relative to the last load (...) in logs; mixes have levels of their own."""
    gap = np.maximum(keep - order, 0.02)
    wide = (*np.shape(order), len(SPREADS))
    own = menu.log_rps[menu.mixes] - STAYING - _log(now_rps)[..., None]  # whatever the load is
    orders = np.concatenate([np.broadcast_to(np.asarray(order)[..., None], wide), own], -1)
    gaps = np.concatenate([np.broadcast_to(gap[..., None], wide), np.full(own.shape, 2 * STAYING)], -1)
    return Base(orders, gaps + np.log(-np.expm1(-gaps)), family)


def _log(rps: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(np.maximum(rps, 1e-3)))


def at_cold_start(outputs: Any, load_s: float, cold_starts_s: Sequence[float]) -> Any:
    """Outputs (..., K x 3 H) of a network with a head for each of K cold starts, interpolated on their logs: (..., 3 H)."""
    knots = np.log(cold_starts_s)
    place = float(np.interp(math.log(max(load_s, 1e-3)), knots, np.arange(len(knots))))
    low = min(int(place), len(knots) - 2)
    size = outputs.shape[-1] // len(knots)
    first, second = (outputs[..., k * size : (k + 1) * size] for k in (low, low + 1))
    return first + (place - low) * (second - first)


def corrected(outputs: np.ndarray, features: np.ndarray, calm: float) -> np.ndarray:
    """A network's outputs (..., 3 H), none where the load (..., F) is calmer than this: there what it corrects decides."""
    return outputs * (features[..., ROUGHNESS] >= calm)[..., None]


def levels_of(outputs: np.ndarray, now_rps: np.ndarray, base: Base) -> Levels:
    """A network's outputs (..., 3 H) as levels; `now_rps` (...) is the last counted load."""
    order, gap, family = np.split(outputs, 3, axis=-1)
    order = order + _log(now_rps)[..., None] + base.order
    return Levels(order, order + np.logaddexp(0.0, gap + base.gap), family + liking(base.family, family.shape[-1]))


def liking(family: int, families: int) -> np.ndarray:
    """(H,) how much the base's family is liked beforehand."""
    return LIKING * np.eye(families)[family]


def wanted(menu: Menu, here: np.ndarray, levels: Levels) -> np.ndarray:
    """(N,) entry of the menu that is wanted, where `here` (N,) is in force."""
    x, family = menu.log_rps[here], menu.family[here]
    rows = np.arange(len(here))
    liked = levels.family.argmax(-1)
    rise, fall = levels.order[rows, family] > x, levels.keep[rows, family] < x
    target = np.where(rise, levels.order[rows, liked], levels.keep[rows, liked])
    far = np.abs(menu.log_rps - target[:, None]) + np.where(menu.family == liked[:, None], 0.0, np.inf)
    return np.where(rise | fall, far.argmin(1), here)


def first_of(menu: Menu, family: int) -> int | None:
    """The entry that is ordered as soon as a load is known: the mix, where one is liked beforehand."""
    return int(menu.mixes[family - len(SPREADS)]) if family >= len(SPREADS) else None


def wait_intervals(load_s: float, interval_s: float) -> int:
    """Intervals from an order to the next decision."""
    return max(1, math.ceil(load_s / interval_s - 1e-6))


class Course:
    """N imagined clusters that follow levels, interval by interval.

    Args:
        menu: deployments.
        question: cold start and prices.
        change: weight of a change.
        budget: price x units.
        interval_s: of the scenario.
        start: (N,) entries in force at first.
        first: (N,) entries that are ordered in the first interval, whatever the levels are; none: as the levels say.
    """

    def __init__(self, menu: Menu, question: Question, change: float, budget: float, interval_s: float,
                 start: np.ndarray, first: np.ndarray | None = None) -> None:
        self.menu, self.question, self._change, self._budget = menu, question, change, budget
        self._late, self._wait = question.load_s / interval_s, wait_intervals(question.load_s, interval_s)
        self.old, self.new = start.copy(), start.copy()
        self._since = np.full(len(start), self._wait)
        self._first = first

    def step(self, levels: Levels, value: np.ndarray) -> np.ndarray:
        """(N,) reward of one interval, by (N, M) rewards for accuracy and violations of each deployment in it."""
        menu, rows = self.menu, np.arange(len(self.new))
        free = self._since >= self._wait
        self.old = np.where(free, self.new, self.old)
        want = self._first if self._first is not None else np.where(free, wanted(menu, self.new, levels), self.new)
        self._first = None
        ordered = want != self.new
        self._since = np.where(ordered, 0, self._since)
        self.new = want
        share = np.where(self.old == want, 0.0, np.clip(self._late - self._since, 0.0, 1.0))
        self._since = self._since + 1
        held = share * menu.union_units[self.old, want] + (1 - share) * menu.units[want]
        earned = share * value[rows, self.old] + (1 - share) * value[rows, want]
        return np.asarray(earned - self.question.w_cost * held / self._budget - self._change * ordered)


def play(course: Course, response: Response, levels: Levels, rps: np.ndarray) -> np.ndarray:
    """(N, T) rewards of levels (N, T, H) on counted loads, (N, T + 1), one more at the start; fewer loads are repeated.

    Levels of an interval may know the loads of the intervals before it only.
    """
    value = response.earned(rps[:, :-1], rps[:, 1:], 1.0, course.question.w_slo)
    steps = range(value.shape[1])
    times = (len(course.new) // len(rps), 1)
    return np.stack([course.step(Levels(*(part[:, t] for part in levels)), np.tile(value[:, t], times)) for t in steps], 1)
