"""How long planners take for a decision: exact searches of InfAdapter and IPA beside HiGHS on the same program; look-ahead.

    python benchmarks/planners.py [--json FILE] [--seeds N]

CPU seconds of one decision, in this process, after compiling. `resnet-variants`: five variants, 20 cores, loads over its
range, three deployments in force. 20 variants on 512 cores: capacities on random lines around the ResNets' (3 to 25 req/s per
core), rounded down; loads from 2 % to 95 % of what the fastest variant carries; two variants in force. IPA: 5 stages of 10
variants in batches of 1, 2, 4 and 8, accuracies, latencies and loads drawn, SLOs from tight to loose.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from baselines.band import OrderKeepBand
from baselines.infadapter_ilp import Choices, solve
from baselines.infadapter_milp import solve_compact, solve_milp
from baselines.infadapter_tables import choices_of, hosts_of, measured_capacity_rps
from baselines.ipa_knapsack import Options
from baselines.ipa_knapsack import solve as solve_pipeline
from baselines.ipa_milp import solve_milp as solve_pipeline_milp
from baselines.loki import Loki
from baselines.mpc import MPC
from baselines.proteus import Proteus
from baselines.quantile_planner import HeldQuantilePlanner
from baselines.shortlist import shortlist, tables_of
from benchmarks.rows import Row, command_line, report, row
from envs.contract import Decision, Observation, Policy
from envs.episode import run_episode
from envs.loads import Loads, open_loads
from envs.scenario import Scenario
from envs.scenario_file import load as load_scenario

SMALL_TARGET_S, LARGE_TARGET_S = 2e-3, 0.1
SUM_TARGET_S, PRODUCT_TARGET_S = 5e-3, 20e-3
AHEAD_TARGET_S = 50e-3
TABLE_HOURS, TABLE_SETTINGS = 8, 200
VARIANTS, CORES = 20, 512
STAGES, STAGE_VARIANTS, BATCHES, PIPELINES = 5, 10, 4, 60
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


def pipeline(seed: int, product: bool) -> Options:
    """IPA's program for a drawn pipeline and load."""
    rng = np.random.default_rng(seed)
    sizes = (STAGES, STAGE_VARIANTS, BATCHES)
    stage, variant, exponent = (a.ravel() for a in np.meshgrid(*map(np.arange, sizes), indexing="ij"))
    one_s = rng.uniform(0.02, 0.1, STAGES)[:, None] * (1 + np.arange(STAGE_VARIANTS)) ** rng.uniform(0.8, 1.3, (STAGES, 1))
    accuracy = 0.5 + 0.4 * (np.arange(STAGE_VARIANTS) + rng.uniform(size=(STAGES, 1))) / STAGE_VARIANTS
    load_rps, batch = rng.uniform(5, 40), 2.0**exponent
    batch_s = one_s[stage, variant] * (0.3 + 0.7 * batch)
    units = np.ceil(load_rps * batch_s / batch) * (1 + variant // 3)
    latency_s = batch_s + (batch - 1) / load_rps
    least, most = (sum(f(latency_s[stage == s]) for s in range(STAGES)) for f in (np.min, np.max))
    slo_s = least + (most - least) * rng.uniform(0.02, 0.5)
    return Options(stage, accuracy[stage, variant], 0.003 * units + 1e-6 * batch, latency_s, units[:, None], STAGES, slo_s,
                   np.array([10_000.0]), 1.0, product)


def timed(decide: Callable[..., Any], *arguments: object) -> tuple[float, Any]:
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


def pipeline_rows() -> Iterator[Row]:
    """IPA's program for five stages, accuracies added and multiplied."""
    for product, target in ((False, SUM_TARGET_S), (True, PRODUCT_TARGET_S)):
        cases = [pipeline(seed, product) for seed in range(PIPELINES)]
        solve_pipeline(cases[0])
        ours = [timed(solve_pipeline, case) for case in cases]
        peer = [] if product else [timed(solve_pipeline_milp, case)[0] for case in cases[::4]]
        how = f"{len(cases)} decisions, {sum(not plan.proven for _, plan in ours)} not proven"
        how += "" if product else "; peer: scipy.milp, every fourth of them"
        name = f"IPA, {STAGES} stages x {STAGE_VARIANTS} variants, {'product' if product else 'sum'}"
        yield row(f"{name}: median", np.median([t for t, _ in ours]), "s", how, target=target,
                  peer=float(np.median(peer)) if peer else None)
        yield row(f"{name}: longest", max(t for t, _ in ours), "s", how, target=target, peer=max(peer, default=None))


def look_ahead_rows() -> Iterator[Row]:
    """Policies that look ahead, each decision of an episode."""
    scenario, loads = slow_start()
    for name, policy in (("model-predictive control", MPC()), ("quantile planner with hold", HeldQuantilePlanner())):
        begun_s = timed(policy.reset, scenario)[0]
        taken = Timed(policy)
        run_episode(scenario, taken, loads.loads, seed=0)
        how = f"{len(taken.took_s)} decisions, mean load {loads.told.split('mean ')[1].split(' req/s')[0]} req/s"
        yield row(f"{name}: median", np.median(taken.took_s), "s", how, target=AHEAD_TARGET_S)
        yield row(f"{name}: longest", max(taken.took_s), "s", how, target=AHEAD_TARGET_S)
        yield row(f"{name}: start", begun_s, "s", "once for a scenario: library, returns of all rungs")


def scaling_rows() -> Iterator[Row]:
    """Proteus and Loki on a pipeline of two stages, beyond what the most accurate variants carry, and on a lone service."""
    for name, loads in (("video", range(13, 93, 4)), ("resnet-variants", range(20, 380, 18))):
        scenario, proteus, loki = load_scenario(name), Proteus(), Loki()
        proteus.reset(scenario)
        loki.reset(scenario)
        services = len(scenario.services)
        took_s = {"Proteus": [timed(proteus.plan, np.full(services, float(rps)))[0] for rps in loads],
                  "Loki, accuracy scaling": [timed(loki.scale_accuracy, float(rps))[0] for rps in loads]}
        for policy, seconds in took_s.items():
            how = f"{len(seconds)} decisions, {loads[0]} to {loads[-1]} req/s"
            yield row(f"{policy}, {name}: median", np.median(seconds), "s", how)
            yield row(f"{policy}, {name}: longest", max(seconds), "s", how)


def table_rows() -> Iterator[Row]:
    """Reward tables, and settings tried in them."""
    scenario, loads = slow_start()
    windows = [(3600.0 * hour, hour) for hour in range(TABLE_HOURS)]
    took_s, tables = timed(tables_of, scenario, loads.loads, windows, scenario.episode_intervals)
    yield row("reward tables: played", took_s, "s", f"{TABLE_HOURS} windows of an hour, {tables.plays} plays")
    for name, policy in (("order/keep band", OrderKeepBand), ("quantile planner with hold", HeldQuantilePlanner)):
        took_s, _ = timed(shortlist, policy, tables, TABLE_SETTINGS, 1)
        yield row(f"reward tables: {name}", took_s, "s", f"{TABLE_SETTINGS} settings on these windows")


def slow_start() -> tuple[Scenario, Loads]:
    """`resnet-variants` with replicas that load for 120 s, and its validation load."""
    scenario = load_scenario("resnet-variants")
    slow = {name: v.model_copy(update={"load_s": 120.0}) for name, v in scenario.variants.items()}
    return scenario.with_(variants=slow), open_loads(scenario, None, "val", 3600.0 * TABLE_HOURS)


class Timed(Policy):
    """A policy whose decisions are timed."""

    def __init__(self, policy: Policy) -> None:
        self.policy, self.took_s = policy, list[float]()

    def reset(self, scenario: Scenario) -> None:
        """Starts afresh."""
        self.policy.reset(scenario)

    def decide(self, observation: Observation) -> Decision:
        """The policy's decision."""
        took_s, decision = timed(self.policy.decide, observation)
        self.took_s.append(took_s)
        return decision


def main() -> None:
    """Measures and reports."""
    parser = command_line("CPU time of planners' decisions.")
    parser.add_argument("--seeds", type=int, default=6, metavar="N", help="large problems drawn (%(default)s)")
    arguments = parser.parse_args()

    def rows() -> Iterator[Row]:
        yield from small_rows()
        yield from pipeline_rows()
        yield from look_ahead_rows()
        yield from table_rows()
        yield from scaling_rows()
        yield from large_rows(arguments.seeds)

    report(rows(), arguments.json)


if __name__ == "__main__":
    main()
