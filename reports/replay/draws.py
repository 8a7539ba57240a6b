"""What the record leaves open, drawn: when requests came within a step, how long they take, how long a replica loads.

Each step's count is kept; only the places of its requests are drawn. Gaps between them are of a gamma law, with a coefficient
of variation between 1 (Poisson) and what the counts of neighbouring steps show. Service and load times are the scenario's
times factors, lognormal, one for each draw; factors and CVs are evenly spread over the draws, so that few cover the range.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from envs.scenario import Scenario
from reports.replay.recording import Recording
from traces.load import RECORDED, Load, make_load

MOST_CV = 4.0


@dataclass(frozen=True)
class Doubt:
    """How well the times of a scenario are known.

    Attributes:
        service: standard deviation of the logarithm of service times.
        load: the same of load times.
        told: where it comes from, in words.
    """

    service: float
    load: float
    told: str


@dataclass(frozen=True, eq=False)
class Draw:
    """One possible world: a load, and a scenario with its own times.

    Attributes:
        number: of the draw, and the seed of its service times.
        loads: by application.
        scenario: with the times of this draw, which its planners know.
        factor: on service times.
        cv: of the gaps within a step; nan where every request was recorded.
    """

    number: int
    loads: Mapping[str, Load]
    scenario: Scenario
    factor: float
    cv: float


def draw(recording: Recording, scenario: Scenario, doubt: Doubt, number: int, count: int) -> Draw:
    """One of `count` draws."""
    service, load, burst = (_spread(number, count, column) for column in range(3))
    factor, load_factor = (math.exp(sd * stats.norm.ppf(u)) for sd, u in ((doubt.service, service), (doubt.load, load)))
    cv = math.nan
    times = recording.arrival_s
    if times is None:
        cv = 1.0 + burst * (greatest_cv(recording.requests) - 1.0)
        times = placed(recording.filled, recording.step_s, cv, np.random.default_rng([number, 7]))
    variants = {name: v.model_copy(update={"load_s": v.load_s * load_factor}) for name, v in scenario.variants.items()}
    drawn = scenario.with_(variants=variants, profile=scenario.profile.scaled(factor))
    return Draw(number, {next(iter(scenario.applications)): make_load(RECORDED, recorded_s=times)}, drawn, factor, cv)


def placed(counts: np.ndarray, step_s: float, cv: float, rng: np.random.Generator) -> np.ndarray:
    """Times of requests, seconds, sorted: each step's count of them, at the ends of gamma gaps that fill the step.

    With `cv` 1 the places are uniform: a Poisson process, given its counts. Parts of requests go over to the next step.

    Args:
        counts: (T,) requests in each step, >= 0.
        step_s: length of a step.
        cv: coefficient of variation of the gaps.
        rng: of the gaps.
    """
    whole = np.diff(np.floor(np.cumsum(counts) + 1e-6), prepend=0.0).astype(np.int64)
    step = np.repeat(np.arange(len(whole)), whole + 1)  # one gap more than requests
    gaps = rng.gamma(cv**-2, size=len(step)) + 1e-300
    last = np.cumsum(whole + 1) - 1
    reached = np.cumsum(gaps)
    before = np.concatenate([[0.0], reached[last[:-1]]])
    place = (reached - before[step]) / (reached[last] - before)[step]
    times = (step + np.minimum(place, 1.0)) * step_s
    return np.asarray(np.maximum.accumulate(np.delete(times, last)))


def greatest_cv(requests: np.ndarray) -> float:
    """The CV of gaps that would make counts of neighbouring steps differ as they do; 1 where they differ as Poisson's.

    (a - b)^2 / (a + b) is 1 on average for two Poisson counts of one mean, whatever the mean; for a renewal process it nears
    the square of the gaps' CV over long steps. Changes of the rate add to it, so that this is an upper end.
    """
    known = requests[np.isfinite(requests)]
    both = known[1:] + known[:-1]
    if not (both > 0).any():
        return 1.0
    index = float(np.mean((np.diff(known)[both > 0]) ** 2 / both[both > 0]))
    return float(np.clip(math.sqrt(index), 1.0, MOST_CV))


def _spread(number: int, count: int, column: int) -> float:
    """The middle of one of `count` equal parts of (0, 1), in another order for each column."""
    order = np.arange(count) if column == 0 else np.random.default_rng(column).permutation(count)
    return float((order[number] + 0.5) / count)
