"""How long planners take for a decision: InfAdapter's exact search beside HiGHS on the same program.

    python benchmarks/planners.py [--json FILE] [--seeds N]

CPU seconds of one decision, in this process, after compiling. `resnet-variants`: five variants, 20 cores, loads over its
range, three deployments in force. 20 variants on 512 cores: capacities on random lines around the ResNets' (3 to 25 req/s per
core), rounded down; loads from 2 % to 95 % of what the fastest variant carries; two variants in force.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from baselines.infadapter_ilp import Choices, Plan, solve
from baselines.infadapter_milp import solve_compact, solve_milp
from baselines.infadapter_tables import choices_of, hosts_of, measured_capacity_rps
from benchmarks.rows import Row, command_line, report, row
from envs.scenario_file import load as load_scenario

SMALL_TARGET_S, LARGE_TARGET_S = 2e-3, 0.1
VARIANTS, CORES = 20, 512
LOAD_RATIOS = (0.02, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95)


def resnets() -> Choices:
    """InfAdapter's tables of `resnet-variants`."""
    scenario = load_scenario("resnet-variants")
    hosts = hosts_of(scenario, "classify")
    return choices_of(scenario, hosts, lambda kind, variant: 0.8 * measured_capacity_rps(scenario, kind, variant))


def large(seed: int) -> tuple[Choices, np.ndarray, np.ndarray]:
    """20 variants on 512 cores, and the slopes and intercepts of their capacities before rounding down."""
    rng = np.random.default_rng(seed)
    slope = 0.8 * np.geomspace(25, 3, VARIANTS) * np.exp(rng.normal(0, 0.15, VARIANTS))
    intercept = -0.8 * rng.uniform(0, 6, VARIANTS)
    units = np.tile(np.arange(CORES + 1), (VARIANTS, 1))
    units[:, 1] = -1  # a pod of one core is not allowed
    capacity = np.floor(np.maximum(slope[:, None] * units + intercept[:, None], 0.0)) * (units > 0)
    load_s = rng.uniform(6, 9, VARIANTS)
    accuracy = np.sort(rng.uniform(0.65, 0.85, VARIANTS))
    cost, device = np.maximum(units, 0) / CORES, np.zeros(VARIANTS, dtype=np.int64)
    return Choices(accuracy, load_s / load_s.max(), units, capacity, cost, device, np.array([CORES])), slope, intercept


def timed(decide: Callable[..., Plan], *arguments: object) -> tuple[float, Plan]:
    """CPU seconds of one decision, and the plan."""
    began = time.process_time()
    plan = decide(*arguments)
    return time.process_time() - began, plan


def small_rows() -> Iterator[Row]:
    """Five variants on 20 cores."""
    choices = resnets()
    columns = choices.units.shape[1]
    cases = [(load, previous) for load in range(5, 376, 5)
             for previous in ((0, 0, 0, 0, columns - 1), (0, 0, 12, 0, 0), (3, 0, 15, 0, 0))]
    solve(choices, 100, (0,) * 5)
    ours = np.array([timed(solve, choices, load, previous)[0] for load, previous in cases])
    peer = np.array([timed(solve_milp, choices, load, previous)[0] for load, previous in cases[::9]])
    how = f"{len(cases)} decisions; peer: scipy.milp, multiple-choice form, every ninth of them"
    name = "InfAdapter, 5 variants, 20 cores"
    yield row(f"{name}: median", np.median(ours), "s", how, target=SMALL_TARGET_S, peer=np.median(peer))
    yield row(f"{name}: longest", ours.max(), "s", how, target=SMALL_TARGET_S, peer=peer.max())


def large_rows(seeds: int) -> Iterator[Row]:
    """20 variants on 512 cores."""
    ours, peer, short, unproven = [], [], [], 0
    for seed in range(seeds):
        choices, slope, intercept = large(seed)
        rng = np.random.default_rng(seed)
        for ratio in LOAD_RATIOS:
            load_rps = ratio * choices.capacity_rps[:, -1].max()
            previous = np.zeros(VARIANTS, dtype=np.int64)
            previous[rng.choice(VARIANTS, 2, replace=False)] = rng.integers(2, 250, 2)
            took_s, plan = timed(solve, choices, load_rps, previous)
            peer_s, other = timed(solve_compact, choices, slope, intercept, load_rps, previous)
            ours.append(took_s)
            peer.append(peer_s)
            unproven += not plan.proven
            short.append(plan.objective - other.objective)
    how = f"{len(ours)} decisions, {unproven} not proven; peer: scipy.milp, compact form, gap 1e-4"
    name = f"InfAdapter, {VARIANTS} variants, {CORES} cores"
    yield row(f"{name}: median", np.median(ours), "s", how, target=LARGE_TARGET_S, peer=np.median(peer))
    yield row(f"{name}: longest", np.max(ours), "s", how, target=LARGE_TARGET_S, peer=np.max(peer))
    gained = np.array([gain for gain in short if gain == gain])
    told = f"ours minus the peer's, which in {len(short) - len(gained)} falls short of the load on the rounded table"
    yield row(f"{name}: objective gained, most", gained.max(), "objective", told)


def main() -> None:
    """Measures and reports."""
    parser = command_line("CPU time of planners' decisions.")
    parser.add_argument("--seeds", type=int, default=6, metavar="N", help="large problems drawn (%(default)s)")
    arguments = parser.parse_args()

    def rows() -> Iterator[Row]:
        yield from small_rows()
        yield from large_rows(arguments.seeds)

    report(rows(), arguments.json)


if __name__ == "__main__":
    main()
