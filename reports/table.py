"""The table of a comparison: in a terminal (two lines a policy, 110 columns) and as a DataFrame."""

from __future__ import annotations

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from baselines.settings_file import OUTDATED
from reports.comparison import Comparison
from reports.measures import ACCURACY, COST, DECISION_P50, DECISION_P99, MEASURES, REWARD, VIOLATIONS, Measure
from reports.verdict import tied_for_best

WIDTH = 110


def terminal_table(comparison: Comparison, width: int = WIDTH) -> Table:
    """A rich table: each number with its 95 % interval under it, the best of a column and its ties in bold.

    Args:
        comparison: the numbers.
        width: columns of the terminal; below `WIDTH` the differences to the reference are left out, below 85 decision times.
    """
    against, timed = len(comparison.policies) > 1 and width >= WIDTH, width >= 85
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0, header_style="bold", show_edge=False, leading=1)
    table.add_column("policy", overflow="fold", max_width=16, min_width=12)
    shown = (VIOLATIONS, ACCURACY, comparison.cost, REWARD)
    for measure in shown:
        unit = f"\n{measure.shown_unit}{' of budget' if measure is COST else ''}" if measure.shown_unit else ""
        table.add_column(f"{measure.name}{unit}", justify="right", no_wrap=True)
    reference = comparison.reference
    if against:
        table.add_column(f"reward against\n{reference}", justify="right", no_wrap=True)
        table.add_column("better\nin", justify="right", no_wrap=True)
    if timed:
        table.add_column("decision\np50, p99", justify="right", no_wrap=True)
    best = {m.name: tied_for_best(comparison, m) for m in shown} if len(comparison.policies) > 1 else {}
    for policy in comparison.ranking(REWARD):
        cells = [Text.assemble(policy, "\n", (calibration(comparison, policy), "dim"))]
        cells += [_cell(comparison, m, policy, policy in best.get(m.name, [])) for m in shown]
        if against:
            cells += _against(comparison, policy, reference)
        if timed:
            cells.append(
                Text(
                    f"{DECISION_P50.show(comparison.estimate(DECISION_P50.name, policy).value)}\n"
                    f"{DECISION_P99.show(comparison.estimate(DECISION_P99.name, policy).value)}"
                )
            )
        table.add_row(*cells)
    return table


def calibration(comparison: Comparison, policy: str) -> str:
    """'calibrated', 'uncalibrated', 'outdated', or nothing for a policy that has no settings to calibrate."""
    return {None: "", True: "calibrated", False: "uncalibrated", OUTDATED: OUTDATED}[comparison.calibrated(policy)]


def frame(comparison: Comparison) -> pd.DataFrame:
    """One row per policy, with columns ``<measure>``, ``<measure> low`` and ``<measure> high`` in stored units."""
    rows = []
    for policy in comparison.policies:
        row: dict[str, object] = {"policy": policy, "calibrated": calibration(comparison, policy)}
        for measure in MEASURES:
            found = comparison.estimate(measure.name, policy)
            row |= {measure.name: found.value, f"{measure.name} low": found.low, f"{measure.name} high": found.high}
        rows.append(row)
    return pd.DataFrame(rows).set_index("policy")


def _cell(comparison: Comparison, measure: Measure, policy: str, bold: bool) -> Text:
    found = comparison.estimate(measure.name, policy)
    return Text.assemble(
        (measure.show(found.value, unit=False), "bold" if bold else ""), "\n", (measure.interval(found.low, found.high), "dim")
    )


def _against(comparison: Comparison, policy: str, reference: str) -> list[Text]:
    if policy == reference:
        return [Text("reference", style="dim"), Text("")]
    gap = comparison.estimate(REWARD.name, policy, "paired difference", reference)
    wins = comparison.estimate(REWARD.name, policy, "probability of improvement", reference)
    style = ("green" if gap.value > 0 else "red") if gap.excludes_zero else ""
    return [
        Text.assemble(
            (REWARD.show(gap.value, sign=True), style), "\n", (REWARD.interval(gap.low, gap.high, sign=True), "dim")
        ),
        Text(f"{100 * wins.value:.0f} %"),
    ]
