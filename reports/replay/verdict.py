"""What the table says in words: is the record explained, who would have held less, and what limits the answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from envs.scenario import Scenario
from reports.measures import ACCURACY, VIOLATIONS
from reports.replay.draws import Doubt, greatest_cv
from reports.replay.play import AGAIN
from reports.replay.recording import Recording, duration
from reports.replay.table import RECORDED, UNKNOWN, Range, Row, show, unit

SAME_POINTS = 0.005  # shares of violations that differ by half a point are the same
CLEAR = 0.02  # a difference in what is held below 2 % is none


@dataclass(frozen=True)
class Said:
    """The headline, findings, and what a reader must bear in mind."""

    headline: str
    findings: tuple[str, ...]
    caveats: tuple[str, ...]


def verdict(found: Sequence[Row], scenario: Scenario, recording: Recording, doubt: Doubt, guessed: Sequence[str],
            dropped: Sequence[str]) -> Said:
    """In sentences; `guessed` says how the profile was found, `dropped` which policies were left out."""
    by_name = {row.policy: row for row in found}
    again = by_name.get(AGAIN)
    rivals = [row for row in found if row.policy not in (RECORDED, AGAIN) and not row.hindsight]
    findings: list[str] = []
    caveats: list[str] = []
    explained = _explained(by_name[RECORDED], again)
    if explained:
        (findings if explained[0] else caveats).append(explained[1])
    headline = _headline(again, rivals, unit(scenario))
    if explained and not explained[0]:
        headline = f"In a simulator that does not explain this record: {headline}"
    findings += [text for row in found if row.hindsight and (text := _hindsight(row, again, unit(scenario)))]
    findings += guessed
    caveats += [*_limits(recording, doubt), *recording.notes, *dropped]
    return Said(headline, tuple(findings), tuple(caveats))


def _explained(recorded: Row, again: Row | None) -> tuple[bool, str] | None:
    """Whether what was held, played again, does as badly as was recorded."""
    told = recorded.figures.get(VIOLATIONS.name, UNKNOWN)
    ours = again.figures[VIOLATIONS.name] if again else UNKNOWN
    if not (math.isfinite(told.value) and math.isfinite(ours.value)):
        return None
    numbers = f"{_percent(told)} recorded, {_percent(ours)} played with the replicas that were held"
    if ours.low - SAME_POINTS <= told.high and told.low <= ours.high + SAME_POINTS:
        return True, f"The simulator explains the record: violations of {numbers}."
    return False, (f"The simulator does not explain the record: violations of {numbers}. Something that it does not model "
                   "made the difference (the profile, other load on the machines, failures): trust differences between rows "
                   "that are much larger than this one, and no others.")  # fmt: skip


def _headline(again: Row | None, rivals: Sequence[Row], held: str) -> str:
    if not rivals:
        return "Nothing was played that could be held against the record."
    if not _tells_violations(rivals):
        return f"How many {held} each rule would have held; what that did to latency cannot be told for this engine."
    if again is None:
        best = max(rivals, key=lambda row: row.figures["reward"].value)
        return (f"What was held is not in the record; among the policies {best.policy} does best, with violations of "
                f"{_percent(_violations(best))} and {show_held(best.figures['held'])} {held} on average.")  # fmt: skip
    as_good = [row for row in rivals if _violations(row).value <= _violations(again).value + SAME_POINTS
               and _accuracy(row) >= _accuracy(again) - SAME_POINTS]  # fmt: skip
    cheaper = [row for row in as_good if row.against.high < -CLEAR]
    if cheaper:
        best = min(cheaper, key=lambda row: row.against.value)
        worse = _violations(best).value > _violations(again).value
        quality = "with half a point more violations at most" if worse else "at no more violations"
        return (f"{best.policy} would have held {_share(best.against)} fewer {held} {quality}: "
                f"{_percent(best.figures[VIOLATIONS.name])} against {_percent(again.figures[VIOLATIONS.name])}.")  # fmt: skip
    better = [row for row in rivals if _violations(row).high < _violations(again).low - SAME_POINTS]
    if better:
        best = min(better, key=lambda row: row.figures["held"].value)
        more = "" if not math.isfinite(best.against.value) else f", with {_change(best.against)} {held}"
        return (f"{best.policy} would have had fewer violations: {_percent(best.figures[VIOLATIONS.name])} against "
                f"{_percent(again.figures[VIOLATIONS.name])}{more}.")  # fmt: skip
    less = [row for row in rivals if row.against.high < -CLEAR]
    if less:
        best = min(less, key=lambda row: _violations(row).value)
        return (f"Less would have cost quality: {best.policy} would have held {_share(best.against)} fewer {held}, with "
                f"violations of {_percent(_violations(best))} against {_percent(_violations(again))}.")  # fmt: skip
    return "None of these policies is clearly better than what was done."


def _hindsight(row: Row, again: Row | None, held: str) -> str:
    if again is None or not math.isfinite(row.against.value):
        return ""
    return (f"In hindsight ({row.policy}, which nobody can run): {_change(row.against)} {held}, violations of "
            f"{_percent(row.figures[VIOLATIONS.name])}.")  # fmt: skip


def _limits(recording: Recording, doubt: Doubt) -> list[str]:
    """What the ranges hold, and what is left out."""
    if recording.scrape_s:
        burst = greatest_cv(recording.requests)
        gaps_told = (f"with gaps of a CV of 1 to {burst:.2g}, the most that" if burst >= 1.05 else "as Poisson's, as")
        spacing = (f"counts are known each {recording.step_s:g} s; within, requests are drawn {gaps_told} the counts of "
                   "neighbouring steps allow")  # fmt: skip
    else:
        spacing = "every request's time was recorded"
    found = [f"Ranges are the lowest and highest draw: {spacing}; {doubt.told}. A policy's planner knows its draw's times."]
    if gaps := recording.gaps_s:
        lost = sum(b - a for a, b in gaps)
        found.append(f"{len(gaps)} gap{'s' if len(gaps) > 1 else ''} of {duration(lost)} together: filled by a straight line "
                     "to be played through, and left out of all figures but latency.")  # fmt: skip
    return found


def _violations(row: Row) -> Range:
    return row.figures[VIOLATIONS.name]


def _accuracy(row: Row) -> float:
    return row.figures[ACCURACY.name].value


def _tells_violations(rivals: Sequence[Row]) -> bool:
    return all(math.isfinite(row.figures.get(VIOLATIONS.name, UNKNOWN).value) for row in rivals)


def show_held(found: Range) -> str:
    """Units on average."""
    return f"{found.value:.3g}"


def _percent(found: Range) -> str:
    value, between = show(VIOLATIONS, found)
    return f"{value} % {between}".rstrip()


def _share(found: Range) -> str:
    """'38 % [31, 44]' of a reduction."""
    return _ranged(Range(-found.value, -found.high, -found.low))


def _change(found: Range) -> str:
    way = "fewer" if found.value < 0 else "more"
    size = Range(abs(found.value), *sorted((abs(found.low), abs(found.high))))
    return f"{_ranged(size)} {way}"


def _ranged(found: Range) -> str:
    between = f" [{100 * found.low:.0f}, {100 * found.high:.0f}]" if found.low < found.high else ""
    return f"{100 * found.value:.0f} %{between}"
