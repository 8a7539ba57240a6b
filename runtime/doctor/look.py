"""What the doctor looks at: targets, a Prometheus, a control API; and what it finds there."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from envs.contract import Decision
from envs.scenario import Scenario
from runtime import metrics as m
from runtime.autoscaler.decision import problem_with
from runtime.control_reader import ControlReader
from runtime.deployment_json import from_json
from runtime.doctor import examine as e
from runtime.doctor.ask import PrometheusTargets
from runtime.doctor.examine import Finding, SeriesRow
from runtime.sources.page import Pages, SourceError
from runtime.sources.prometheus import PrometheusReader
from runtime.sources.scrape import Scraper

PAUSE_S = 0.3  # between two looks at a target: a page that is made anew has another time


@dataclass
class Report:
    """What was found. `versions`: by source, the deployment's version that its metrics tell."""

    findings: list[Finding] = field(default_factory=list)
    series: list[SeriesRow] = field(default_factory=list)
    versions: list[tuple[str, float]] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """Whether the autoscaler can work so."""
        return not self.bad

    @property
    def bad(self) -> int:
        """How many things are wrong."""
        return sum(f.status == "bad" for f in self.findings) + sum(row.status == "bad" for row in self.series)


def look_at_targets(report: Report, urls: Sequence[str], token_file: Path | None, scenario: Scenario,
                    interval_s: float) -> None:
    """The targets themselves. A page is made when it is asked for: one that is old is the doing of another clock."""
    with contextlib.closing(Scraper(urls, token_file=token_file)) as scraper:
        try:
            before = scraper.pages()
            time.sleep(PAUSE_S)
            asked_s = time.time()
            pages = scraper.pages()
        except SourceError as error:
            report.findings.append(Finding("reachable", "scrape", "bad", str(error)))
            return
    _add(report, "scrape", pages, scenario, asked_s)
    for target, page in pages.items():
        earlier = before.get(target)
        if page is None or page.exposed_s is None or earlier is None or earlier.exposed_s is None:
            continue
        if page.exposed_s == earlier.exposed_s:
            report.findings.append(e.examine_age(f"scrape {target}", asked_s - page.exposed_s, interval_s))
        else:
            report.findings.append(e.examine_clock(f"scrape {target}", page.exposed_s - asked_s, interval_s, "the target"))


def look_at_prometheus(report: Report, url: str, job: str, scenario: Scenario, interval_s: float) -> None:
    """What Prometheus has, and how it gets it."""
    asked = PrometheusTargets(url, job)
    with contextlib.closing(PrometheusReader(url, job)) as reader:
        try:
            now_s = asked.now_s()
            report.findings.append(Finding("reachable", "prometheus", "ok", url))
            report.findings.append(e.examine_clock("prometheus", now_s - time.time(), interval_s, "Prometheus"))
            targets, pages = asked.targets(), reader.pages()
            if not targets:
                others = f"it has {', '.join(asked.jobs()) or 'no jobs at all'}"
                report.findings.append(Finding("targets", "prometheus", "bad", f"none of job '{job}'; {others}; give --job"))
                return
        except SourceError as error:
            report.findings.append(Finding("reachable", "prometheus", "bad", str(error)))
            return
    _add(report, "prometheus", pages, scenario, now_s)
    for target in targets:
        at = f"prometheus {target.instance}"
        report.findings.append(e.examine_scrape_interval(at, target.scrape_s, interval_s))
        if target.error:
            report.findings.append(Finding("scrape", at, "bad", target.error))
        page = pages.get(target.instance)
        if page is not None and page.exposed_s is not None and target.scraped_s is not None:
            report.findings.append(e.examine_age(at, now_s - target.scraped_s, interval_s))
            report.findings.append(e.examine_clock(at, page.exposed_s - target.scraped_s, interval_s, "the target"))


def look_at_control(report: Report, url: str, token_file: Path | None, scenario: Scenario) -> None:
    """The control API: does it let us in, and does it steer the cluster that the metrics tell of?"""
    with contextlib.closing(ControlReader(url, token_file)) as control:
        try:
            answer = control.get("/v1/deployment")
            ready = control.ask("/readyz")[0] == 200
            problem = problem_with(Decision(from_json(answer["deployment"]), ""), scenario)
        except (OSError, KeyError, ValueError) as error:
            report.findings.append(Finding("control API", "control", "bad", str(error)))
            return
    if problem:
        problem = f"what is in force is not of the scenario {scenario.name}: {problem}"
    report.findings.append(Finding("control API", "control", "bad" if problem else "ok", problem or url))
    if not ready:
        report.findings.append(Finding("ready", "control", "note", "some service has no ready replica now"))
    report.findings.extend(e.examine_versions(report.versions, str(answer["version"])))


def _add(report: Report, source: str, pages: Pages, scenario: Scenario, now_s: float) -> None:
    """What the pages of a source say."""
    report.findings.extend(e.examine_targets(source, pages, scenario))
    report.series.extend(e.examine_series(source, pages, scenario, now_s))
    key = (m.VERSION.name,)
    report.versions += [(source, page.values[key]) for page in pages.values() if page is not None and key in page.values]
