"""Comparison of policies on the same windows and seeds: from episodes to every number that a report shows.

The table, the sentences, the page and the JSON file all read the same `figures`, one row per number: they cannot differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from baselines.settings_file import OUTDATED
from envs.episode import Episode
from envs.scenario import Weights
from reports.measures import COMPARED, COST, MEASURES, REWARD, Measure
from reports.statistics import Bootstrap, Estimate, interquartile_mean, mean

SLO_WEIGHTS = (0.3, 1.0, 3.0, 10.0)  # shown beside the scenario's own, since a ranking may hang on the weight
PAIR = ["trace", "start_s", "seed"]  # what two runs must share to be compared
KEY = ["figure", "statistic", "policy", "peer"]


@dataclass
class Comparison:
    """What a report is made of.

    Attributes:
        scenario: name.
        policies: names, in the order in which they were asked for.
        reference: the policy that the others are held against in tables.
        runs: one row per complete episode: ``policy, trace, start_s, seed, calibrated``, its totals, and ``slo_slope``
            (what one unit of w_slo takes from its reward).
        figures: one row per number: ``figure, statistic, policy, peer, value, low, high, unit, n, how``.
        weights: of the scenario's reward.
        slo_weights: values of w_slo that the ranking was made for, ascending.
        left_out: episodes without a partner for every other policy (after an interruption); they are in no number.
        cost: how it is shown, in percent of the budget or in money.
    """

    scenario: str
    policies: list[str]
    reference: str
    runs: pd.DataFrame
    figures: pd.DataFrame
    weights: Weights
    slo_weights: list[float]
    left_out: int = 0
    notes: list[str] = field(default_factory=list)
    cost: Measure = COST

    def __post_init__(self) -> None:
        self._rows: dict[tuple[str, str, str, str], Any] = {
            (row["figure"], row["statistic"], row["policy"], row["peer"]): row for row in self.figures.to_dict("records")
        }

    def estimate(self, figure: str, policy: str, statistic: str = "mean", peer: str = "") -> Estimate:
        """One number with its interval.

        Raises:
            KeyError: there is no such number.
        """
        row = self._rows[figure, statistic, policy, peer]
        return Estimate(row["value"], row["low"], row["high"])

    def calibrated(self, policy: str) -> bool | str | None:
        """Whether a policy's settings are calibrated; "outdated": for another form of the scenario; None where it has none."""
        known = self.runs.loc[self.runs["policy"] == policy, "calibrated"].iloc[0]
        return None if pd.isna(known) else OUTDATED if known == OUTDATED else bool(known)

    def ranking(self, measure: Measure, figure: str = "") -> list[str]:
        """Policies from the best mean to the worst."""
        return sorted(self.policies, key=lambda p: -measure.better * self.estimate(figure or measure.name, p).value)

    @property
    def windows(self) -> pd.DataFrame:
        """The windows that were played, one row each: ``trace, start_s``."""
        return self.runs[["trace", "start_s"]].drop_duplicates().sort_values(["trace", "start_s"]).reset_index(drop=True)

    @property
    def seeds(self) -> list[int]:
        """The seeds that were played, ascending."""
        return sorted(int(seed) for seed in self.runs["seed"].unique())


def slo_figure(weight: float) -> str:
    """Name of the figure that holds the reward at another w_slo."""
    return f"reward at w_slo {weight:g}"


