"""`tidal doctor`: is what the autoscaler needs there, fresh, and of the right cluster? And if not, why not."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from runtime.doctor.examine import Finding, SeriesRow
    from runtime.doctor.systems import RoleRow

HEALTHY, SICK = 0, 1
SHOWN = 3  # labels of missing samples
INTERVAL_S = 30.0  # between decisions, where no scenario says
MARKS = {"ok": Text("ok", "green"), "note": Text("note", "yellow"), "bad": Text("BAD", "bold red")}


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `doctor` to the command line."""
    parser = commands.add_parser("doctor", help="say which metrics are there, how old, and what is wrong with them")
    parser.add_argument("--scenario", metavar="NAME_OR_FILE", help="that Tidal serves; without it --prometheus is looked "
                        "through for the metrics of any serving system")
    parser.add_argument("--system", metavar="NAME", help="the serving system, where several are there: vllm, triton, ...")
    parser.add_argument("--select", default="", metavar="LABEL=VALUE,...", help="of the system's series, those of the service")
    parser.add_argument("--scrape", action="append", default=[], metavar="URL", help="a target's /metrics (again for each)")
    parser.add_argument("--scrape-token-file", type=Path, metavar="FILE", help="holds the bearer token that they ask for")
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
    if arguments.scenario is None:
        return _look_at_system(parser, arguments)
    if arguments.system or arguments.select:
        parser.error("--system and --select are of other systems; leave out --scenario")
    from envs.scenario_file import load
    from runtime.doctor import look

    scenario = load(arguments.scenario)
    interval_s = arguments.interval or scenario.interval_s
    report = look.Report()
    if arguments.scrape:
        look.look_at_targets(report, arguments.scrape, arguments.scrape_token_file, scenario, interval_s)
    if arguments.prometheus:
        look.look_at_prometheus(report, arguments.prometheus, arguments.job, scenario, interval_s)
    if arguments.control:
        look.look_at_control(report, arguments.control, arguments.token_file, scenario)
    if arguments.json:
        rows = {"findings": [asdict(f) for f in report.findings], "series": [asdict(row) for row in report.series]}
        print(json.dumps({"scenario": scenario.name, "healthy": report.healthy, **rows}, indent=2, ensure_ascii=False))
    else:
        _tell(report.findings, _series(report.series) if report.series else None, scenario.name, report.bad)
    return HEALTHY if report.healthy else SICK


def _look_at_system(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """A Prometheus that scrapes somebody else's service."""
    if not arguments.prometheus or arguments.scrape or arguments.control:
        parser.error("without --scenario NAME_OR_FILE give --prometheus URL alone")
    from runtime.doctor.systems import look_at_system
    from runtime.sources.adapter import selected

    interval_s = arguments.interval or INTERVAL_S
    adapter, findings, rows = look_at_system(arguments.prometheus, arguments.system, selected(arguments.select), interval_s)
    bad = [*(f.status for f in findings), *(row.status for row in rows)].count("bad")
    if arguments.json:
        told = {"findings": [asdict(f) for f in findings], "roles": [asdict(row) for row in rows]}
        system = adapter.name if adapter else None
        print(json.dumps({"system": system, "healthy": not bad, **told}, indent=2, ensure_ascii=False))
    else:
        _tell(findings, _roles(rows) if rows else None, adapter.title if adapter else arguments.prometheus, bad)
    return SICK if bad else HEALTHY


def _tell(findings: Sequence[Finding], table: Table | None, of: str, bad: int) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 160
    found = Table.grid(padding=(0, 2))
    for row in findings:
        found.add_row(MARKS[row.status], row.check, row.source, Text(row.text))
    console.print(found)
    if table is not None:
        console.print("", table)
    told = f"{bad} thing{'s are' if bad > 1 else ' is'} wrong" if bad else "healthy"
    console.print("", Text.assemble((of, "bold"), ": ", (told, "bold red" if bad else "bold green")), sep="\n")


def _roles(rows: Sequence[RoleRow]) -> Table:
    """One line for each role of a system's adapter, what is wrong with it below."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    for name in ("", "role", "metric", "series", "age", "now"):
        table.add_column(name, justify="right" if name in ("series", "age") else "left")
    for row in rows:
        age = "" if row.age_s is None else f"{row.age_s:.0f} s"
        now = "" if row.value is None else f"{row.value:.4g} {row.unit}"
        missing = " or ".join(row.missing)
        table.add_row(MARKS[row.status], row.role, row.metric or Text(f"missing {missing}", "bold"), str(row.series), age, now)
        if row.text:
            table.add_row("", "", Text(row.text, "dim"))
    return table


def _series(rows: Sequence[SeriesRow]) -> Table:
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
        table.add_row(MARKS[worst], name, *map(_there, found.values()))
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
