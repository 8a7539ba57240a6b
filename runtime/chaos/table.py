"""The table of faults and outcomes, from the results of trials, and its place in a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runtime.chaos.faults import SORTS
from runtime.figures import millis

BEGIN, END = "<!-- chaos table -->", "<!-- end -->"
IN_TIME_S = 3.0  # beyond the load time, for planned capacity to be back


def table(results: Sequence[dict[str, Any]]) -> str:
    """As Markdown: a line on all trials, one on planned capacity, and a row for each sort of fault."""
    return "\n\n".join([_all(results), _capacity(results), "\n".join(_rows(results))])


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
    emulated, ray = (sum(result["replicas"] == what for result in results) for what in ("emulated", "on Ray"))
    broken = sum(bool(result["broken"]) for result in results)
    return (f"{len(results)} trials of {_spans(results)} s ({len(results) - emulated} with worker processes, {ray} of them on "
            f"Ray, the others emulated), "
            f"{sum(len(result['faults']) for result in results)} faults: {total['requests']} requests, of which "
            f"{total['answered'] / of:.3%} answered within retries ({total['at_once'] / of:.1%} at the first try), "
            f"{total['refused']} refused with a reason, {total['lost']} lost, {total['doubled']} answered twice; "
            f"{broken} trials broke an invariant.")


def _capacity(results: Sequence[dict[str, Any]]) -> str:
    """How often it was back in time."""
    lost = [fault for result in results for fault in result["faults"] if fault.get("back_last_s") is not None]
    first, last = (sum(fault[what] - fault["load_s"] <= IN_TIME_S for fault in lost) for what in ("back_s", "back_last_s"))
    return (f"Capacity that was planned was back within its load time and {IN_TIME_S:g} s {last} of {len(lost)} times, "
            f"counted from the last fault that kept it away; {first} times, counted from the first.")


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
    """Median and longest, and the longest without the time in which the cluster did not run."""
    known = _known(met, what)
    net = _known(met, what.replace("_s", "_net_s"))
    return (f"{millis(known[len(known) // 2])}, at most {millis(known[-1])}" if known else "") + (
        f" (net {millis(net[-1])})" if net else "")


def _known(met: Sequence[dict[str, Any]], what: str) -> list[float]:
    return sorted(fault[what] for fault in met if fault.get(what) is not None)
