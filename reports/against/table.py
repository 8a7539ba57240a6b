"""A case's table: what the simulator says, what live runs did, how far apart they are, and what was to be reached."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reports.against.comparison import Result
from reports.against.side import FIGURES


class Line(NamedTuple):
    """A row of the table, as text; `reached` is None where nothing was to be reached."""

    what: str
    simulated: str
    live: str
    spread: str
    difference: str
    most: str
    reached: bool | None


def lines(found: Result) -> Iterator[Line]:
    """All rows."""
    for name, row in found["figures"].items():
        figure, live = FIGURES[name], [value for value in row["live"] if value is not None and math.isfinite(value)]
        if row["simulated"] is None or not live:
            continue
        unit = "%" if figure.relative else "points" if figure.unit == "%" else figure.unit
        mean = sum(live) / len(live)
        spread = f"{_number(figure.factor * min(live))} to {_number(figure.factor * max(live))}"
        reached = None if figure.most is None else abs(row["difference"]) <= figure.most
        most = "" if figure.most is None else f"{figure.most:g} {unit}"
        yield Line(f"{figure.label}, {figure.unit}", _number(figure.factor * row["simulated"]), _number(figure.factor * mean),
                   spread, f"{row['difference']:+.2f} {unit}", most, reached)  # fmt: skip
    equal = found["fed_equal"]
    yield Line("decisions on what was seen live, equal", "", _percent(min(equal)), _spread(equal), "", "all", min(equal) == 1)
    for key, what, least in (("counts_within_1", "intervals with every kind's count within 1", 0.95),
                             ("units_within_1", "intervals with every variant's cores or devices within 1", None),
                             ("same_replicas_wanted", "intervals with the same replicas wanted", None)):  # fmt: skip
        shares = [row[key] for row in found["closed_loop"]]
        reached = None if least is None else min(shares) >= least
        least_told = "" if least is None else f"at least {100 * least:g} %"
        yield Line(what, "", _percent(sum(shares) / len(shares)), _spread(shares), "", least_told, reached)


def tell(found: Result, console: Console) -> None:
    """Prints it."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in ("", "simulated", "live, mean", "live, spread", "difference", "at most"):
        table.add_column(heading, justify="left" if not heading else "right", overflow="fold")
    for line in lines(found):
        style = {True: "green", False: "bold red", None: ""}[line.reached]
        table.add_row(line.what, line.simulated, line.live, line.spread, Text(line.difference, style), line.most)
    console.print(Text(title(found), "bold"))
    console.print(table)
    if not found["kept_up"]:
        console.print(Text("clients could not keep up on this machine: nothing follows from this", "bold red"))


def title(found: Result) -> str:
    """The case in a line."""
    speed = f", {found['speed']:g} times as fast" if found["speed"] != 1 else ""
    return (f"{found['case']}: {found['policy']} on {found['scenario']}{speed}; {found['repeats']} live runs of "
            f"{found['requests']} requests in {found['intervals']} intervals of {found['interval_s']:g} s")


def _number(value: float) -> str:
    return f"{value:.4g}"


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def _spread(shares: list[float]) -> str:
    return f"{_percent(min(shares))} to {_percent(max(shares))}" if len(set(shares)) > 1 else ""
