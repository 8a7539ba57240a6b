"""How long agents take for a decision: their network alone, and all of it, with features, routes and who stands by.

    python benchmarks/networks.py [--json FILE]

CPU seconds in this process, numpy on one core, medians. A network: calls on random inputs of the shape that it was trained on.
A whole decision: those of an hour of the scenario's own validation load; where the planner that stands by decides beside the
agent, or in its place, its time is in it; the planner alone stands apart.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agents import order_keep_export, proposals_export, quantile_forecaster, registry
from agents.brain import Layers, forward
from agents.network_policy import NetworkPolicy
from benchmarks.planners import Timed
from benchmarks.rows import Row, command_line, report, row
from envs.episode import run_episode
from envs.loads import open_loads
from envs.scenario_file import load as load_scenario

NETWORK_TARGET_S = 50e-6
CALLS, REPEATS = 200, 25
PLAYED = {  # scenario: its agents, then its planner
    "resnet-variants": ("order-keep-network", "ppo", "mpc-forecast", "infadapter-fast"),
    "live-demo": ("proposals-network", "infadapter-fast"),
    "video": ("proposals-network", "ipa-fast"),
}


def networks() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Each pretrained network by name, as a call on one input."""
    rng = np.random.default_rng(0)
    for folder in sorted(registry.PRETRAINED.iterdir()):
        if folder == quantile_forecaster.PRETRAINED:
            seen = rng.normal(size=(1, quantile_forecaster.FEATURES)).astype(np.float32)
            yield folder.name, partial(quantile_forecaster.run, quantile_forecaster.read(folder)[1], seen)
        elif folder.is_dir():
            layers = _layers(folder)
            yield folder.name, partial(forward, layers, rng.normal(size=(layers[0][0].shape[1],)).astype(np.float32))


def _layers(folder: Path) -> Layers:
    if folder.name.endswith("order-keep-network"):
        return order_keep_export.read(folder)[1].layers
    if folder.name.endswith("proposals-network"):
        return proposals_export.read(folder)[1].layers
    return NetworkPolicy(folder).brain.layers


def network_rows() -> Iterator[Row]:
    """The networks alone."""
    for name, call in networks():
        call()
        took_s = []
        for _ in range(REPEATS):
            began = time.process_time()
            for _ in range(CALLS):
                call()
            took_s.append((time.process_time() - began) / CALLS)
        yield row(f"{name}: network", np.median(took_s), "s", f"{REPEATS} times {CALLS} calls", target=NETWORK_TARGET_S)


def decision_rows() -> Iterator[Row]:
    """Whole decisions of an hour."""
    for name, policies in PLAYED.items():
        scenario = load_scenario(name)
        loads = open_loads(scenario, None, "val", scenario.interval_s * scenario.episode_intervals).loads
        for policy in policies:
            taken = Timed(registry.make(policy, scenario))
            run_episode(scenario, taken, loads, seed=0)
            yield row(f"{policy} on {name}: whole decision", np.median(taken.took_s), "s", f"{len(taken.took_s)} decisions")


def main() -> None:
    """Measures and reports."""

    def rows() -> Iterator[Row]:
        yield from network_rows()
        yield from decision_rows()

    report(rows(), command_line("CPU time of agents' decisions.").parse_args().json)


if __name__ == "__main__":
    main()
