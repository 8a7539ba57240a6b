"""A placement: eight models do not fit on four devices as whole copies for everybody. Who runs where?

    python examples/07_placement.py

AlpaServe's answer: cut models into pipelines over several devices, so that the memory and the time of all are there for
whoever has a burst. `tidal placement SCENARIO --svg FILE` plans a scenario's, and draws it.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from baselines.alpaserve_search import search
from baselines.placement import PlacedModel, PlacementProblem
from baselines.placement_replay import Replay, Requests
from baselines.selective_replication import replicate
from envs.contract import Shape

LATENCY_S, WEIGHTS, MODELS, DEVICES = 0.4, 7.0, 8, 4
SHAPES = [Shape(device="gpu", inter_op=stages) for stages in (1, 2, 4)]


def problem() -> PlacementProblem:
    """Models of 7 GB on devices with room for two; a pipeline of n stages holds 1 / n of the weights on each device."""
    models = [
        PlacedModel(
            name=f"model {number}",
            slo_s=5 * LATENCY_S,
            latency_s={shape: (LATENCY_S / shape.inter_op,) * shape.inter_op for shape in SHAPES},
            weight_bytes={shape: WEIGHTS / shape.inter_op for shape in SHAPES},
        )
        for number in range(MODELS)
    ]
    return PlacementProblem(tuple(models), DEVICES, memory_bytes=2 * WEIGHTS, stage_overhead_ratio=0.01)


def bursts(seed: int, minutes: int = 20) -> Requests:
    """Each second one of the models, at random, gets five requests: the mean is a half of what four devices carry."""
    rng = np.random.default_rng(seed)
    seconds = np.arange(60 * minutes)
    arrival_s = np.sort(np.repeat(seconds, 5) + rng.random(5 * seconds.size))
    return Requests(arrival_s, np.repeat(rng.integers(MODELS, size=seconds.size), 5))


def main() -> None:
    """Plans on some requests, and scores on others."""
    planned_on, scored_on = Replay(problem(), bursts(seed=0)), Replay(problem(), bursts(seed=1))
    for name, placement in (("whole models", replicate(planned_on)), ("AlpaServe", search(planned_on).placement)):
        print(f"{name}: {100 * scored_on.play(placement).attainment:.1f} % within the SLO")
        for group in placement:
            print(f"    {group.shape}: models {', '.join(map(str, group.models))}")


if __name__ == "__main__":
    main()
