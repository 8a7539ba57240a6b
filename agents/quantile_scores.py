"""What a quantile forecaster is worth: coverage and pinball loss on validation load, beside point forecasters made probable.

A point forecaster gives one number. It is made into quantiles in the usual way: times the quantiles of (load / forecast) on
training load, for each lead by itself. So all of them know the traces equally well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from rich import box
from rich.table import Table

from agents.quantile_forecaster import LEADS as LEADS_TRAINED
from agents.quantile_forecaster import LEVELS, MEMORY, LearnedQuantiles, features, floored, run
from agents.quantile_training import Series, counted
from baselines.forecasters import Forecaster, forecaster
from traces.splits import Split

VALIDATION = {"nasa_1995_jul": "nasa_1995_aug"}  # the other half of a source
MEAN_RPS, INTERVAL_S, SEED = 100.0, 30.0, 7
LEADS = (1, 2, 4, 11)  # intervals of 30 s: 30, 60, 120 and 330 s ahead
STRETCHES, STRETCH = 12, 240  # of two hours each, spread over the part; the first hour is history only
POINTS: dict[str, Callable[[], Forecaster]] = {
    "last": lambda: forecaster("last", 1, 1.0), "max of 2": lambda: forecaster("max", 2, 1.0),
    "ewm": lambda: forecaster("ewm", 10, 1.0), "ar": lambda: forecaster("ar", 10, 1.0),
    "lstm": lambda: forecaster("lstm", 1, 1.0),
}  # fmt: skip


class Score(NamedTuple):
    """One forecaster on one trace at one lead.

    Attributes:
        pinball_percent: mean pinball loss over all levels, of the mean load.
        coverage: share of loads at or below each of `SHOWN` levels.
    """

    trace: str
    lead_s: float
    name: str
    pinball_percent: float
    coverage: dict[float, float]


SHOWN = (0.5, 0.9, 0.98)


def scores(learned: LearnedQuantiles, traces: Sequence[str]) -> list[Score]:
    """Every forecaster on the validation part of every trace."""
    found = []
    for trace in traces:
        rng = np.random.default_rng(SEED)
        training, validation = (counted(name, split, MEAN_RPS, INTERVAL_S, rng) for name, split in _parts(trace))
        moments = {"train": _moments(training), "val": _moments(validation)}
        point = {name: [_points(make(), s, m) for s, m in ((training, moments["train"]), (validation, moments["val"]))]
                 for name, make in POINTS.items()}
        network = run(learned.weights, features(_seen(validation, moments["val"]), INTERVAL_S))
        base = floored(validation.rps[moments["val"] - 1], INTERVAL_S)[:, None]
        for lead in LEADS:
            came, taught = validation.rps[moments["val"] + lead - 1], training.rps[moments["train"] + lead - 1]
            quantiles = {"learned": base * np.exp(network[:, LEADS_TRAINED.index(lead)])}
            for name, (train, val) in point.items():
                quantiles[name] = val[:, None] * np.quantile(taught / train, LEVELS)
            found += [_score(trace, lead, name, q, came) for name, q in quantiles.items()]
    return found


def _parts(trace: str) -> list[tuple[str, Split]]:
    return [(trace, "train"), (VALIDATION.get(trace, trace), "val")]


def _moments(series: Series) -> np.ndarray:
    """Where forecasts are made: the second hour of each stretch."""
    starts = np.linspace(0, len(series.rps) - STRETCH - max(LEADS), STRETCHES).astype(np.int64)
    return np.concatenate([start + np.arange(MEMORY, STRETCH) for start in starts])


def _seen(series: Series, moments: np.ndarray) -> np.ndarray:
    return series.rps[moments[:, None] + np.arange(-MEMORY, 0)]


def _points(point: Forecaster, series: Series, moments: np.ndarray) -> np.ndarray:
    """A point forecaster's forecasts at the moments; the history before each stretch is shown to it first."""
    found, before = [], -2
    for moment in moments:
        if moment != before + 1:
            point.reset(series.interval_s)
            for rps in series.rps[moment - MEMORY : moment - 1]:
                point.observe(float(rps))
        point.observe(float(series.rps[moment - 1]))
        found.append(point.forecast())
        before = moment
    return floored(np.array(found), series.interval_s)


def _score(trace: str, lead: int, name: str, quantiles: np.ndarray, came: np.ndarray) -> Score:
    behind = came[:, None] - quantiles
    loss = np.maximum(behind * LEVELS, behind * (LEVELS - 1)).mean()
    coverage = {level: float((came <= quantiles[:, int(np.argmin(np.abs(LEVELS - level)))]).mean()) for level in SHOWN}
    return Score(trace, lead * INTERVAL_S, name, float(100 * loss / came.mean()), coverage)


def table(found: Sequence[Score]) -> Table:
    """For a terminal: one line a trace and lead, the best in bold."""
    names = list(dict.fromkeys(score.name for score in found))
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold", show_edge=False)
    shown.add_column("trace, seconds ahead")
    for name in names:
        shown.add_column(name, justify="right")
    shown.add_column("coverage of .5 .9 .98\n(learned)", justify="right")
    for place in dict.fromkeys((score.trace, score.lead_s) for score in found):
        row = {score.name: score for score in found if (score.trace, score.lead_s) == place}
        best = min(row, key=lambda name: row[name].pinball_percent)
        cells = [f"{'[bold]' * (name == best)}{row[name].pinball_percent:.2f}" for name in names]
        covered = " ".join(f"{row['learned'].coverage[level]:.2f}" for level in SHOWN)
        shown.add_row(f"{place[0]}, {place[1]:g}", *cells, covered)
    return shown
