"""What a Prometheus tells of somebody else's service: which system it is, what of its adapter is there, how old, how likely.

Judged for each role of the adapter: is any of its names there, has it a sample now, is its number one that such a thing can
have. Units are checked by size (a latency of hours), by shares that are percent, and by Little's law: what is in the system is
what arrives each second times how long it stays, whatever the load.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runtime.doctor.examine import Finding, Status, examine_age, examine_clock, examine_scrape_interval
from runtime.sources.adapter import Adapter, Counter, Gauge, Timing, adapters, first, fitting, named
from runtime.sources.history import History
from runtime.sources.page import SourceError

PAST_S = 3600.0  # of which names are known
WINDOW = "5m"
LATENCY_S = (1e-5, 600.0)  # what a mean latency may be
LITTLE = 30.0  # so many times more or fewer requests than Little's law says: a unit is wrong, not a number
LEAST_RPS = 0.1
WHAT_FOR = {
    "offered": "the load", "latency": "violations and quantiles", "replicas": "what is ready",
    "running": "how busy replicas are", "waiting": "the queue", "failed": "errors", "compute": "how long servers work",
    "memory": "how full they are",
}  # fmt: skip
NEEDED = {"requests": ("offered", "latency", "replicas"), "tokens": ("offered", "latency", "replicas", "running", "waiting")}


@dataclass(frozen=True)
class RoleRow:
    """What is there of one role.

    Attributes:
        role: see `runtime.sources.adapter.Adapter`.
        metric: the name that is used; "" where none is there.
        missing: names of which one should be there.
        series: how many there are now.
        age_s: of the newest sample; None: none within the last hour.
        value: in the role's unit: req/s, seconds, replicas, requests, a ratio; None: not known.
        unit: of the value.
        status: bad where an autoscaler needs it.
        text: what is wrong, or nothing.
    """

    role: str
    metric: str
    missing: tuple[str, ...]
    series: int
    age_s: float | None
    value: float | None
    unit: str
    status: Status
    text: str


def look_at_system(url: str, system: str | None, select: Mapping[str, str], interval_s: float
                   ) -> tuple[Adapter | None, list[Finding], list[RoleRow]]:
    """The adapter that fits, what was found in general, and a row for each role.

    Raises:
        ValueError: no adapter has that name.
    """
    chosen = named(system) if system else None
    history = History(url, time.time() - PAST_S, time.time(), select)
    with contextlib.closing(history):
        try:
            now_s = history.instant("time()")[0][1]
            findings = [Finding("reachable", "prometheus", "ok", url),
                        examine_clock("prometheus", now_s - time.time(), interval_s, "Prometheus")]  # fmt: skip
            names = history.names()
            adapter = chosen or _told(names, findings)
            if adapter is None:
                return None, findings, []
            looked = _Look(history, adapter, names, interval_s)
            rows = [looked.row(role) for role in WHAT_FOR if getattr(adapter, role)]
            return adapter, [*findings, *looked.findings(rows)], rows
        except SourceError as error:
            return chosen, [Finding("reachable", "prometheus", "bad", str(error))], []


def nearest(names: Collection[str]) -> list[Adapter]:
    """Adapters some of whose names are there, the one with most of its roles first; general ones only where no other is."""
    found = [adapter for adapter in adapters().values() if _roles_in(adapter, names)]
    found = [adapter for adapter in found if not adapter.general] or found
    return sorted(found, key=lambda adapter: -_roles_in(adapter, names))


def _roles_in(adapter: Adapter, names: Collection[str]) -> int:
    """How many of an adapter's roles are there."""
    return sum(first(getattr(adapter, role), names) is not None for role in WHAT_FOR)


