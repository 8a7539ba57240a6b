"""IPA's integer program, solved exactly: one variant, batch and number of replicas for each stage of a pipeline.

Source: Ghafouri et al., "IPA: Inference Pipeline Adaptation to Achieve High Accuracy and Cost-Efficiency", JSys 2024
(arXiv 2308.12871). Once variant and batch of a stage are chosen its replicas are forced, n = ceil(load / throughput), so the
program is a multiple-choice knapsack with few rows that couple the stages, the latency SLO and the budgets:

    maximise    weight * A - sum of penalties of the options chosen, one of each stage
    A           sum of their scores, or product
    subject to  sum of their latencies <= SLO,   sum of their units <= budget, for each device type

`solve` extends labels stage by stage, and drops those that another one beats in everything, or that cannot beat the best plan
known, whatever follows. `baselines.ipa_milp` hands the same program to a mixed-integer solver, to check it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numba import njit

ROUNDING = 1e-9  # of the SLO and of the budgets, that a plan may exceed
EPSILON = 1e-12  # an objective has to be better by this much
MOST_LABELS = 20_000  # after a stage


@dataclass(frozen=True, eq=False)
class Options:
    """What the program chooses from: O options, sorted by stage, of S stages.

    Attributes:
        stage: shape (O,), rising; every stage of 0 .. S - 1 that has no option makes the program infeasible.
        score: shape (O,), at least 0: accuracy, or its rank.
        penalty: shape (O,), what the option takes from the objective.
        latency_s: shape (O,), of its batch with the wait for the batch to fill.
        units: shape (O, D), cores or devices of each device type.
        stages: S.
        slo_s: end to end.
        budget: shape (D,).
        weight: of A.
        product: A is the product of the scores, not the sum.
    """

    stage: np.ndarray
    score: np.ndarray
    penalty: np.ndarray
    latency_s: np.ndarray
    units: np.ndarray
    stages: int
    slo_s: float
    budget: np.ndarray
    weight: float = 1.0
    product: bool = False


@dataclass(frozen=True)
class Plan:
    """A solution.

    Attributes:
        options: the option of each stage.
        objective: its value.
        proven: False where there were too many labels to prove that none is better.
    """

    options: tuple[int, ...]
    objective: float
    proven: bool = True


class _Rest(NamedTuple):
    """What the stages from each on can give at best, shape (S + 1,) or (S + 1, D)."""

    score: np.ndarray
    penalty: np.ndarray
    latency_s: np.ndarray
    units: np.ndarray


def objective(options: Options, chosen: tuple[int, ...]) -> float:
    """The objective of one option a stage, whether it is feasible or not."""
    rows = list(chosen)
    score = options.score[rows]
    return float(options.weight * (score.prod() if options.product else score.sum()) - options.penalty[rows].sum())


def feasible(options: Options, chosen: tuple[int, ...]) -> bool:
    """Whether one option a stage keeps the SLO and the budgets."""
    rows = list(chosen)
    return bool(options.latency_s[rows].sum() <= options.slo_s * (1 + ROUNDING)
                and (options.units[rows].sum(0) <= options.budget * (1 + ROUNDING)).all())


def solve(options: Options, most_labels: int = MOST_LABELS) -> Plan | None:
    """The best plan; None where no plan is feasible, or none was found among `most_labels` labels.

    The same question has the same answer: among equal objectives the labels that came first stay.
    """
    kept = _undominated(options)
    found = _solve(_only(options, kept), most_labels)
    return found and Plan(tuple(int(kept[o]) for o in found.options), found.objective, found.proven)


def _undominated(options: Options) -> np.ndarray:
    """The options that no other one of their stage is at least as good as, in everything; of equal ones the first."""
    kept = []
    for s in range(options.stages):
        rows = np.flatnonzero(options.stage == s)
        losses = np.column_stack([-options.score[rows], options.penalty[rows], options.latency_s[rows], options.units[rows]])
        better = (losses[:, None] <= losses[None]).all(2)  # [i, j]: i is as good as j
        better &= ~better.T | np.triu(np.ones_like(better), 1)
        kept.append(rows[~better.any(0)])
    return np.concatenate(kept) if kept else np.zeros(0, np.int64)


def _only(options: Options, kept: np.ndarray) -> Options:
    return replace(options, stage=options.stage[kept], score=options.score[kept], penalty=options.penalty[kept],
                   latency_s=options.latency_s[kept], units=options.units[kept])


def _solve(options: Options, most_labels: int) -> Plan | None:
    first = np.searchsorted(options.stage, np.arange(options.stages + 1))
    if not options.stages or (np.diff(first) == 0).any():
        return None
    rest = _rest(options, first)
    if rest.latency_s[0] > options.slo_s * (1 + ROUNDING) or (rest.units[0] > options.budget * (1 + ROUNDING)).any():
        return None
    none = np.zeros((len(options.stage), 0))
    # The budgets seldom bind: without them there are fewer labels.
    for units, budget in ((none, np.zeros(0)), (options.units.astype(np.float64), options.budget.astype(np.float64))):
        found, chosen, proven = _search(
            first, options.score.astype(np.float64), options.penalty.astype(np.float64),
            options.latency_s.astype(np.float64), np.ascontiguousarray(units), rest.score, rest.penalty, rest.latency_s,
            np.ascontiguousarray(rest.units[:, : units.shape[1]]), float(options.slo_s) * (1 + ROUNDING),
            budget * (1 + ROUNDING), float(options.weight), options.product, most_labels)
        plan = tuple(int(o) for o in chosen)
        if found and feasible(options, plan):
            return Plan(plan, objective(options, plan), bool(proven))
    return None


def _rest(options: Options, first: np.ndarray) -> _Rest:
    stages, devices = options.stages, len(options.budget)
    score = np.full(stages + 1, 1.0 if options.product else 0.0)
    penalty, latency, units = np.zeros(stages + 1), np.zeros(stages + 1), np.zeros((stages + 1, devices))
    for s in range(stages - 1, -1, -1):
        rows = slice(first[s], first[s + 1])
        best = options.score[rows].max()
        score[s] = score[s + 1] * best if options.product else score[s + 1] + best
        penalty[s] = penalty[s + 1] + options.penalty[rows].min()
        latency[s] = latency[s + 1] + options.latency_s[rows].min()
        units[s] = units[s + 1] + options.units[rows].min(0)
    return _Rest(score, penalty, latency, units)


@njit(cache=True)
def _value(score, penalty, latency, chosen, weight, product):
    """(objective, latency) of one option a stage."""
    total = 1.0 if product else 0.0
    taken = 0.0
    waited = 0.0
    for o in chosen:
        total = total * score[o] if product else total + score[o]
        taken += penalty[o]
        waited += latency[o]
    return weight * total - taken, waited


@njit(cache=True)
def _fits(units, chosen, budget):
    for d in range(budget.size):
        held = 0.0
        for o in chosen:
            held += units[o, d]
        if held > budget[d]:
            return False
    return True


@njit(cache=True)
def _first_plan(first, score, penalty, latency, units, slo, budget, weight, product):
    """A good plan to begin with: the fastest option everywhere, then one stage at a time changed while it pays."""
    stages = first.size - 1
    chosen = np.zeros(stages, np.int64)
    for s in range(stages):
        chosen[s] = first[s] + np.argmin(latency[first[s] : first[s + 1]])
    if not _fits(units, chosen, budget):
        return False, chosen, -np.inf
    best, _ = _value(score, penalty, latency, chosen, weight, product)
    better = True
    while better:
        better = False
        for s in range(stages):
            kept = chosen[s]
            for o in range(first[s], first[s + 1]):
                chosen[s] = o
                value, waited = _value(score, penalty, latency, chosen, weight, product)
                if value > best + EPSILON and waited <= slo and _fits(units, chosen, budget):
                    best, kept, better = value, o, True
            chosen[s] = kept
    return True, chosen, best


@njit(cache=True)
def _search(first, score, penalty, latency, units, rest_score, rest_penalty, rest_latency, rest_units, slo, budget, weight,
            product, most_labels):
    """Labels, stage by stage: (whether a plan was found, its options, whether it is proven that none is better)."""
    stages, devices = first.size - 1, budget.size
    found, chosen, best = _first_plan(first, score, penalty, latency, units, slo, budget, weight, product)
    proven = True
    label_score = np.ones(1) if product else np.zeros(1)
    label_penalty, label_latency, label_units = np.zeros(1), np.zeros(1), np.zeros((1, devices))
    path = np.zeros((1, stages), np.int64)
    for s in range(stages):
        width = first[s + 1] - first[s]
        room = label_score.size * width
        sums, takes, waits = np.empty(room), np.empty(room), np.empty(room)
        held, bounds = np.empty((room, devices)), np.empty(room)
        origin, option = np.empty(room, np.int64), np.empty(room, np.int64)
        n = 0
        for i in range(label_score.size):
            for o in range(first[s], first[s + 1]):
                total = label_score[i] * score[o] if product else label_score[i] + score[o]
                taken, waited = label_penalty[i] + penalty[o], label_latency[i] + latency[o]
                whole = total * rest_score[s + 1] if product else total + rest_score[s + 1]
                bound = weight * whole - taken - rest_penalty[s + 1]
                fits = waited + rest_latency[s + 1] <= slo and bound > best + EPSILON
                for d in range(devices):
                    held[n, d] = label_units[i, d] + units[o, d]
                    fits = fits and held[n, d] + rest_units[s + 1, d] <= budget[d]
                if fits:
                    sums[n], takes[n], waits[n], origin[n], option[n], bounds[n] = total, taken, waited, i, o, bound
                    n += 1
        if n == 0:
            return found, chosen, proven  # nothing beats the plan that is known
        # Those that promise most come first; what they dominate goes.
        order = np.argsort(-bounds[:n], kind="mergesort")
        kept = np.empty(n, np.int64)
        m = 0
        for i in order:
            if m == most_labels:
                proven = False
                break
            beaten = False
            for k in range(m):
                j = kept[k]
                if product:
                    beaten = sums[j] >= sums[i] and takes[j] <= takes[i] and waits[j] <= waits[i]
                else:
                    beaten = weight * sums[j] - takes[j] >= weight * sums[i] - takes[i] and waits[j] <= waits[i]
                for d in range(devices):
                    beaten = beaten and held[j, d] <= held[i, d]
                if beaten:
                    break
            if not beaten:
                kept[m] = i
                m += 1
        longer = np.empty((m, stages), np.int64)
        for k in range(m):
            longer[k] = path[origin[kept[k]]]
            longer[k, s] = option[kept[k]]
        path = longer
        label_score, label_penalty, label_latency = sums[kept[:m]], takes[kept[:m]], waits[kept[:m]]
        label_units = held[kept[:m]]
    return True, path[0], proven  # of all whole plans the first promises most: its bound is its objective
