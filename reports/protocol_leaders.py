"""Who leads in each cell of the protocol, in a sentence each, and first of all in how many cells it is an agent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reports.measures import REWARD
from reports.protocol import REFERENCE, Standing
from reports.protocol_play import KNOWS, PLANNER


def leaders(found: Sequence[Standing]) -> list[str]:
    """The count of cells, then a sentence for each cell: the best planner, and the best agent against it.

    An agent is whatever has learned, by forecasts or rewards; hindsight leads nowhere, since nobody can run it. Who leads has
    the higher mean; that it is told from zero is said where the 95 % interval of the difference leaves it out.
    """
    cells = list(dict.fromkeys((s.cell["source"]["name"], s.cell["cold_start_s"]) for s in found))
    by_cell = [[s for s in found if (s.cell["source"]["name"], s.cell["cold_start_s"]) == cell] for cell in cells]
    told = [(f"{name}, {cold_start_s:g} s", next(s for s in here if s.verdict == REFERENCE), _agent(here))
            for (name, cold_start_s), here in zip(cells, by_cell)]
    gaps = [agent.against for _, _, agent in told if agent]
    ahead, sure, behind = (sum(which(e) for e in gaps) for which in (
        lambda e: e.value > 0, lambda e: e.low > 0, lambda e: e.high < 0))
    first = (f"A planner leads in {len(told) - ahead} of {len(told)} cells (told from zero in {behind}), "
             f"an agent in {ahead} (told from zero in {sure}).")
    return [first, *(_sentence(*row) for row in told)]


def _agent(here: Sequence[Standing]) -> Standing | None:
    """The agent with the highest mean reward."""
    agents = [s for s in here if s.measured and s.kind not in (PLANNER, KNOWS)]
    return max(agents, key=lambda s: s.measured[REWARD.name].value, default=None)


def _sentence(cell: str, best: Standing, agent: Standing | None) -> str:
    planner = f"{best.row} (planner, {REWARD.show(best.measured[REWARD.name].value)})"
    if agent is None:
        return f"{cell}: {planner} leads; no agent played."
    e = agent.against
    interval = f" {REWARD.interval(e.low, e.high, sign=True)}" if np.isfinite(e.low) else ""
    gap = f"{REWARD.show(e.value, sign=True)}{interval}"
    sure = "" if not np.isfinite(e.low) or e.low > 0 or e.high < 0 else ", not told from zero"
    learned = f"{agent.row} ({agent.kind}, {REWARD.show(agent.measured[REWARD.name].value)})"
    if e.value > 0:
        return f"{cell}: {learned} leads, {gap} against the best planner, {planner}{sure}."
    return f"{cell}: {planner} leads; the best agent, {learned}, is at {gap}{sure}."
