"""The demonstration's scenario, written for the machine that it runs on: files that every command can be given again."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from envs.envelope import Limits
from envs.scenario import Scenario
from envs.scenario_file import load as load_scenario
from runtime.demo.load import excerpt
from runtime.demo.timings import Timing

NAME = "live-resnets"
SERVICE = "classify"
MODELS = {"resnet18": "resnet18@32", "resnet50": "resnet50@32", "resnet101": "resnet101@32"}
ACCURACY = {"resnet18": 0.6976, "resnet50": 0.7613, "resnet101": 0.7737}  # torchvision's, ImageNet top-1, full-size pictures
CORES = 2
INTERVAL_S = 2.0
SLO_LATENCIES, LEAST_SLO_S = 8.0, 0.25  # the SLO is 8 times the slowest model's latency, and not below 250 ms
CORE_RATIO = 0.5  # of a core's time that a worker can count on: gateway, load generator and others need some of it
PEAK_RATIO = 0.8  # more than the planner lets two resnet50 carry, so it must go further
LIMITS = Limits(min_levels=(0, 0, 1))  # an operator's: one replica of the fastest variant stays, for bursts to overflow to
MOST_RPS = 120.0  # what gateway and load generator share the two cores with the workers for


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        scenario: as read back.
        path, models, limits: the files that `tidal serve` and the others are given.
        load: what is played, in words.
        others: other stretches of that trace, rates by the second.
    """

    scenario: Scenario
    path: Path
    models: Path
    limits: Path
    load: str
    others: list[np.ndarray]


def write(folder: Path, timings: Mapping[str, Timing], seconds: int, peak_ratio: float = PEAK_RATIO, cores: int = CORES
          ) -> Written:
    """Writes scenario, latencies, models and load.

    Args:
        folder: for the files.
        timings: of the models, by variant.
        seconds: of load.
        peak_ratio: the highest load, of what a resnet50 on each core computes at full use.
        cores: that replicas may have.

    Raises:
        OSError: the folder cannot be written to.
        TraceError: the trace that TIDAL_TRACES should hold is not there.
    """
    slowest_s = max(timing.latency_s for timing in timings.values())
    slo_s = max(LEAST_SLO_S, math.ceil(SLO_LATENCIES * slowest_s / 0.05) * 0.05)
    played = excerpt(seconds, min(MOST_RPS, peak_ratio * cores / timings["resnet50"].latency_s))
    _table(folder / "load.csv", "t_s,requests", enumerate(map(float, played.rates_rps)))
    _table(
        folder / "latency.csv",
        "variant,device,cores,inter_op,intra_op,batch,stage,latency_s",
        ((variant, "cpu", "", 1, 1, 1, 0, timing.latency_s) for variant, timing in timings.items()),
    )
    _table(
        folder / "capacity.csv",
        "variant,device,cores,inter_op,intra_op,batch,capacity_rps",
        ((variant, "cpu", 1, 1, 1, 1, CORE_RATIO / timing.latency_s) for variant, timing in timings.items()),
    )
    path, models, limits = (folder / name for name in ("scenario.yaml", "models.yaml", "limits.yaml"))
    _yaml(path, "The live part of `make demo`, for this machine.", _scenario(timings, round(slo_s, 3), seconds, cores))
    _yaml(models, "What runs for its variants; weights are drawn at random.", {"variants": MODELS, "device": "cpu"})
    _yaml(limits, "What the autoscaler keeps to, whatever its policy says.", {"min_levels": list(LIMITS.min_levels or ())})
    return Written(load_scenario(path), path, models, limits, played.told, played.others)


def _scenario(timings: Mapping[str, Timing], slo_s: float, seconds: int, cores: int) -> dict[str, object]:
    accurate_first = sorted(timings, key=lambda variant: -ACCURACY[variant])
    return {
        "name": NAME,
        "source": f"latencies measured on this machine ({os.cpu_count()} cores), {CORES} cores busy; accuracies as published",
        "interval_s": INTERVAL_S,
        "episode_intervals": max(1, int(seconds / INTERVAL_S)),
        "binding": "late",  # what waits belongs to no replica: it can wait for one that is still loading
        "devices": {"cpu": {"budget": cores}},
        "variants": {
            variant: {"accuracy": ACCURACY[variant], "load_s": round(t.load_s, 3), "memory_bytes": t.memory_bytes}
            for variant, t in timings.items()
        },
        "services": {SERVICE: {"variants": accurate_first, "slo_s": slo_s}},
        "candidates": [{"variants": [variant], "cores": [1], "max_count": cores} for variant in accurate_first],
        "initial": [{"candidate": number, "level": 1} for number in sorted((len(timings) - 1, 0)[:cores])],
        "workload": {SERVICE: {"trace": "load.csv"}},
        "profile": "latency.csv",
        "capacities": "capacity.csv",
    }


def _yaml(path: Path, comment: str, value: object) -> None:
    path.write_text(f"# {comment}\n{yaml.safe_dump(value, sort_keys=False, width=120)}", encoding="utf-8")


def _table(path: Path, header: str, rows: Iterable[Iterable[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(header + "\n")
        csv.writer(file, lineterminator="\n").writerows(rows)
