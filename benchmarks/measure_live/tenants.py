"""What one tenant's flood does to another."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.measure_live.cluster import cluster
from benchmarks.measure_live.load import Played, Target, open_loop, poisson
from benchmarks.measure_live.tool import Tool, said
from benchmarks.measure_worlds.throughput import median_interval
from benchmarks.rows import Row, row
from envs.scenario_file import load

SCENARIO, VICTIM, FLOOD, TIMES = "tenants", "gold", "flood", 10
RATE_RPS, SECONDS = 60.0, 20.0


def rows(rounds: int) -> Iterator[Row]:
    """The attainment that the victim loses, in points."""
    scenario = load(SCENARIO)
    slo_s, quota_rps = scenario.services[VICTIM].slo_s, scenario.tenants[FLOOD].quota_rps or 0.0
    quiet, flooded, shed, sent = [], [], 0, 0
    with cluster(SCENARIO) as live:
        victim, flooder = Tool(), Tool()
        try:
            for seed in range(rounds):
                due_s = poisson(RATE_RPS, SECONDS, seed)
                quiet.append(_attained(victim.play(open_loop, _target(live.port, VICTIM), due_s), slo_s))
                flood = flooder.start(open_loop, _target(live.port, FLOOD), poisson(TIMES * quota_rps, SECONDS, 100 + seed))
                flooded.append(_attained(victim.play(open_loop, _target(live.port, VICTIM), due_s), slo_s))
                played = flood.result()
                shed, sent = shed + int(np.sum(played.status == 429)), sent + len(played.status)
        finally:
            victim.close()
            flooder.close()
    lost = 100 * (np.array(quiet) - np.array(flooded))
    how = (f"scenario {SCENARIO}, emulated: {VICTIM} sends {RATE_RPS:.0f}/s, {FLOOD} {TIMES} times its quota of "
           f"{quota_rps:.0f}/s ({100 * shed / sent:.0f} % of it refused); attainment {said(quiet, '%', 100)} without, "
           f"{said(flooded, '%', 100)} with; median of {rounds} pairs, in turns {said(lost)}; the upper end counts")
    yield row("attainment lost to a flood", median_interval(lost)[2], "points", how, target=1.0)


def _target(port: int, service: str) -> Target:
    return Target(port, service, "payload", 1)


def _attained(played: Played, slo_s: float) -> float:
    """Share of all requests that were answered within the SLO, as the client sees it."""
    return float(np.sum(played.latency_s <= slo_s)) / len(played.status)
