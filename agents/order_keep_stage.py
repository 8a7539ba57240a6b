"""On what an order/keep network is trained and chosen: a scenario's menu and response, and the parts of the traces.

The last part of every training trace is set aside to choose on; validation is not seen here. Nothing of it hangs on a seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from agents.network_policy import forward
from agents.order_keep_confirmation import Confirmation, Hours, liked
from agents.order_keep_constants import Constants, calibrate, nearest
from agents.order_keep_export import Exported, Layers
from agents.order_keep_features import QUESTION, Question, names, question_features
from agents.order_keep_menu import menu_of
from agents.order_keep_mixes import best_mixes
from agents.order_keep_response import measure
from agents.order_keep_rules import (
    HEADS_S,
    NEVER_CALM,
    ROUGHNESS,
    Base,
    Course,
    at_cold_start,
    corrected,
    first_of,
    levels_of,
    play,
)
from agents.order_keep_sequences import Pool, interval_rates, pool_of
from envs.loads import Loads
from envs.scenario import Scenario

LENGTH = 200  # intervals of a sequence
SELECTED_WINDOWS = 24  # of each trace
WINDOW = 120  # intervals
CALM_QUANTILES = (0.4, 0.7)  # of roughness


class Stage:
    """What networks for one scenario are trained and chosen on.

    Args:
        scenario: the problem.
        loads: by trace, its training part, at the scenario's mean load.
        selection: last part of each, to choose on.
        planner: settings of InfAdapter on two time scales, which stands by.

    Attributes:
        training: (T,) rates of each trace to learn from, req/s.
        cold_starts_s: at which networks are scored, and for which they have heads.

    Raises:
        ValueError: a trace is too short, or the scenario has no menu.
    """

    def __init__(self, scenario: Scenario, loads: Mapping[str, Loads], selection: float, planner: Mapping[str, Any]) -> None:
        self.scenario, self.loads, self.planner = scenario, loads, planner
        rates = {name: interval_rates(loaded.loads[next(iter(scenario.applications))], scenario.interval_s)
                 for name, loaded in loads.items()}
        self.cuts = {name: round(len(rate) * (1 - selection)) for name, rate in rates.items()}
        if short := [name for name, cut in self.cuts.items() if cut <= LENGTH + 1]:
            raise ValueError(f"trace {', '.join(short)}: too short to train on; it needs {LENGTH + 2} intervals and more")
        self.training = [rate[: self.cuts[name]] for name, rate in rates.items()]
        self.menu = menu_of(scenario, best_mixes(scenario, self.training))
        self.response = measure(scenario, self.menu.levels, self.menu.capacity_rps)
        self.full_rps = float(self.menu.capacity_rps.max())
        self.own_load_s = float(np.mean([v.load_s for v in scenario.variants.values()]))
        self.cold_starts_s = tuple(load_s or self.own_load_s for load_s in HEADS_S)
        self.budget = scenario.whole_price
        self.selected = {name: self._windows(rate[self.cuts[name] :]) for name, rate in rates.items()}

    @cached_property
    def constants(self) -> dict[float, Constants]:
        """What networks correct, by cold start: calibrated by the response, the family that is liked chosen in the kernel,
        both on the training part."""
        pools = [self._windows(rates) for rates in self.training]
        band = {load_s: self._calibrated(load_s, pools) for load_s in self.cold_starts_s}
        unseen = np.zeros(len(names()) - QUESTION)  # nobody doubts constants
        nothing = Exported(self.nothing, self.menu, self.response, unseen, unseen, band, (0.0, 0.0), self.planner,
                           dict.fromkeys(band, NEVER_CALM))
        return liked(self._hours({name: (0, cut) for name, cut in self.cuts.items()}), nothing)

    @cached_property
    def confirmation(self) -> Confirmation:
        """The planner in the request kernel, on the last parts."""
        ends = {name: int(loaded.span_s / self.scenario.interval_s) for name, loaded in self.loads.items()}
        hours = self._hours({name: (cut, ends[name]) for name, cut in self.cuts.items()})
        return Confirmation(hours, self.planner, self.cold_starts_s)

    def _hours(self, parts: Mapping[str, tuple[int, int]]) -> Hours:
        step_s = self.scenario.interval_s
        return Hours(self.scenario, self.loads, {name: (a * step_s, b * step_s) for name, (a, b) in parts.items()})

    @property
    def nothing(self) -> Layers:
        """Layers of a network that corrects nothing."""
        outputs = 3 * self.menu.families * len(HEADS_S)
        return [(np.zeros((outputs, len(names())), np.float32), np.zeros(outputs, np.float32))]

    def base(self, features: np.ndarray, now_rps: np.ndarray, load_s: float) -> Base:
        """What a network's outputs are added to."""
        return self.constants[nearest(self.constants, load_s)].base(features, now_rps, self.menu)

    def first(self, load_s: float) -> int | None:
        """What is ordered at first at a cold start, whatever the load is; none: as the load says."""
        return first_of(self.menu, self.constants[nearest(self.constants, load_s)].family)

    def question(self, load_s: float) -> Question:
        """What is decided about, at the scenario's own prices."""
        return Question(load_s, self.scenario.weights.cost, self.scenario.weights.slo)

    def settled(self, layers: Layers) -> tuple[dict[float, float], dict[str, float]]:
        """By cold start, how rough the load has to be for the network to correct anything, and what is earned then.

        Of some levels the best on the selection windows, so that no network is chosen that is worse there than the constants.
        """
        rough = np.concatenate([pool.features[..., ROUGHNESS].ravel() for pool in self.selected.values()])
        tried = {level: self.score(layers, level) for level in (-NEVER_CALM, *np.quantile(rough, CALM_QUANTILES).tolist())}
        tried[NEVER_CALM] = self._uncorrected
        calm: dict[float, float] = {}
        cells: dict[str, float] = {}
        for load_s in self.cold_starts_s:
            here = [self._cell(name, load_s) for name in self.selected]
            calm[load_s] = max(tried, key=lambda level: sum(tried[level][cell] for cell in here))
            cells |= {cell: tried[calm[load_s]][cell] for cell in here}
        return calm, cells

    @cached_property
    def _uncorrected(self) -> dict[str, float]:
        return self.score(self.nothing)

    @staticmethod
    def _cell(name: str, load_s: float) -> str:
        return f"{name} {load_s:.3g} s"

    def score(self, layers: Layers, calm: float = -NEVER_CALM) -> dict[str, float]:
        """Reward by the response on each trace's selection windows, at each cold start: ``"trace 30 s": reward``."""
        found = {}
        for load_s in self.cold_starts_s:
            question = self.question(load_s)
            asked = question_features(question)
            for name, pool in self.selected.items():
                seen = np.concatenate([pool.features, np.broadcast_to(asked, (*pool.features.shape[:2], len(asked)))], -1)
                outputs = at_cold_start(forward(layers, seen), load_s, self.cold_starts_s)
                outputs = corrected(outputs, pool.features, calm)
                levels = levels_of(outputs, pool.rps[:, :-1], self.base(pool.features, pool.rps[:, :-1], load_s))
                course = self._course(question, len(pool.rps), self.first(load_s))
                played = play(course, self.response, levels, pool.rps)
                found[self._cell(name, load_s)] = float(played.mean())
        return found

    def _calibrated(self, load_s: float, pools: Sequence[Pool]) -> Constants:
        question = self.question(load_s)
        return calibrate(pools, lambda count: self._course(question, count), self.response, np.random.default_rng(0))

    def _course(self, question: Question, count: int, first: int | None = None) -> Course:
        return Course(self.menu, question, self.scenario.weights.change, self.budget, self.scenario.interval_s,
                      np.zeros(count, np.int64), None if first is None else np.full(count, first))

    def _windows(self, rates: np.ndarray) -> Pool:
        """Windows spread evenly over a part of a trace."""
        if len(rates) < WINDOW + 1:
            raise ValueError(f"the last {len(rates)} intervals of a trace are too few to select on: raise --selection")
        starts = np.linspace(0, len(rates) - WINDOW - 1, SELECTED_WINDOWS).astype(int)
        rows = np.array([rates[begin : begin + WINDOW + 1] for begin in starts])
        return pool_of(rows, self.scenario.interval_s, self.full_rps, np.random.default_rng(0))
