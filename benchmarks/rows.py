"""What all benchmarks share: rows of results, timing in turns with a peer, the table, and the JSON file.

A row is `{figure, value, unit, target, peer, how}`; target and peer are in the unit of the value, None where there is none.
What is counted per second should reach its target, anything else (seconds, bytes) should not exceed it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypedDict

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

PACKAGES = ("numpy", "numba", "llvmlite", "pandas", "simpy", "ciw", "torch", "ray", "uvloop", "httptools", "orjson")
_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


class Row(TypedDict):
    """One result."""

    figure: str
    value: float
    unit: str
    target: float | None
    peer: float | None
    how: str


def row(figure: str, value: float, unit: str, how: str, *, target: float | None = None, peer: float | None = None) -> Row:
    """Makes a row."""
    return Row(figure=figure, value=float(value), unit=unit, target=target, peer=peer, how=how)


@dataclass(frozen=True)
class Timing:
    """Repeats of one piece of work.

    Attributes:
        count: (repeats,) what each repeat got done (requests, arrivals, ...).
        cpu_s, wall_s: (repeats,) seconds of each.
    """

    count: np.ndarray
    cpu_s: np.ndarray
    wall_s: np.ndarray

    @property
    def per_s(self) -> float:
        """Count per second of CPU time, median of the repeats."""
        return float(np.median(self.count / self.cpu_s))

    def ratio(self, other: Timing) -> float:
        """How many times as fast as the other, by CPU time: median over the pairs of repeats that ran one after the other."""
        return float(np.median(self.count / self.cpu_s * other.cpu_s / other.count))

    def __str__(self) -> str:
        count, cpu_s, wall_s = (float(np.median(x)) for x in (self.count, self.cpu_s, self.wall_s))
        return f"{count:,.0f} in {duration(cpu_s)} of CPU, {duration(wall_s)} of wall time, median of {len(self.cpu_s)}"


def alternate(works: Mapping[str, Callable[[], int]], repeats: int) -> dict[str, Timing]:
    """Times several pieces of work in turns (A B C A B C ...), so that what disturbs one disturbs all.

    Args:
        works: by name; each returns what it got done.
        repeats: rounds that count; one comes before them.
    """
    taken = {name: np.zeros((3, repeats)) for name in works}
    for i in range(-1, repeats):
        for name, work in works.items():
            wall, cpu = time.perf_counter(), time.process_time()
            count = work()
            cpu_s, wall_s = time.process_time() - cpu, time.perf_counter() - wall
            if i >= 0:
                taken[name][:, i] = count, cpu_s, wall_s
    return {name: Timing(*rows) for name, rows in taken.items()}


def speed(
    figure: str,
    timing: Timing,
    unit: str,
    how: str,
    *,
    target: float | None = None,
    peer: Timing | float | None = None,
    peer_name: str = "the peer",
) -> Row:
    """A row of a speed.

    Args:
        figure: what the row tells.
        timing: what was measured.
        unit: of the speed.
        how: in which way; what was timed is added.
        target: the least it should be.
        peer: the timing of one that ran in turns with it, or a published figure.
        peer_name: what to call it.
    """
    how = f"{how}; {timing}"
    if isinstance(peer, Timing):
        how += f"; {timing.ratio(peer):.3g} x {peer_name}, median of pairs"
        peer = peer.per_s
    return row(figure, timing.per_s, unit, how, target=target, peer=peer)


def command_line(description: str) -> argparse.ArgumentParser:
    """The options of every benchmark."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the rows there")
    return parser


Part = Callable[[], Iterable[Row]]


def report_parts(parser: argparse.ArgumentParser, parts: Callable[[argparse.Namespace], Mapping[str, Part]]) -> None:
    """Reports a benchmark of several parts, or those that the option `--only` names.

    Args:
        parser: its other options.
        parts: by name, given these.
    """
    names = list(parts(parser.parse_args([])))
    parser.add_argument("--only", nargs="+", choices=names, help="parts to measure (default: all)")
    options = parser.parse_args()
    chosen = parts(options)
    report((one for name in options.only or names for one in chosen[name]()), options.json)


def report(rows: Iterable[Row], json_file: Path | None) -> None:
    """Shows rows: a table in a terminal, else one line each as they come. Writes them, with machine, versions and command.

    Args:
        rows: measured while they are taken from here.
        json_file: where to write, or None.
    """
    about = {"machine": machine(), "versions": versions(), "command": " ".join(["python", *sys.argv])}
    console = Console()
    heading = f"{about['machine']}; {', '.join(f'{k} {v}' for k, v in versions().items())}"
    kept = []
    if console.is_terminal:
        with console.status("measuring") as status:
            for one in rows:
                kept.append(one)
                status.update(f"measured: {one['figure']}")
        console.print(heading)
        console.print(_table(kept))
    else:
        print(heading, flush=True)
        for one in rows:
            kept.append(one)
            print(_line(one), flush=True)
    if json_file is not None:
        json_file.write_text(json.dumps({**about, "rows": kept}, indent=1) + "\n")


def machine() -> str:
    """Processor, cores, and what else runs."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        name = names[0] if names else name
    return f"{name}, {os.cpu_count()} cores, {platform.system()}, load average {os.getloadavg()[0]:.1f}"


def versions() -> dict[str, str]:
    """Python and what is installed of the packages that benchmarks use."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def met(one: Row) -> bool | None:
    """Whether a row reaches its target; None where it has none."""
    if one["target"] is None:
        return None
    return one["value"] >= one["target"] if one["unit"].endswith("/s") else one["value"] <= one["target"]


def quantity(value: float, unit: str = "") -> str:
    """A number as people write it: 12.3 M requests/s."""
    if unit == "ratio":
        return f"{value:.4f}"
    if unit == "s":
        return duration(value)
    scale, prefix = next(((s, p) for s, p in _PREFIXES if abs(value) >= s), (1.0, ""))
    number = f"{value / scale:#.3g}".rstrip(".") if value else "0"
    return f"{number} {prefix}{unit}" if unit == "B" else " ".join(filter(None, (number, prefix, unit)))


def duration(seconds: float) -> str:
    """Seconds, as s, ms, µs or ns."""
    scale, unit = next(((s, u) for s, u in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")) if seconds >= s), (1e-9, "ns"))
    return f"{seconds / scale:.3g} {unit}" if seconds else "0 s"


def _texts(one: Row) -> tuple[str, str, str]:
    """Value, target and peer of a row."""
    unit = one["unit"] if one["unit"] in ("s", "B", "ratio") else ""
    target, peer = one["target"], one["peer"]
    verdict = "reached" if met(one) else "MISSED"
    return (
        quantity(one["value"], one["unit"]),
        "" if target is None else f"{verdict} {quantity(target, unit)}",
        "" if peer is None else quantity(peer, unit),
    )


def _line(one: Row) -> str:
    value, target, peer = _texts(one)
    marks = "".join(f"; {name} {text}" for name, text in (("target", target), ("peer", peer)) if text)
    return f"{one['figure']:44s} {value:>16s}{marks}  ({one['how']})"


def _table(rows: Iterable[Row]) -> Table:
    table = Table("figure", "value", "target", "peer", "how")
    table.columns[1].justify = "right"
    table.columns[4].style = "dim"
    for one in rows:
        style = {True: "green", False: "red", None: "none"}[met(one)]
        value, target, peer = _texts(one)
        table.add_row(one["figure"], Text(value, style), Text(target, style), peer, Text(one["how"]))
    return table
