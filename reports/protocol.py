"""The protocol's numbers: every row of every cell against the best calibrated planner of that cell, and the verdicts.

- *Reference* of a cell: of all planners, each calibrated with the same number of simulator calls, the one with the highest
  mean reward on the very windows that are reported: no agent gains from a planner that was chosen badly.
- *Share of a gap*: (policy - reference) / (oracle - reference), and the same with the perfect-forecast planner.
- *Violations at equal cost and accuracy*: an agent's over those of the planners, taking turns (`reports.protocol_front`).
- *Not inferior*: policy - reference is above -2 % of (oracle - static), by window; static is the better of the constant
  deployments that are rows, and where no oracle is known for a scenario the perfect-forecast planner stands in: both make the
  margin smaller. *Better*: policy - reference is above 0. *Worse*: reference - policy is. Each at 2.5 % one-sided, corrected
  by Holm over the judged cells of a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from reports.measures import ACCURACY, COST, REWARD, VIOLATIONS
from reports.protocol_front import turns
from reports.protocol_play import BOUND, KNOWS, ORACLE, PERFECT, PLANNER, STATIC, STATIC_FAST
from reports.protocol_statistics import ALPHA, Drawn, Draws, holm
from reports.statistics import Estimate

MARGIN_RATIO = 0.02
HALF = 0.5  # of the planners' violations: what an agent is to stay below at equal cost and accuracy
MEASURED = (REWARD, VIOLATIONS, ACCURACY, COST)
NOTHING = Estimate(np.nan, np.nan, np.nan)
BETTER, WORSE, NOT_INFERIOR, UNDECIDED, REFERENCE = "better", "worse", "not inferior", "undecided", "reference"


@dataclass(frozen=True)
class Standing:
    """One row of one cell.

    Attributes:
        cell: as `protocol_plan.Cell.described`.
        row, kind: the policy, and how it came to decide as it does.
        members: agents in the row.
        seen: whether it was trained on this source; None: it was not trained, or does not say on what.
        settings: of a calibrated planner; None: nothing to calibrate.
        refused: why it could not play; all numbers are missing then.
        measured: by name of the measure.
        against: reward - the reference's; nan for the reference and for hindsight.
        of_oracle, of_perfect: shares of the gaps closed.
        of_front: of an agent, its violations over the planners' at equal cost and accuracy; None: they do not get there.
        p: by claim (`BETTER`, `WORSE`, `NOT_INFERIOR`), not corrected.
        corrected: the same by Holm over the judged cells; empty where no verdict is given.
        verdict: one of the words above, or empty.
    """

    cell: Mapping[str, Any]
    row: str
    kind: str
    members: int
    seen: bool | None
    settings: Mapping[str, Any] | None
    refused: str = ""
    measured: Mapping[str, Estimate] = field(default_factory=dict)
    against: Estimate = NOTHING
    of_oracle: Estimate = NOTHING
    of_perfect: Estimate = NOTHING
    of_front: Estimate | None = NOTHING
    p: Mapping[str, float] = field(default_factory=dict)
    corrected: Mapping[str, float] = field(default_factory=dict)
    verdict: str = ""


def standings(cells: Sequence[Sequence[Mapping[str, Any]]], rng: np.random.Generator, resamples: int, judge: bool
              ) -> list[Standing]:
    """All rows of all cells.

    Args:
        cells: for each cell the outcomes of its rows (`protocol_play.outcome`).
        rng: generator of the bootstrap's draws.
        resamples: how many.
        judge: whether verdicts are given, in the cells whose source allows it.
    """
    found = [standing for outcomes in cells for standing in _cell(outcomes, Draws(_windows(outcomes), rng, resamples))]
    return _judged(found) if judge else found


def _windows(outcomes: Sequence[Mapping[str, Any]]) -> int:
    return max((len({e["start_s"] for e in o["episodes"]}) for o in outcomes), default=1) or 1


def _cell(outcomes: Sequence[Mapping[str, Any]], draws: Draws) -> list[Standing]:
    played = {o["row"]: o for o in outcomes if o["episodes"]}
    rewards = {name: draws.mean(values(o, REWARD.total)) for name, o in played.items()}
    planners = [name for name, o in played.items() if o["kind"] == PLANNER]
    best = max(planners, key=lambda name: rewards[name].value)
    oracle, perfect = rewards.get(ORACLE), rewards.get(PERFECT)
    top = oracle or perfect
    constants = [rewards[name] for name in (STATIC, STATIC_FAST) if name in rewards]
    margin = (top - max(constants, key=lambda drawn: drawn.value)) * MARGIN_RATIO if top and constants else None
    found = []
    for outcome in outcomes:
        name = outcome["row"]
        standing = _plain(outcome)
        if name in rewards:
            standing = replace(standing, measured=_measured(outcome, draws))
        if name == best:
            standing = replace(standing, verdict=REFERENCE)
        elif name in rewards and name != BOUND:
            gain = rewards[name] - rewards[best]
            standing = replace(
                standing,
                against=gain.estimate(),
                of_oracle=gain.share_of(oracle - rewards[best]) if oracle else NOTHING,
                of_perfect=gain.share_of(perfect - rewards[best]) if perfect else NOTHING,
                of_front=_of_front(outcome, [played[p] for p in planners], draws) if _learned(standing) else NOTHING,
                p=_p_values(gain, margin) if standing.kind != KNOWS else {},
            )
        found.append(standing)
    return found


def _of_front(agent: Mapping[str, Any], planners: Sequence[Mapping[str, Any]], draws: Draws) -> Estimate | None:
    """An agent's violations over those of the planners that take turns at its cost and accuracy."""
    points = [[float(np.nanmean(values(o, m.total))) for m in (VIOLATIONS, ACCURACY, COST)] for o in (agent, *planners)]
    shares = turns(points[1:], points[0])
    if shares is None:
        return None
    own, *others = (draws.mean(np.nan_to_num(values(o, VIOLATIONS.total))) for o in (agent, *planners))
    first, *rest = (drawn * float(share) for drawn, share in zip(others, shares) if share > 0)
    return own.share_of(sum(rest, first))