def compare(
    episodes: Sequence[Episode],
    weights: Weights,
    rng: np.random.Generator,
    *,
    policies: Sequence[str] = (),
    reference: str = "",
    resamples: int = 2000,
    cost: Measure = COST,
) -> Comparison:
    """Makes every number of a report.

    Args:
        episodes: of one scenario; each policy once on each (trace, window, seed).
        weights: of the scenario's reward.
        rng: generator of the bootstrap draws.
        policies: names of all that should have played; those of the episodes by default.
        reference: the policy to hold the others against; the first one by default.
        resamples: bootstrap draws.
        cost: how it is shown.

    Raises:
        ValueError: no window and seed was played by all policies, or the reference is not among them.
    """
    policies = list(policies or dict.fromkeys(e.policy for e in episodes))
    runs, left_out = _paired_runs(episodes, policies) if episodes else (pd.DataFrame(), 0)
    if runs.empty:
        raise ValueError("no window was played to its end by every policy, so there is nothing to compare")
    if reference and reference not in policies:
        raise ValueError(f"reference '{reference}' is not among the policies: {', '.join(policies)}")
    tables = {policy: rows.reset_index(drop=True) for policy, rows in runs.groupby("policy", sort=False)}
    first = tables[policies[0]]
    bootstrap = Bootstrap(list(first["trace"]), list(first["start_s"]), rng, resamples=resamples)
    slo_weights = sorted({*SLO_WEIGHTS, weights.slo})
    rows: list[dict[str, Any]] = []

    def add(figure: str, statistic: str, policy: str, peer: str, found: Estimate, unit: str, how: str) -> None:
        rows.append(
            {
                "figure": figure,
                "statistic": statistic,
                "policy": policy,
                "peer": peer,
                "value": found.value,
                "low": found.low,
                "high": found.high,
                "unit": unit,
                "n": len(first),
                "how": how,
            }
        )

    for policy in policies:
        for measure in MEASURES:
            values = tables[policy][measure.total].to_numpy(dtype=np.float64)
            add(measure.name, "mean", policy, "", bootstrap.estimate(values, mean), measure.unit, measure.how)
            add(measure.name, "iqm", policy, "", bootstrap.estimate(values, interquartile_mean), measure.unit, measure.how)
        for weight in slo_weights:
            found = bootstrap.estimate(_reward_at(tables[policy], weights, weight))
            add(slo_figure(weight), "mean", policy, "", found, "", f"reward with w_slo {weight:g} in place of {weights.slo:g}")
    for policy in policies:
        for peer in policies:
            if peer == policy:
                continue
            for measure in COMPARED:
                ours, theirs = (tables[p][measure.total].to_numpy(dtype=np.float64) for p in (policy, peer))
                how = "policy - peer on the same window and seed"
                add(measure.name, "paired difference", policy, peer, bootstrap.difference(ours, theirs), measure.unit, how)
                add(
                    measure.name,
                    "paired difference iqm",
                    policy,
                    peer,
                    bootstrap.difference(ours, theirs, interquartile_mean),
                    measure.unit,
                    how,
                )
                add(
                    measure.name,
                    "probability of improvement",
                    policy,
                    peer,
                    bootstrap.improvement(measure.better * ours, measure.better * theirs),
                    "ratio",
                    "share of windows and seeds on which the policy is better than its peer, ties a half",
                )
            for weight in slo_weights:
                ours, theirs = (_reward_at(tables[p], weights, weight) for p in (policy, peer))
                add(
                    slo_figure(weight),
                    "paired difference",
                    policy,
                    peer,
                    bootstrap.difference(ours, theirs),
                    "",
                    f"policy - peer with w_slo {weight:g}",
                )
    return Comparison(
        episodes[0].scenario, policies, reference or policies[0], runs, pd.DataFrame(rows), weights, slo_weights, left_out,
        cost=cost,
    )


def _paired_runs(episodes: Sequence[Episode], policies: list[str]) -> tuple[pd.DataFrame, int]:
    """One row per episode whose window and seed every policy has played, in one order for all policies."""
    table = pd.DataFrame(
        [
            {
                "policy": e.policy,
                "trace": e.trace,
                "start_s": e.start_s,
                "seed": e.seed,
                "calibrated": e.meta.get("calibrated"),
                **e.totals,
                "slo_slope": float(e.intervals["violation_ratio"].fillna(0.0).mean()),
            }
            for e in episodes
        ]
    )
    if table.duplicated(["policy", *PAIR]).any():
        raise ValueError("a policy was played twice on one window and seed")
    shared = table.groupby(PAIR)["policy"].transform("count") == len(policies)
    order = {policy: i for i, policy in enumerate(policies)}
    kept = table[shared].sort_values(PAIR, kind="stable")
    return kept.sort_values("policy", key=lambda c: c.map(order), kind="stable").reset_index(drop=True), int((~shared).sum())


def _reward_at(runs: pd.DataFrame, weights: Weights, slo: float) -> np.ndarray:
    """Rewards (runs,) with another weight on violations: the reward is linear in it, interval by interval."""
    return (runs[REWARD.total] + (weights.slo - slo) * runs["slo_slope"]).to_numpy(dtype=np.float64)
