"""`tidal doctor`: is what the autoscaler needs there, fresh, and of the right cluster? And if not, why not."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from runtime.doctor.examine import SeriesRow
    from runtime.doctor.look import Report

HEALTHY, SICK = 0, 1
SHOWN = 3  # labels of missing samples


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `doctor` to the command line."""
    parser = commands.add_parser("doctor", help="say which metrics are there, how old, and what is wrong with them")
    parser.add_argument("--scenario", required=True, metavar="NAME_OR_FILE", help="that is served")
    parser.add_argument("--scrape", action="append", default=[], metavar="URL", help="a target's /metrics (again for each)")
    parser.add_argument("--prometheus", metavar="URL", help="that scrapes the targets")
    parser.add_argument("--job", default="tidal", help="job_name of Tidal's targets in it (%(default)s)")
    parser.add_argument("--control", metavar="URL", help="of the cluster's control API")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="holds the control API's bearer token")
    parser.add_argument("--interval", type=float, metavar="S", help="between decisions (the scenario's)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.set_defaults(run=partial(_run, parser))


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    if not (arguments.scrape or arguments.prometheus or arguments.control):
        parser.error("say what to look at: --scrape URL, --prometheus URL, --control URL, or several of them")
    for url in filter(None, (*arguments.scrape, arguments.prometheus, arguments.control)):
        if not url.startswith(("http://", "https://")):
            parser.error(f"{url}: give a URL that begins with http:// or https://")
    if arguments.interval is not None and not 0 < arguments.interval < float("inf"):
        parser.error("--interval: give seconds > 0")
    from envs.scenario_file import load
    from runtime.doctor import look

    scenario = load(arguments.scenario)
    interval_s = arguments.interval or scenario.interval_s
    report = look.Report()
    if arguments.scrape:
        look.look_at_targets(report, arguments.scrape, scenario, interval_s)
    if arguments.prometheus:
        look.look_at_prometheus(report, arguments.prometheus, arguments.job, scenario, interval_s)
    if arguments.control:
        look.look_at_control(report, arguments.control, arguments.token_file, scenario)
    if arguments.json:
        rows = {"findings": [asdict(f) for f in report.findings], "series": [asdict(row) for row in report.series]}
        print(json.dumps({"scenario": scenario.name, "healthy": report.healthy, **rows}, indent=2, ensure_ascii=False))
    else:
        _tell(report, scenario.name)
    return HEALTHY if report.healthy else SICK


def _tell(report: Report, scenario: str) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 160
    marks = {"ok": Text("ok", "green"), "note": Text("note", "yellow"), "bad": Text("BAD", "bold red")}
    findings = Table.grid(padding=(0, 2))
    for row in report.findings:
        findings.add_row(marks[row.status], row.check, row.source, Text(row.text))
    console.print(findings)
    if report.series:
        console.print("", _series(report.series, marks))
    bad = report.bad
    told = f"{bad} thing{'s are' if bad > 1 else ' is'} wrong" if bad else "healthy"
    console.print("", Text.assemble((scenario, "bold"), ": ", (told, "bold red" if bad else "bold green")), sep="\n")


def _series(rows: Sequence[SeriesRow], marks: Mapping[str, Text]) -> Table:
    """One line for each series, one column for each source, what is wrong with it below."""
    sources = list(dict.fromkeys(row.source for row in rows))
    by_name: dict[str, dict[str, SeriesRow]] = {}
    for row in rows:
        by_name.setdefault(row.series, {})[row.source] = row
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column()
    table.add_column("series")
    for source in sources:
        age_s = next(row.age_s for row in rows if row.source == source)
        table.add_column(f"{source}, {'no page' if age_s is None else f'{max(0.0, age_s):.1f} s old'}", justify="right")
    for name, found in by_name.items():
        worst = max((row.status for row in found.values()), key=("ok", "note", "bad").index)
        table.add_row(marks[worst], name, *map(_there, found.values()))
        for text in dict.fromkeys(text for row in found.values() for text in _trouble(row)):
            table.add_row("", Text(f"  {text}", "dim"))
    return table


def _there(row: SeriesRow) -> str:
    return f"{row.present}" if row.expected is None else f"{row.expected - len(row.missing)} of {row.expected}"


def _trouble(row: SeriesRow) -> Iterator[str]:
    """What is wrong with a series, in a few words."""
    if row.missing:
        more = f" and {len(row.missing) - SHOWN} more" if len(row.missing) > SHOWN else ""
        yield f"missing {', '.join(row.missing[:SHOWN])}{more}"
    for labels, why in list(row.left_out.items())[:SHOWN]:
        yield f"{why}: {labels}"