def _learned(standing: Standing) -> bool:
    return standing.kind not in (PLANNER, KNOWS)


def _p_values(gain: Drawn, margin: Drawn | None) -> dict[str, float]:
    return {BETTER: gain.p_above_zero(), WORSE: (gain * -1).p_above_zero(),
            NOT_INFERIOR: (gain + margin).p_above_zero() if margin else float("nan")}


def _plain(outcome: Mapping[str, Any]) -> Standing:
    source, trained = outcome["cell"]["source"], outcome.get("trained_on") or []
    seen = bool({source["name"], source["train"], source["val"]} & set(trained)) if trained else None
    return Standing(outcome["cell"], outcome["row"], outcome.get("kind", ""), len(outcome["members"]), seen,
                    outcome["settings"], outcome["refused"])


def _measured(outcome: Mapping[str, Any], draws: Draws) -> dict[str, Estimate]:
    return {m.name: _over_told(values(outcome, m.total), draws) for m in MEASURED}


def _over_told(found: np.ndarray, draws: Draws) -> Estimate:
    """Mean over the windows that tell a number: one without requests has no share of violations."""
    told = ~np.isnan(found)
    if told.all():
        return draws.mean(found).estimate()
    return draws.mean(np.where(told, found, 0.0)).share_of(draws.mean(told.astype(np.float64)))


def values(outcome: Mapping[str, Any], total: str) -> np.ndarray:
    """A total of each member on each window, (members, windows); seeds of requests are averaged, windows ascend."""
    table: dict[tuple[int, float], list[float]] = {}
    for episode in outcome["episodes"]:
        value = episode[total]
        table.setdefault((episode["member"], episode["start_s"]), []).append(np.nan if value is None else value)
    members, windows = sorted({member for member, _ in table}), sorted({window for _, window in table})
    return np.array([[np.mean(table[m, w]) for w in windows] for m in members])


