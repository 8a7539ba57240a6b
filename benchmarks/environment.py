"""How fast the environment is: decisions per second of one core, the kernel's part of a step, and PPO on top.

    python benchmarks/environment.py [--json FILE] [--repeats N] [--ppo-steps N]

60 req/s (Poisson) and intervals of 10 s, on `resnet-variants` (replicas of many cores, queues of their own) and `live-demo`.
Compiling comes before, untimed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.rows import Row, command_line, report, row
from envs.clusters import Clusters
from envs.scenario import Scenario
from envs.scenario_file import load as load_scenario
from envs.vector_env import ServingVectorEnv
from traces.samplers import POISSON, Load, make_load

MEAN_RPS, INTERVAL_S = 60.0, 10.0
STEPS_TARGET, RATIO_TARGET, PPO_TARGET = 20_000.0, 1.5, 10_000.0
STEPS = 60  # of all clusters, in a repeat


def problem(name: str) -> tuple[Scenario, dict[str, Load]]:
    """A built-in scenario at 60 req/s and 10 s intervals."""
    scenario = load_scenario(name).with_(interval_s=INTERVAL_S, episode_intervals=120)
    return scenario, {a: make_load(POISSON, np.full(4000, MEAN_RPS), INTERVAL_S) for a in scenario.applications}


class _KernelTime:
    """CPU seconds that the clusters spend in the kernel."""

    def __init__(self, clusters: Clusters) -> None:
        self.cpu_s = 0.0
        self._play, clusters._play = clusters._play, self  # type: ignore[method-assign, assignment]

    def __call__(self, *arguments: object) -> None:
        began = time.process_time()
        self._play(*arguments)  # type: ignore[arg-type]
        self.cpu_s += time.process_time() - began


def step_rows(name: str, clusters: int, repeats: int) -> Iterator[Row]:
    """Steps of the vector environment under the initial deployment."""
    scenario, loads = problem(name)
    envs = ServingVectorEnv(clusters, scenario=scenario, loads=loads)
    envs.reset(seed=0)
    actions = np.tile(np.array(scenario.levels(scenario.initial_deployment)), (clusters, 1))
    for _ in range(5):
        envs.step(actions)
    kernel, rates, ratios = _KernelTime(envs.process.clusters), [], []
    for _ in range(repeats):
        kernel.cpu_s, began = 0.0, time.process_time()
        for _ in range(STEPS):
            envs.step(actions)
        cpu_s = time.process_time() - began
        rates.append(STEPS * clusters / cpu_s)
        ratios.append(cpu_s / kernel.cpu_s)
    how = f"{name}, {clusters} clusters, {MEAN_RPS:g} req/s, {INTERVAL_S:g} s; CPU time, median of {repeats} x {STEPS}"
    yield row(f"environment steps, {name}, {clusters} clusters", float(np.median(rates)), "steps/s", how, target=STEPS_TARGET)
    figure = f"time of a step / of its kernel, {name}, {clusters} clusters"
    yield row(figure, float(np.median(ratios)), "ratio", how, target=RATIO_TARGET)


def ppo_row(name: str, steps: int) -> Row:
    """PPO, 64 clusters and a network of 64 x 64, updates included."""
    import torch

    from agents.ppo import PPOSettings, make_ppo
    from agents.vec_env import ServingVecEnv

    torch.set_num_threads(1)
    scenario, loads = problem(name)
    settings = PPOSettings()
    model = make_ppo(settings, ServingVecEnv(ServingVectorEnv(settings.clusters, scenario=scenario, loads=loads)), seed=0)
    model.learn(settings.clusters * settings.rollout_intervals)
    began, cpu = time.perf_counter(), time.process_time()
    model.learn(steps)
    cpu_s, wall_s = time.process_time() - cpu, time.perf_counter() - began
    done = model.num_timesteps
    how = f"{name}, {settings.clusters} clusters, {settings.epochs} epochs; {done} in {cpu_s:.1f} s CPU, {wall_s:.1f} s wall"
    return row(f"PPO steps, {name}", done / cpu_s, "steps/s", how, target=PPO_TARGET)


def measure(repeats: int, ppo_steps: int) -> Iterator[Row]:
    """All rows."""
    for name in ("resnet-variants", "live-demo"):
        for clusters in (64, 256):
            yield from step_rows(name, clusters, repeats)
        yield ppo_row(name, ppo_steps)


def main() -> None:
    """Runs the benchmark from the command line."""
    parser = command_line("decisions per second of the environment and of PPO")
    parser.add_argument("--repeats", type=int, default=5, help="of each measurement, the median counts (%(default)s)")
    parser.add_argument(
        "--ppo-steps", type=int, default=50_000, metavar="N", help="decisions that PPO learns from (%(default)s)"
    )
    arguments = parser.parse_args()
    report(measure(arguments.repeats, arguments.ppo_steps), arguments.json)


if __name__ == "__main__":
    main()
