"""What is wrong with the pages of a source, with clocks and scrape intervals. Pure: all that was read is passed in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from envs.scenario import Scenario
from runtime import metrics as m
from runtime.doctor.expected import NEEDED, ONLY_SOMETIMES, expected, strangers
from runtime.sources.page import Key, Page, Pages

CLOCK_RATIO, LEAST_CLOCK_S = 0.1, 0.25  # of the interval, and at least: how far clocks may be apart
SCRAPES_PER_INTERVAL = 2  # fewer, and what a decision sees is older than it need be

Status = Literal["ok", "note", "bad"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: what, in a word or two.
        source: where: "scrape", "prometheus", "control", with the target where it is about one.
        status: ok; note: worth knowing; bad: the autoscaler cannot work so.
        text: what was found, and what to do.
    """

    check: str
    source: str
    status: Status
    text: str


@dataclass(frozen=True)
class SeriesRow:
    """One series of the contract, as a source has it.

    Attributes:
        series: its name.
        source: where.
        expected, present: samples that the scenario asks for, and how many of them are there; expected None: it may be absent.
        missing: labels of some that are not there.
        left_out: labels of some that cannot be used, and why: NaN, twice.
        age_s: of the oldest page that should have them; None: there is no page.
        status: bad where the autoscaler needs what is missing.
    """

    series: str
    source: str
    expected: int | None
    present: int
    missing: tuple[str, ...]
    left_out: Mapping[str, str]
    age_s: float | None
    status: Status


def examine_series(source: str, pages: Pages, scenario: Scenario, now_s: float) -> list[SeriesRow]:
    """Each series of the contract, over all targets of a source."""
    told = [page for page in pages.values() if page is not None]
    values: set[Key] = {key for page in told for key in page.values}
    left_out = {key: why for page in told for key, why in page.left_out.items()}
    ages_s = [now_s - page.exposed_s for page in told if page.exposed_s is not None]
    wanted = expected(scenario)
    rows = []
    for series in m.CONTRACT:
        sample = m.BUCKET if series is m.LATENCY else series.name
        missing = sorted(wanted.get(series, frozenset()) - values, key=str)
        odd = {_labels(key): why for key, why in left_out.items() if key[0] == sample}
        bad = (missing or odd) and series in NEEDED and series not in ONLY_SOMETIMES
        rows.append(SeriesRow(
            series.name, source, len(wanted[series]) if series in wanted else None, sum(key[0] == sample for key in values),
            tuple(map(_labels, missing)), odd, max(ages_s, default=None),
            "bad" if bad else "note" if missing or odd else "ok"))  # fmt: skip
    return rows


def examine_targets(source: str, pages: Pages, scenario: Scenario) -> Iterator[Finding]:
    """Whether each target tells something, of this scenario, and has not just been started anew."""
    if not pages:
        yield Finding("targets", source, "bad", "there are none")
    for target, page in pages.items():
        at = f"{source} {target}"
        if page is None:
            yield Finding("target", at, "bad", "it is known, but gives no numbers now: what it should tell is missing")
        elif page.exposed_s is None:
            yield Finding("target", at, "bad", f"not a page of the metric contract: no {m.EXPOSED_AT.name}")
        else:
            yield Finding("target", at, "ok", f"{len(page.values)} numbers")
            yield from _names(at, page, scenario)


def examine_age(source: str, age_s: float, interval_s: float) -> Finding:
    """Whether numbers are new enough to decide on."""
    if age_s > interval_s:
        return Finding("age", source, "bad", f"stale: {age_s:.3g} s old, more than the interval of {interval_s:g} s, "
                                             "so the autoscaler holds what is in force")
    return Finding("age", source, "ok", f"{max(0.0, age_s):.2f} s")


def examine_clock(source: str, ahead_s: float, interval_s: float, of: str) -> Finding:
    """Whether two clocks agree; `ahead_s` is how far that of `of` is ahead."""
    if abs(ahead_s) > max(LEAST_CLOCK_S, CLOCK_RATIO * interval_s):
        way = "ahead of" if ahead_s > 0 else "behind"
        return Finding("clock", source, "bad", f"that of {of} is {abs(ahead_s):.3g} s {way} ours: "
                                               "ages are wrong by as much; set both by NTP")
    return Finding("clock", source, "ok", f"that of {of} agrees with ours to {abs(ahead_s):.2f} s")


def examine_scrape_interval(source: str, scrape_s: float, interval_s: float) -> Finding:
    """Whether Prometheus looks often enough."""
    told = f"every {scrape_s:g} s; a decision every {interval_s:g} s"
    if scrape_s > interval_s:
        return Finding("scrape interval", source, "bad", f"{told}: some decisions see nothing new; scrape_interval: "
                                                         f"{interval_s / SCRAPES_PER_INTERVAL:g}s or less")
    if scrape_s * SCRAPES_PER_INTERVAL > interval_s:
        return Finding("scrape interval", source, "note", f"{told}: numbers are up to a decision old")
    return Finding("scrape interval", source, "ok", told)


def examine_versions(metrics: Sequence[tuple[str, float]], control: str) -> Iterator[Finding]:
    """Whether the metrics are those of the cluster that the control API steers: both tell the same version."""
    for source, version in metrics:
        if f"{version:g}" == control:
            yield Finding("version", source, "ok", f"{control}, as the control API says")
        else:
            yield Finding("version", source, "bad", f"{version:g}, but the control API says {control}: another cluster, "
                                                    "or numbers from before the last change")


def _names(source: str, page: Page, scenario: Scenario) -> Iterator[Finding]:
    for label, names in strangers(page.values, scenario).items():
        yield Finding("names", source, "bad", f"{label} {', '.join(sorted(names))}: not of the scenario {scenario.name}; "
                                              "is this the scenario that is served?")


def _labels(key: Key) -> str:
    """'service=classify'; a sample without labels is told by its name."""
    name, *values = key
    return ",".join(f"{label}={value}" for label, value in zip(m.sample_keys()[str(name)], values)) or str(name)
