"""Batches to train the order/keep network on: pieces of sequences of load, a cold start, prices, what deployments earn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from agents.order_keep_features import Question, groups, left_out, question_features
from agents.order_keep_rules import Base, wait_intervals
from agents.order_keep_sequences import Pool, draw_pool
from agents.order_keep_stage import LENGTH, Stage

DECISIONS = 100  # of a sequence that are learnt from at a time
PRICES = ((0.01, 0.5), (0.3, 10.0))  # ranges of the weights of cost and of violations in training
CHUNK = 64  # sequences at a time, for memory's sake


@dataclass(frozen=True)
class BatchSettings:
    """What is drawn; each says what it does.

    Attributes:
        batch: sequences of an update.
        pool: sequences drawn at a time; features and rewards are worked out once for each pool.
        leave_out: chance that a sequence is seen without a group of features.
        scale_low, scale_high: range of the factor on the load, in three of four sequences.
        level_low, level_high: range of the mean load in the others, of what the largest deployment carries.
        cold_start_spread: cold starts are the scenario's own, 30, 60, 120 and 300 s, up to so much longer or shorter (log).
        prices: train for other weights of cost and violations too, in a quarter of the sequences.
    """

    batch: int = 64
    pool: int = 768
    leave_out: float = 0.1
    scale_low: float = 0.6
    scale_high: float = 1.6
    level_low: float = 0.04
    level_high: float = 0.9
    cold_start_spread: float = 0.25
    prices: bool = True


class Batch(NamedTuple):
    """B sequences of T decisions, and E intervals beyond, at one cold start.

    Attributes:
        load_s: the cold start.
        seen: (B, T, F) features.
        now_rps: (B, T) last counted load.
        base: what the network corrects.
        value: (B, T + E, M) reward for accuracy and violations of each deployment.
        w_cost, w_slo: (B,) prices.
    """

    load_s: float
    seen: np.ndarray
    now_rps: np.ndarray
    base: Base
    value: np.ndarray
    w_cost: np.ndarray
    w_slo: np.ndarray


class Batches:
    """Draws batches from pools of sequences.

    Args:
        stage: the traces' training parts, and what deployments earn.
        settings: what is drawn.
        rng: source of all randomness.

    Attributes:
        range: (F,) twice, between which the features of the load lie in the pool, but for a thousandth at either end.
    """

    def __init__(self, stage: Stage, settings: BatchSettings, rng: np.random.Generator) -> None:
        self.stage, self.settings, self.rng = stage, settings, rng

    def draw(self) -> None:
        """Takes a new pool."""
        s, stage = self.settings, self.stage
        self._pool: Pool = draw_pool(stage.training, s.pool, LENGTH, stage.scenario.interval_s, stage.full_rps,
                                     (s.scale_low, s.scale_high), (s.level_low, s.level_high), self.rng)
        features, rps = self._pool.features, self._pool.rps
        low, high = np.quantile(features[:, ::7].reshape(-1, features.shape[-1]), (0.001, 0.999), axis=0)
        self.range: tuple[np.ndarray, np.ndarray] = low, high
        parts = [stage.response.outcomes(rps[i : i + CHUNK, :-1], rps[i : i + CHUNK, 1:]) for i in range(0, len(rps), CHUNK)]
        self._accuracy, self._violation = (np.concatenate(part) for part in zip(*parts))

    def next(self) -> Batch:
        """One batch, at a cold start of its own."""
        s, stage, rng = self.settings, self.stage, self.rng
        load_s = float(rng.choice(stage.cold_starts_s) * np.exp(rng.uniform(-s.cold_start_spread, s.cold_start_spread)))
        span = DECISIONS + 2 * wait_intervals(load_s, stage.scenario.interval_s)
        rows = rng.integers(len(self._pool.rps), size=s.batch)
        begin = int(rng.integers(LENGTH - span)) if rng.random() < 0.5 else 0
        now, then = slice(begin, begin + DECISIONS), slice(begin, begin + span)
        asked = [self._question(load_s, row) for row in range(s.batch)]
        w_cost, w_slo = (np.array(part, np.float32) for part in zip(*((q.w_cost, q.w_slo) for q in asked)))
        features = self._pool.features[rows, now]
        base = stage.base(features, self._pool.rps[rows, now], load_s)
        questions = np.stack([question_features(q) for q in asked])[:, None].repeat(DECISIONS, 1)
        value = self._accuracy[rows, then] - w_slo[:, None, None] * self._violation[rows, then]
        return Batch(load_s, np.concatenate([self._thinned(features), questions], -1), self._pool.rps[rows, now], base, value,
                     w_cost, w_slo)

    def _question(self, load_s: float, row: int) -> Question:
        weights = self.stage.scenario.weights
        if not self.settings.prices or row % 4:
            return Question(load_s, weights.cost, weights.slo)
        return Question(load_s, *np.exp(self.rng.uniform(*np.log(PRICES).T)).tolist())

    def _thinned(self, features: np.ndarray) -> np.ndarray:
        """The features, each sequence without some of the groups."""
        thinned = features.copy()
        for i in range(len(thinned)):
            out = [group for group in groups() if self.rng.random() < self.settings.leave_out]
            thinned[i] = left_out(thinned[i], out) if out else thinned[i]
        return thinned
