"""The protocol's tables in a terminal: one for each source, a column for each cold start."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from reports.measures import ACCURACY, COST, REWARD, VIOLATIONS
from reports.protocol import BETTER, REFERENCE, WORSE, Standing
from reports.protocol_play import BOUND, KNOWS, PLANNER
from reports.statistics import Estimate

STYLES = {BETTER: "green", WORSE: "red", REFERENCE: "bold"}


def tables(found: Sequence[Standing], width: int) -> Iterator[Table]:
    """A table for each source: the reward, against the reference, the verdict, shares of the gaps, the other measures.

    Args:
        found: all rows of all cells.
        width: of the terminal, in columns.
    """
    for source in dict.fromkeys(s.cell["source"]["name"] for s in found):
        here = [s for s in found if s.cell["source"]["name"] == source]
        yield _table(source, here, width)


def _table(source: str, found: Sequence[Standing], width: int) -> Table:
    cold_starts = list(dict.fromkeys(s.cell["cold_start_s"] for s in found))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold", show_edge=False, leading=1,
                  title=source, title_justify="left", width=width)
    table.add_column("cold start")
    for cold_start_s in cold_starts:
        table.add_column(f"{cold_start_s:g} s", justify="right", no_wrap=True)
    for row in ranked(found):
        told, cells = across(found, row, cold_starts)
        table.add_row(Text.assemble((row, "bold"), f"\n{told}"),
                      *(Text(text(s), STYLES.get(s.verdict, "")) if s else Text("") for s in cells))
    return table


def across(found: Sequence[Standing], row: str, cold_starts: Sequence[float]) -> tuple[str, list[Standing | None]]:
    """What a row of one source is, and its cells; None where it was not played yet."""
    here = {s.cell["cold_start_s"]: s for s in found if s.row == row}
    kinds = dict.fromkeys(s.kind for s in here.values() if s.kind)
    return label(next(iter(here.values())), ", ".join(kinds)), [here.get(cold_start_s) for cold_start_s in cold_starts]


def ranked(found: Sequence[Standing]) -> list[str]:
    """Rows by falling mean reward over the cells, those of hindsight first."""
    means = {row: [s.measured[REWARD.name].value for s in found if s.row == row and s.measured]
             for row in dict.fromkeys(s.row for s in found)}
    known = {s.row for s in found if s.kind == KNOWS or s.row == BOUND}
    return sorted(means, key=lambda row: (row not in known, -np.mean(means[row]) if means[row] else np.inf))


def label(standing: Standing, kind: str) -> str:
    """What a row is, beside its name."""
    several = f", {standing.members} training seeds" if standing.members > 1 else ""
    strange = ", source not trained on" if standing.seen is False else ""
    return f"{kind}{several}{strange}"


def text(standing: Standing) -> str:
    """One cell of a table."""
    if not standing.measured:
        return "–"
    lines = [REWARD.show(standing.measured[REWARD.name].value)]
    if np.isfinite(standing.against.value):
        lines.append(REWARD.show(standing.against.value, sign=True))
        if REWARD.interval(standing.against.low, standing.against.high):
            lines.append(f"[{standing.against.low:+.3f}, {standing.against.high:+.3f}]".replace("-", "−"))
    lines += [f"{share(closed)} of {gap}" for gap, closed in closed_gaps(standing).items()]
    if standing.verdict:
        lines.append(standing.verdict)
    shown = (VIOLATIONS, ACCURACY, COST)
    lines.append(" ".join(f"{100 * standing.measured[m.name].value:.1f}" for m in shown))
    return "\n".join(lines)


def closed_gaps(standing: Standing) -> dict[str, Estimate]:
    """Shares of the gaps, where a policy that has learned is ahead of the planners at all."""
    shares = {"oracle": standing.of_oracle, "perfect forecast": standing.of_perfect}
    return {gap: e for gap, e in shares.items() if e.value > 0 and standing.kind not in (KNOWS, PLANNER)}


def share(estimate: Estimate) -> str:
    """'41 %'."""
    return f"{100 * estimate.value:.0f} %".replace("-", "−")
