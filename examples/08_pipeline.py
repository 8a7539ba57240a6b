"""A pipeline: a request goes through two services, with one SLO for both.

    python examples/08_pipeline.py

`video` finds objects, then names them (IPA, JSys 2024). Which variant, batch and count each stage gets is one decision, since
they share the time and the budget.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agents import registry
from envs.episode import run_episode
from envs.scenario_file import load
from traces.load import POISSON, make_load


def main() -> None:
    """A load that triples and falls again, under the planner of that paper and two of those that it compares with."""
    scenario = load("video")
    loads = {"video": make_load(POISSON, np.repeat([5.0, 10.0, 15.0, 5.0], 6), bin_s=10)}
    stages = scenario.applications["video"].services
    for name in ("ipa", "fa2-low", "fa2-high"):
        episode = run_episode(scenario, registry.make(name, scenario), loads, seed=0, intervals=24)
        print(f"{name}: accuracy {episode.totals['accuracy']:.3f}, cost {episode.totals['cost']:.2f}, "
              f"{100 * episode.totals['violation_ratio']:.1f} % violations")
        last = episode.replicas[(episode.replicas.t_s == 180) & (episode.replicas.state == "ready")]
        for stage in stages:
            here = last[last.variant.isin(scenario.services[stage].variants)]
            kinds = ", ".join(f"{row.count} x {row.kind}" for row in here.itertuples(index=False))
            print(f"    {stage}, at 15 req/s: {kinds}")


if __name__ == "__main__":
    main()
