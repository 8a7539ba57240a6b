"""Metric adapters: what each serving system calls its numbers in Prometheus, as data (`adapters/*.yaml`).

Each role lists its names in order; the first that a Prometheus has is used, so that renamed series need no other version of
this. The same files serve history (`runtime.sources.history`) and whoever reads such a system live.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import yaml
from frozendict import frozendict
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from envs.contract import Policy

FOLDER = Path(__file__).parent / "adapters"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Counter(_Part):
    """Counters to be added up.

    Attributes:
        metrics: names; those that are there are summed.
        where: by label, a regular expression that all of its value must match.
        at: whether a request is counted when it arrives or when it is answered.
    """

    metrics: Annotated[tuple[str, ...], Field(min_length=1)]
    where: Mapping[str, str] = frozendict()
    at: Literal["arrival", "answer"] | None = None

    def found_in(self, names: Collection[str]) -> bool:
        """Whether a Prometheus has any of it."""
        return any(name in names for name in self.metrics)


class Timing(_Part):
    """Times of requests: a histogram (its `_bucket`, `_sum`, `_count`), or two counters of a sum and a number.

    Attributes:
        unit_s: seconds in one unit of the metric.
    """

    histogram: str | None = None
    sum: str | None = None
    count: str | None = None
    unit_s: Annotated[float, Field(gt=0)] = 1.0

    @model_validator(mode="after")
    def _one_form(self) -> Timing:
        if (self.histogram is None) == (self.sum is None) or (self.sum is None) != (self.count is None):
            raise ValueError("give `histogram`, or `sum` and `count`")
        return self

    @property
    def sums(self) -> tuple[str, str]:
        """Names of the counters of the sum and of the number."""
        return (f"{self.histogram}_sum", f"{self.histogram}_count") if self.histogram else (str(self.sum), str(self.count))

    def found_in(self, names: Collection[str]) -> bool:
        """Whether a Prometheus has it; of a histogram, its buckets or its sum and number will do."""
        return all(name in names for name in self.sums) or f"{self.histogram}_bucket" in names


class Gauge(_Part):
    """A gauge to be summed, or how many values of a label a metric has.

    Attributes:
        gauge: name of the gauge.
        count: name of a metric of which each replica has one series or more.
        by: labels that tell replicas apart; the first that the series have counts.
        where: as in `Counter`.
    """

    gauge: str | None = None
    count: str | None = None
    by: tuple[str, ...] = ()
    where: Mapping[str, str] = frozendict()

    @model_validator(mode="after")
    def _one_form(self) -> Gauge:
        if (self.gauge is None) == (self.count is None) or bool(self.count) != bool(self.by):
            raise ValueError("give `gauge`, or `count` and `by`")
        return self

    @property
    def name(self) -> str:
        """Of the metric."""
        return str(self.gauge or self.count)

    def found_in(self, names: Collection[str]) -> bool:
        """Whether a Prometheus has it."""
        return self.name in names


class Adapter(_Part):
    """One system.

    Attributes:
        name: of its file; title: as people call it; source: where its names are documented.
        engine: "tokens": continuous batching, whose times hang on what else is in the batch; else "requests".
        services: labels whose values are different services.
        general: names that many things use: taken only where nothing else fits.
        offered, failed, violations, accuracy: counters. latency, compute: times. replicas, held (units), running, waiting,
            memory: gauges.
    """

    name: str
    title: str
    source: str
    engine: Literal["requests", "tokens"] = "requests"
    services: tuple[str, ...] = ()
    general: bool = False
    offered: Annotated[tuple[Counter, ...], Field(min_length=1)]
    failed: tuple[Counter, ...] = ()
    violations: tuple[Counter, ...] = ()
    accuracy: tuple[Counter, ...] = ()
    latency: tuple[Timing, ...] = ()
    compute: tuple[Timing, ...] = ()
    replicas: tuple[Gauge, ...] = ()
    held: tuple[Gauge, ...] = ()
    running: tuple[Gauge, ...] = ()
    waiting: tuple[Gauge, ...] = ()
    memory: tuple[Gauge, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """All metrics that its system may have."""
        counters = (*self.offered, *self.failed, *self.violations, *self.accuracy)
        gauges = (*self.replicas, *self.held, *self.running, *self.waiting, *self.memory)
        times = (*self.latency, *self.compute)
        return frozenset([*(m for c in counters for m in c.metrics), *(n for t in times for n in t.sums),
                          *(f"{t.histogram}_bucket" for t in times if t.histogram), *(g.name for g in gauges)])

    def check_policy(self, name: str, policy: Policy) -> None:
        """Passes where a policy can decide for this system.

        Raises:
            ValueError: it plans on latencies by batch, which an engine with continuous batching does not have.
        """
        if self.engine == "tokens" and policy.needs_profile:
            raise ValueError(f"{name} plans on the latency of a batch, and {self.title} has none: with continuous batching a "
                             "request's time hangs on what else is in the batch; valid are hpa, kpa, keda, target-tracking, "
                             "static, and agents that were trained without a base policy")  # fmt: skip

    def fits(self, names: Collection[str]) -> bool:
        """Whether a Prometheus with metrics of these names knows this system's load."""
        return any(counter.found_in(names) for counter in self.offered)


Choice = TypeVar("Choice", Counter, Timing, Gauge)


def first(choices: tuple[Choice, ...], names: Collection[str]) -> Choice | None:
    """The first choice that a Prometheus has."""
    return next((choice for choice in choices if choice.found_in(names)), None)


@cache
def adapters() -> Mapping[str, Adapter]:
    """All of them, by name; those for names that many things use come last.

    Raises:
        ValueError: a file is wrong; the text says which and where.
    """
    found = [_read(path) for path in sorted(FOLDER.glob("*.yaml"))]
    return {adapter.name: adapter for adapter in sorted(found, key=lambda adapter: adapter.general)}


def named(system: str) -> Adapter:
    """The adapter of a name.

    Raises:
        ValueError: there is none.
    """
    if system not in adapters():
        raise ValueError(f"--system {system}: there are {', '.join(adapters())}")
    return adapters()[system]


def selected(text: str) -> dict[str, str]:
    """`LABEL=VALUE,...` as a table.

    Raises:
        ValueError: it is none.
    """
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if any(not (equals and label.strip()) for label, equals, _ in pairs):
        raise ValueError(f"--select {text}: give LABEL=VALUE,...")
    return {label.strip(): value.strip() for label, _, value in pairs}


def fitting(names: Collection[str]) -> list[Adapter]:
    """The adapters that fit a Prometheus with metrics of these names; general ones only where no other does."""
    fit = [adapter for adapter in adapters().values() if adapter.fits(names)]
    return [adapter for adapter in fit if not adapter.general] or fit


def _read(path: Path) -> Adapter:
    try:
        return Adapter(name=path.stem, **yaml.safe_load(path.read_text(encoding="utf-8")))
    except (ValidationError, yaml.YAMLError, TypeError) as error:
        raise ValueError(f"{path}: {'; '.join(str(error).splitlines())}") from error
