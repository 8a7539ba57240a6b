"""The reward of one interval, and its terms (design, section 6)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from envs.contract import ReplicaKind
from envs.scenario import Scenario, Weights
from envs.scrape import Scrape


class Terms(NamedTuple):
    """What the weights multiply, each an array over clusters (or a single number)."""

    accuracy: np.ndarray  # sum of accuracy of answers within SLO / settled requests, mean over applications by requests
    cost: np.ndarray  # price x units held x seconds / (price x budget x interval)
    violation: np.ndarray  # share of settled requests that were not answered within their SLO
    change: np.ndarray  # longest load time started / longest in the scenario


class Pricing(NamedTuple):
    """Constants of a scenario that turn a scrape into terms."""

    price_units: np.ndarray  # (K,) price x units of one replica
    budget: float  # price x budget, all device types
    longest_load_s: float


def pricing(scenario: Scenario, kinds: tuple[ReplicaKind, ...]) -> Pricing:
    """Prices the kinds of a scenario."""
    price = np.array([scenario.devices[k.shape.device].price * k.shape.units for k in kinds])
    return Pricing(price, scenario.whole_price, max((scenario.load_s(k) for k in scenario.kinds), default=0.0))


def terms(pricing: Pricing, scrape: Scrape, change_load_s: np.ndarray | float, seconds: float) -> Terms:
    """The terms of an interval. One in which nothing settled has accuracy 0 and no violations, whatever it cost."""
    settled = scrape.settled.sum(-1)
    weight = scrape.settled / np.maximum(settled, 1)[..., None]
    good = _or_zero(scrape.fate_ratio[..., 0])
    longest = pricing.longest_load_s
    return Terms(
        accuracy=(_or_zero(scrape.accuracy) * weight).sum(-1),
        cost=(scrape.held_s * pricing.price_units).sum(-1)
        / (pricing.budget * seconds),  # no product of matrices: its rounding depends on their size
        violation=((1 - good) * weight).sum(-1),
        change=np.minimum(change_load_s / longest, 1.0) if longest > 0 else np.zeros_like(np.asarray(change_load_s, float)),
    )


def _or_zero(values: np.ndarray) -> np.ndarray:
    """The values, 0 for nan: `np.nan_to_num` looks for infinities too, and takes eight times as long."""
    return np.where(np.isnan(values), 0.0, values)


def reward(weights: Weights, terms: Terms) -> np.ndarray:
    """accuracy - cost - violations - change, each times its weight."""
    return (
        weights.accuracy * terms.accuracy
        - weights.cost * terms.cost
        - weights.slo * terms.violation
        - weights.change * terms.change
    )
