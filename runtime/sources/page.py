"""A page: what one target exported at one time, by the names of the metric contract."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from runtime import metrics as m

Key = tuple[str | float, ...]
"""A sample's name, and its key labels in the contract's order (a bucket's edge as a number)."""

_KEYS = m.sample_keys()
_COUNTERS = {series.name for series in m.CONTRACT if series.type == "counter"} | {m.BUCKET}


class SourceError(Exception):
    """Metrics could not be read; the text says from where and why. What was read before is getting stale."""


@dataclass(frozen=True)
class Page:
    """What one target exported.

    Attributes:
        values: by key; numbers that were not there, not finite, or there twice are left out: they are missing.
        left_out: of those that were there, why: "NaN", "inf", "-inf", or "twice".
    """

    values: Mapping[Key, float]
    left_out: Mapping[Key, str] = field(default_factory=dict)

    @property
    def exposed_s(self) -> float | None:
        """Unix time at which its numbers were taken; None: this is not a page of the metric contract."""
        return self.values.get((m.EXPOSED_AT.name,))

    def follows(self, earlier: Page) -> bool:
        """True where the same process wrote both, this one not earlier, and no counter has fallen."""
        started, now, before = (m.STARTED_AT.name,), self.exposed_s, earlier.exposed_s
        if now is None or before is None or now < before or self.values.get(started) != earlier.values.get(started):
            return False
        old = earlier.values
        return all(value >= old.get(key, value) for key, value in self.values.items() if key[0] in _COUNTERS)


Pages = Mapping[str, Page | None]
"""By target, its page; None: the target is known, but its numbers cannot be had now."""


class PageReader(Protocol):
    """Where pages come from."""

    def pages(self) -> Pages:
        """The newest page of every target.

        Raises:
            SourceError: none can be read.
        """

    def pages_at(self, t_s: float) -> Pages:
        """The pages as they were at an earlier time; none where no past is kept.

        Raises:
            SourceError: they cannot be read.
        """


def page(samples: Iterable[tuple[str, Mapping[str, str], float]]) -> Page:
    """The page that these samples (name, labels, value) make; series outside the contract are left out."""
    values: dict[Key, float] = {}
    left_out: dict[Key, str] = {}
    for name, labels, value in samples:
        names = _KEYS.get(name)
        if names is None or not all(label in labels for label in names):
            continue
        key: Key = (name, *(float(labels["le"]) if label == "le" else labels[label] for label in names))
        if key in values or key in left_out:
            left_out[key] = "twice"
        elif not math.isfinite(value):
            left_out[key] = "NaN" if math.isnan(value) else str(value)
        values[key] = value
    return Page({key: value for key, value in values.items() if key not in left_out}, left_out)


def parsed(text: str) -> Page:
    """The page that a text exposition is.

    Raises:
        ValueError: it is none.
    """
    try:
        return told_by(text_string_to_metric_families(text))
    except (ArithmeticError, LookupError, TypeError, AttributeError) as error:  # of the client's parser
        raise ValueError(f"not a text exposition ({type(error).__name__}: {error})") from error


def told_by(families: Iterable[Metric]) -> Page:
    """The page that these families make: the same as that of their text, which is slow to parse."""
    return page((sample.name, sample.labels, float(sample.value)) for family in families for sample in family.samples)