def _told(names: Collection[str], findings: list[Finding]) -> Adapter | None:
    """The system that a Prometheus has metrics of; says how it was told."""
    there = fitting(names) or nearest(names)
    if not there:
        findings.append(Finding("system", "prometheus", "bad", f"no metrics of a known system in the last hour ({len(names)} "
                                f"others); known: {', '.join(adapters())}. Is it scraped? docs/dropin/sources.md"))
        return None
    if len(there) > 1:
        there.sort(key=lambda adapter: -_roles_in(adapter, names))
        findings.append(Finding("system", "prometheus", "note", f"metrics of {', '.join(a.name for a in there)}: looking at "
                                f"{there[0].name}; choose with --system"))
    adapter = there[0]
    tokens = "; an engine with continuous batching, of which planners have no profile" if adapter.engine == "tokens" else ""
    findings.append(Finding("system", "prometheus", "ok", f"{adapter.title}: --system {adapter.name}{tokens}"))
    return adapter


class _Look:
    """One system in one Prometheus."""

    def __init__(self, history: History, adapter: Adapter, names: Collection[str], interval_s: float) -> None:
        self._history, self._adapter, self._names, self._interval_s = history, adapter, names, interval_s

    def row(self, role: str) -> RoleRow:
        """What there is of a role."""
        choices: Any = getattr(self._adapter, role)
        bad: Status = "bad" if role in NEEDED[self._adapter.engine] else "note"
        choice = first(choices, self._names)
        if choice is None:
            text = f"not there; {WHAT_FOR[role]} will be missing"
            names = dict.fromkeys(name for choice in choices for name in _wanted(choice) if name not in self._names)
            return RoleRow(role, "", tuple(names), 0, None, None, "", bad, text)
        metric = next(name for name in _wanted(choice) if name in self._names)
        selector = self._history.selector(metric, getattr(choice, "where", {}))
        now = self._history.instant(f"count({selector})")
        anyhow = self._history.selector(metric, {})
        age_s = self._age_s(selector if now else anyhow)
        if not now and getattr(choice, "where", {}) and self._history.instant(f"count({anyhow})"):
            return RoleRow(role, metric, (), 0, age_s, 0.0, "", "ok", "")  # the label's value has never been
        if not now:
            text = f"no sample now: the last is {age_s:.0f} s old" if age_s is not None else "no sample in the last hour"
            return RoleRow(role, metric, (metric,), 0, age_s, None, "", bad, f"{text}; is the service up, and scraped?")
        value, unit = self._value(choice)
        text = "; ".join(self._unlikely(role, choice, selector, value))
        buckets = _wanted(choice)[:1] if isinstance(choice, Timing) and choice.histogram else ()
        missing = tuple(name for name in buckets if name not in self._names)
        if missing:
            text = "; ".join(filter(None, [text, "without its buckets quantiles and violations will be missing"]))
        if age_s is not None and age_s > self._interval_s:
            text = "; ".join(filter(None, [text, f"older than the interval of {self._interval_s:g} s"]))
        return RoleRow(role, metric, missing, int(now[0][1]), age_s, value, unit, bad if text else "ok", text)

    def findings(self, rows: list[RoleRow]) -> Iterator[Finding]:
        """What concerns more than one role."""
        by_role = {row.role: row for row in rows}
        offered = first(self._adapter.offered, self._names)
        if offered is None:
            return
        metric = next(name for name in offered.metrics if name in self._names)
        selector = self._history.selector(metric, {})
        yield from self._one_service(selector)
        scrape_s = self._history.scrape_s(metric)
        if scrape_s is not None:
            yield examine_scrape_interval("prometheus", round(scrape_s, 1), self._interval_s)
        if by_role["offered"].age_s is not None:
            yield examine_age("prometheus", by_role["offered"].age_s or 0.0, self._interval_s)
        if offered.at == "answer":
            yield Finding("load", "prometheus", "note",
                          f"{metric} counts answers: a queue that builds up looks like a load that comes later")
        yield from self._little(by_role)

    def _one_service(self, selector: str) -> Iterator[Finding]:
        for label in self._adapter.services:
            rows = self._history.instant(f"count by ({label}) ({selector})")
            values = sorted(row.get(label, "") for row, _ in rows)
            if len(values) > 1:
                told = f"several of label {label}: {', '.join(values[:8])}; choose one with --select {label}=VALUE"
                yield Finding("services", "prometheus", "bad", told)

    def _little(self, rows: Mapping[str, RoleRow]) -> Iterator[Finding]:
        """Whether load, latency and what was in the system agree to within `LITTLE` times, over the same minutes."""
        load, stay = (rows[role].value if role in rows else None for role in ("offered", "latency"))
        gauges = [first(getattr(self._adapter, role), self._names) for role in ("running", "waiting")]
        if not load or not stay or gauges[0] is None or load < LEAST_RPS:
            return
        means = [self._history.instant(f"sum(avg_over_time({self._history.selector(gauge.name, gauge.where)}[{WINDOW}]))")
                 for gauge in gauges if gauge is not None]  # fmt: skip
        expected, seen = load * stay, sum(found[0][1] for found in means if found)
        if max(expected, seen) > 1 and not 1 / LITTLE < (seen + 0.1) / (expected + 0.1) < LITTLE:
            told = f"{load:.3g} req/s that stay {stay:.3g} s make {expected:.3g} requests in the system, but {seen:.3g} " \
                   "were running and waiting: one of the units is wrong"  # fmt: skip
            yield Finding("units", "prometheus", "bad", told)

    def _age_s(self, selector: str) -> float | None:
        """Of the newest sample within the hour."""
        newest = f"timestamp({selector})"
        for query in (f"time() - max({newest})", f"time() - max(max_over_time({newest}[1h:15s]))"):
            if rows := self._history.instant(query):
                return rows[0][1]
        return None

    def _value(self, choice: Counter | Timing | Gauge) -> tuple[float | None, str]:
        """The role's number now, and its unit."""
        def total(names: Collection[str]) -> float:
            rates = [self._history.rate(n, getattr(choice, "where", {}), WINDOW) for n in names if n in self._names]
            return sum(rates) if rates else math.nan

        if isinstance(choice, Counter):
            value, unit = total(choice.metrics), "req/s"
        elif isinstance(choice, Timing):
            seconds, answers = (total([name]) for name in choice.sums)
            value, unit = (choice.unit_s * seconds / answers if answers else math.nan), "s, mean"
        else:
            selector = self._history.selector(choice.name, choice.where)
            query = f"sum({selector})" if choice.gauge else f"count(count by ({', '.join(choice.by)}) ({selector}))"
            rows = self._history.instant(query)
            value, unit = (rows[0][1] if rows else math.nan), ""
        return (value if math.isfinite(value) else None), unit

    def _unlikely(self, role: str, choice: Counter | Timing | Gauge, selector: str, value: float | None) -> Iterator[str]:
        """Why a number cannot be what it should be."""
        if self._history.instant(f"count({selector} != {selector})"):  # only NaN differs from itself
            yield "some are NaN"
        falls = [] if isinstance(choice, Gauge) else self._history.instant(f"max(resets({selector}[{WINDOW}]))")
        if falls and falls[0][1] > 2:
            yield f"fell {falls[0][1]:.0f} times in {WINDOW}: a gauge, or a service that is restarted again and again"
        if isinstance(choice, Timing) and value is not None and not LATENCY_S[0] <= value <= LATENCY_S[1]:
            yield f"a mean of {value:.3g} s: {choice.sums[0]} is not in units of {choice.unit_s:g} s"
        if isinstance(choice, Gauge):
            if role == "memory" and not choice.name.endswith("_bytes"):
                rows = self._history.instant(f"max({selector})")
                if rows and rows[0][1] > 1.05:
                    yield f"a share of {rows[0][1]:.3g}: percent, where 1 is all"
            elif value is not None and value < 0:
                yield f"{value:g} of something that is counted"


def _wanted(choice: Counter | Timing | Gauge) -> tuple[str, ...]:
    """Names that a choice needs; of a histogram all three."""
    if isinstance(choice, Counter):
        return choice.metrics
    if isinstance(choice, Timing):
        return (*((f"{choice.histogram}_bucket",) if choice.histogram else ()), *choice.sums)
    return (choice.name,)
