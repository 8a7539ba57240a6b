"""`evaluate.py --reproduce NAME|all`: published numbers made again, ours beside theirs, told, as a page and as JSON."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from dataclasses import fields
from itertools import groupby
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reports.html import publish
from reports.record import record, write
from reports.reproductions.reproduction import Found, Reproduction, Row, find, names, texts
from reports.reproductions_page import page
from reports.table import WIDTH
from traces.errors import TraceError

ALL = "all"
REPORT = Path("out/reproductions.html")
NOT_HERE = ("policies", "reference", "trace", "split", "windows", "hours", "intervals", "seeds", "calibrate", "save")


def run(arguments: argparse.Namespace, argv: Sequence[str]) -> bool:
    """Makes what was asked, prints every table and writes the page.

    Args:
        arguments: of `evaluate.py`.
        argv: the program and its arguments.

    Returns:
        False where one of all could not be run, for want of a trace; the others are there then.

    Raises:
        ValueError, LookupError: what was asked does not exist or does not go together.
        TraceError: the one that was asked for needs a trace that is not there.
        OSError: a file cannot be written.
    """
    for name in NOT_HERE:
        if getattr(arguments, name) is not None:
            raise ValueError(f"--{name} does not go with --reproduce, where the publication says what is played")
    if arguments.demo:
        raise ValueError("--demo does not go with --reproduce")
    asked = names() if arguments.reproduce == ALL else (arguments.reproduce,)
    reproductions = {name: find(name) for name in asked}
    console = Console(highlight=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    found = []
    for name, reproduction in reproductions.items():
        found.append(_made(name, reproduction, only=arguments.reproduce != ALL))
        _tell(console, found[-1])
    _write(arguments, argv, found)
    return not any(one.missing for one in found)


def _made(name: str, reproduction: Reproduction, only: bool) -> Found:
    try:
        rows = tuple(reproduction.rows())
    except TraceError as error:
        if only:
            raise
        return Found(name, reproduction, missing=" ".join(str(error).split()))
    return Found(name, reproduction, rows, tuple(reproduction.account(rows)))


def _tell(console: Console, found: Found) -> None:
    console.print(Text.assemble((found.name, "bold"), "  ", found.reproduction.title))
    console.print(Text(f"{found.reproduction.source}. To reach: {found.reproduction.aim}.", "dim"), "")
    for title, rows in groupby(found.rows, key=lambda row: row.table):
        console.print(terminal_table(title, tuple(rows)), "")
    for sentence in found.account:
        console.print(Text(f"- {sentence}"))
    console.print(Text(found.verdict, "yellow" if found.missing else "bold"), "")


def terminal_table(title: str, rows: Sequence[Row]) -> Table:
    """One table of a publication, ours beside theirs."""
    table = Table(title=title, title_justify="left", title_style="", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False,
                  header_style="bold")
    table.add_column("case", overflow="fold")
    table.add_column("figure", overflow="fold")
    for name in ("theirs", "ours", "difference", "allowed"):
        table.add_column(name, justify="right")
    table.add_column("")
    for row in rows:
        style = {True: "green", False: "red", None: ""}[row.reached]
        table.add_row(row.case, row.figure, *(Text(text, style) for text in texts(row)), row.note)
    return table


def _write(arguments: argparse.Namespace, argv: Sequence[str], found: Sequence[Found]) -> None:
    rows = [
        {"figure": f"{one.name}: {row.table}: {row.case}: {row.figure}", "value": row.ours, "unit": row.unit,
         "target": row.tolerance, "peer": row.theirs, "how": row.note, "difference": row.difference, "reached": row.reached}
        for one in found for row in one.rows
    ]
    told = {one.name: {"title": one.reproduction.title, "source": one.reproduction.source, "aim": one.reproduction.aim,
                       "verdict": one.verdict, "account": one.account} for one in found}
    document = record(rows, argv, reproductions=told)
    if arguments.json:
        write(arguments.json, document)
        print(f"every number: {arguments.json}")
    if arguments.csv:
        arguments.csv.parent.mkdir(parents=True, exist_ok=True)
        columns = [field.name for field in fields(Row)]
        with arguments.csv.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["reproduction", *columns, "difference", "reached"])
            table.writerows([one.name, *(getattr(row, c) for c in columns), row.difference, row.reached]
                            for one in found for row in one.rows)
        print(f"one row per figure: {arguments.csv}")
    if not arguments.no_report:
        publish(page(found, document), arguments.report or REPORT)
