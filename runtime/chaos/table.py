"""The table of faults and outcomes, from the results of trials, and its place in a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runtime.chaos.faults import SORTS
from runtime.figures import millis

BEGIN, END = "<!-- chaos table -->", "<!-- end -->"


def table(results: Sequence[dict[str, Any]]) -> str:
    """As Markdown: a line on all trials, and a row for each sort of fault."""
    return "\n\n".join([_all(results), "\n".join(_rows(results))])


def put_into(page: Path, text: str) -> None:
    """Between the marks of the page.

    Raises:
        OSError: it cannot be read or written.
        ValueError: it has no such marks.
    """
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page}: put {BEGIN} and {END} where the table belongs")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def _all(results: Sequence[dict[str, Any]]) -> str:
    counted = ("requests", "answered", "at_once", "refused", "lost", "doubled")
    total = {name: sum(result[name] for result in results) for name in counted}
    of = max(1, total["requests"])
    workers = sum(result["replicas"] == "workers" for result in results)
    broken = sum(bool(result["broken"]) for result in results)
    return (f"{len(results)} trials of {_spans(results)} s ({workers} with worker processes, the others emulated), "
            f"{sum(len(result['faults']) for result in results)} faults: {total['requests']} requests, of which "
            f"{total['answered'] / of:.3%} answered within retries ({total['at_once'] / of:.1%} at the first try), "
            f"{total['refused']} refused with a reason, {total['lost']} lost, {total['doubled']} answered twice; "
            f"{broken} trials broke an invariant.")


def _spans(results: Sequence[dict[str, Any]]) -> str:
    return " or ".join(f"{seconds:g}" for seconds in sorted({result["seconds"] for result in results}))


def _rows(results: Sequence[dict[str, Any]]) -> list[str]:
    rows = ["| fault | times | must hold | requests of its time | sent again | unanswered | noticed after | back after |",
            "|---|---|---|---|---|---|---|---|"]
    for name, sort in SORTS.items():
        met = [fault for result in results for fault in result["faults"] if fault["name"] == name]
        counts = (str(sum(fault[what] for fault in met)) for what in ("requests", "again", "unanswered"))
        rows.append(" | ".join([f"| {name}", str(len(met)), sort.holds, *counts, _times(met, "noticed_s"),
                                f"{_times(met, 'back_s')} |"]))
    return rows


def _times(met: Sequence[dict[str, Any]], what: str) -> str:
    """Median and longest."""
    known = sorted(fault[what] for fault in met if fault[what] is not None)
    return f"{millis(known[len(known) // 2])}, at most {millis(known[-1])}" if known else ""