def _judged(found: Sequence[Standing]) -> list[Standing]:
    """The same with verdicts: each row's claims corrected over all cells in which it is judged."""
    corrected: dict[tuple[int, str], float] = {}
    for row in dict.fromkeys(s.row for s in found):
        places = [i for i, s in enumerate(found) if s.row == row and s.p and s.cell["source"]["judged"]]
        for claim in (BETTER, WORSE, NOT_INFERIOR):
            for place, p in zip(places, holm([found[i].p[claim] for i in places])):
                corrected[place, claim] = p
    judged = []
    for i, standing in enumerate(found):
        claims = {claim: corrected[i, claim] for claim in (BETTER, WORSE, NOT_INFERIOR) if (i, claim) in corrected}
        judged.append(replace(standing, corrected=claims, verdict=_verdict(claims)) if claims else standing)
    return judged


def _verdict(p: Mapping[str, float]) -> str:
    """The strongest claim that stands; a row that is worse by less than the margin is both worse and not inferior: worse."""
    return next((claim for claim in (BETTER, WORSE, NOT_INFERIOR) if p[claim] <= ALPHA), UNDECIDED)


def summary(found: Sequence[Standing]) -> list[str]:
    """A sentence for each row that was judged."""
    told = []
    for row in dict.fromkeys(s.row for s in found if s.corrected):
        words = [s.verdict for s in found if s.row == row and s.corrected]
        counts = [f"{claim} in {words.count(claim)}" for claim in (BETTER, NOT_INFERIOR, WORSE, UNDECIDED) if claim in words]
        kinds = ", ".join(dict.fromkeys(s.kind for s in found if s.row == row and s.kind))
        told.append(f"{row} ({kinds}), {len(words)} judged {'cell' if len(words) == 1 else 'cells'}: {', '.join(counts)}.")
    return told + _fronts(found)


def _fronts(found: Sequence[Standing]) -> list[str]:
    """A sentence for each agent: how its violations stand to the planners' at equal cost and accuracy."""
    told = []
    for row in dict.fromkeys(s.row for s in found if s.measured and _learned(s)):
        fronts = [s.of_front for s in found if s.row == row and s.measured and _learned(s)]
        ratios = [e for e in fronts if e is not None and np.isfinite(e.value)]
        half = sum(e.value <= HALF for e in ratios)
        sure = sum(e.high <= HALF for e in ratios)
        told.append(f"{row}, violations at equal cost and accuracy: at most half of the planners' in {half} of {len(ratios)} "
                    f"cells (interval too: {sure}); in {fronts.count(None)} more no planners are as cheap and as accurate.")
    return told


def figures(found: Sequence[Standing]) -> list[dict[str, Any]]:
    """One mapping for each number, as the JSON record takes them."""
    rows: list[dict[str, Any]] = []
    for s in found:
        about = {"source": s.cell["source"]["name"], "cold_start_s": s.cell["cold_start_s"], "policy": s.row, "kind": s.kind,
                 "members": s.members, "seen": s.seen, "verdict": s.verdict or None}
        best = next((o.row for o in found if o.cell == s.cell and o.verdict == REFERENCE), None)
        estimates: list[tuple[str, Estimate, str, str, str | None]]
        estimates = [(m.name, e, m.unit, m.how, None) for m in MEASURED if (e := s.measured.get(m.name))]
        estimates += [
            ("reward against the best calibrated planner", s.against, "", "paired by window", best),
            ("share of the gap to the oracle", s.of_oracle, "ratio", "(policy - peer) / (oracle - peer)", best),
            ("share of the gap to the perfect forecast", s.of_perfect, "ratio", "(policy - peer) / (perfect - peer)", best),
            ("violations over the planners'", s.of_front or NOTHING, "ratio", "planners in turns, at equal cost and accuracy",
             None),
        ]
        rows += [{"figure": name, "value": e.value, "low": e.low, "high": e.high, "unit": unit, "how": how, "peer": peer,
                  **about} for name, e, unit, how, peer in estimates if np.isfinite(e.value)]
        rows += [{"figure": f"p, {claim}", "value": p, "unit": "", "how": "one-sided", "peer": best,
                  "by_holm": s.corrected.get(claim), **about} for claim, p in s.p.items()]
    return rows
