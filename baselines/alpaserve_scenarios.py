"""AlpaServe's sets of models as scenarios: what writes `envs/scenarios/alpaserve-*.yaml` and their tables.

    python -m baselines.alpaserve_scenarios [FOLDER]

The sets are those of its table 1: S1 is 32 x BERT-1.3B, S2 32 x BERT-6.7B, S3 ten of each of six models, S4 4 x BERT-104B (its
scripts use 48, 48, 72 and 4). The load is its synthetic one: gamma arrivals, a rate for each model by a power law. `-shift` is
ours: fewer models in four regions whose days, of two hours, begin one after another, so that no placement stays right.

Of BERT-104B no row tells how it runs on a shape: its stage times are those of the performance model (`baselines.parallelise`),
not measured. Its SLO is twice the 4.6 s that the program has for it, which are more than the model's.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from baselines.alpaserve_partitions import group_partitions
from baselines.alpaserve_published import (
    BUDGET_BYTES,
    DEVICE,
    LOAD_BYTES_PER_S,
    MIXED,
    OVERHEAD_S,
    STAGE_OVERHEAD_RATIO,
    problem,
)
from baselines.architectures import architecture
from baselines.hardware import machine
from baselines.parallelise import parallelise
from baselines.placement import PlacedModel, Placement, PlacementProblem
from baselines.placement_round_robin import dedicated, pipelines, round_robin
from envs.contract import Shape
from traces.alpaserve import split_rate

FOLDER = Path(__file__).parents[1] / "envs" / "scenarios"
PROFILE, STEADY, REGION = "alpaserve-latency.csv", "alpaserve-steady-load.csv", "alpaserve-region-{}-load.csv"
REGIONS, DAY_S, BIN_S, SWING = 4, 7200.0, 300.0, 0.95
LARGE, LARGE_S, LARGE_BYTES = "bert-104b", 4.6, 208e9
V100 = machine(DEVICE)
LARGE_SHAPES = ((8, 2), (4, 4), (8, 4))  # (inter_op, intra_op): what holds it, within the program's limits


class Set(NamedTuple):
    """One set of models under its load.

    Attributes:
        said: what it is, for the head of the file.
        names: of the models; the first is asked for most.
        devices: how many.
        rate_rps, cv: of all requests together, and of the gaps between those for one model.
        slo_scale: SLO over latency on one device.
        traces: of the load; the first six models have the first, the next six the next, and so on.
    """

    said: str
    names: tuple[str, ...]
    devices: int
    rate_rps: float
    cv: float
    slo_scale: float
    traces: tuple[str, ...] = (STEADY,)


SETS: Mapping[str, Set] = {
    "alpaserve-s1": Set("32 x BERT-1.3B on 16 devices", ("bert-1.3b",) * 32, 16, 64.0, 4.0, 5.0),
    "alpaserve-s2": Set("32 x BERT-6.7B on 64 devices, each of which holds one", ("bert-6.7b",) * 32, 64, 64.0, 4.0, 5.0),
    "alpaserve-s3": Set("60 models, ten of each of three BERTs and three MoEs, on 32 devices", MIXED * 10, 32, 64.0, 4.0, 5.0),
    "alpaserve-s4": Set("4 x BERT-104B, each of which needs 16 devices, on 64", (LARGE,) * 4, 64, 8.0, 4.0, 2.0),
    "alpaserve-shift": Set("24 models on 16 devices, six in each of four regions", MIXED * 4, 16, 50.0, 2.0, 5.0,
                           tuple(REGION.format(i) for i in range(REGIONS))),
}


def numbered(names: Sequence[str]) -> list[str]:
    """Each model under a name of its own: bert-1.3b-01, bert-1.3b-02, ..."""
    return [f"{name}-{names[: i + 1].count(name):02d}" for i, name in enumerate(names)]


def problem_of_set(models: Set) -> PlacementProblem:
    """The set as a problem of placement, with weights as they were recovered of each shape."""
    if LARGE in models.names:
        return PlacementProblem(tuple(_large(name, models.slo_scale) for name in numbered(models.names)), models.devices,
                                BUDGET_BYTES, STAGE_OVERHEAD_RATIO, OVERHEAD_S)
    return problem(models.names, models.devices, models.slo_scale)


def files() -> dict[str, str]:
    """All files by name: the scenarios, the table of latencies of all their models, and the load."""
    latency_s = {name: model.latency_s for models in SETS.values()
                 for name, model in zip(numbered(models.names), problem_of_set(models).models, strict=True)}
    profile = "\n".join(["# Latency (s) of one request on V100s, the slowest stage first: baselines/alpaserve_published.py",
                         "# tells what was recovered and what is assumed; bert-104b: baselines/alpaserve_scenarios.py.",
                         "variant,device,cores,inter_op,intra_op,batch,stage,latency_s", *_latencies(latency_s)])
    steady = "t_s,requests\n0,43200\n43200,43200\n"  # 1 req/s for a day, to be scaled
    return {**{f"{name}.yaml": _scenario(name, models) for name, models in SETS.items()}, PROFILE: f"{profile}\n",
            STEADY: steady, **{REGION.format(i): _region(i) for i in range(REGIONS)}}


def _region(number: int) -> str:
    """The load of a region, 1 req/s in the mean: twelve days, each a swell, which begin later than in the one before."""
    starts_s = np.arange(0, 12 * DAY_S, BIN_S)
    rate_rps = 1 + SWING * np.cos(2 * np.pi * ((starts_s + BIN_S / 2) / DAY_S - number / REGIONS))
    return "\n".join(["t_s,requests", *(f"{t:.0f},{BIN_S * rate:.0f}" for t, rate in zip(starts_s, rate_rps)), ""])


def _large(name: str, slo_scale: float) -> PlacedModel:
    """BERT-104B as the performance model has it; to four digits, so that it is the same on any processor."""
    latency_s = {}
    for stages, shards in LARGE_SHAPES:
        plan = parallelise(architecture(LARGE, V100.device.element_bytes), V100, stages, shards)
        latency_s[_shape(stages, shards)] = tuple(float(f"{seconds:.4g}") for seconds in plan.stage_s())
    weights = {shape: LARGE_BYTES / shape.units for shape in latency_s}
    return PlacedModel(name, slo_scale * LARGE_S, latency_s, weights, load_s=max(weights.values()) / LOAD_BYTES_PER_S)


def _latencies(latency_s: Mapping[str, Mapping[Shape, tuple[float, ...]]]) -> Iterator[str]:
    for name, shapes in latency_s.items():
        for shape, stages in shapes.items():
            for stage, seconds in enumerate(stages):
                yield f"{name},{DEVICE},0,{shape.inter_op},{shape.intra_op},1,{stage},{seconds!r}"


def _initial(placed: PlacementProblem) -> Placement:
    """What runs at the start: models dealt out over pipelines of four, or a group for each where none fits on four devices."""
    if min(shape.units for shape in placed.shapes) > 1:
        return dedicated(placed, group_partitions(placed.devices, placed.shapes)[0][0])
    return round_robin(placed, pipelines(placed))


def _scenario(name: str, models: Set) -> str:
    placed, names = problem_of_set(models), numbered(models.names)
    groups = _initial(placed)
    rates = split_rate(models.rate_rps, len(names))
    large = LARGE in models.names
    modelled = "; its stage times of a performance model, not measured" if large else ""
    replicated = "" if large else "selective-replication,"
    steady = models.traces == (STEADY,)
    online = "" if steady else "alpaserve-online,"
    return "\n".join([
        f"# {_title(name)}: {models.said}; {models.rate_rps:g} req/s in bursts. Where does each go?",
        "# Source: AlpaServe (Li et al., OSDI 2023, arXiv 2302.11665), table 1; written by baselines/alpaserve_scenarios.py.",
        f"# Use: python evaluate.py --scenario {name} --policies alpaserve,{online}{replicated}static",
        "",
        f"name: {name}",
        f'source: "AlpaServe, OSDI 2023: table 1, V100 of 16 GB; latencies recovered from its recorded results{modelled}"',
        "interval_s: 60",
        f"episode_intervals: {10 if steady else 60}                   # minutes",
        "binding: early",
        "dispatch: last-stage-clock              # the host that is free first",
        f"stage_overhead_ratio: {STAGE_OVERHEAD_RATIO}             # both fitted to a real cluster by its authors",
        f"overhead_s: {OVERHEAD_S}",
        "",
        "# 13 GiB of each device are for weights, which spread evenly over the devices of a group.",
        "devices:",
        f"  {DEVICE}: {{budget: {models.devices}, memory_bytes: {BUDGET_BYTES}}}",
        "",
        "# accuracy: no part of it. load_s: ours, weights at 12 GB/s (PCIe 3.0 x16) to each device of the smallest group.",
        "variants:",
        *(f"  {own}: {{accuracy: 1, load_s: {model.load_s:.3g}, memory_bytes: {_whole_bytes(model):.5g}}}"
          for own, model in zip(names, placed.models, strict=True)),
        "",
        f"# SLO: {models.slo_scale:g} times {_slo_of(models)}.",
        "services:",
        *(f"  {own}: {{variants: [{own}], slo_s: {model.slo_s!r}}}"
          for own, model in zip(names, placed.models, strict=True)),
        "",
        "# The groups of the start; planners of placement make groups of their own.",
        "candidates:",
        *(f"  - {{variants: [{', '.join(names[m] for m in group.models)}], device: {DEVICE}, "
          f"inter_op: {group.shape.inter_op}, intra_op: {group.shape.intra_op}, max_count: 2}}" for group in groups),
        "",
        "initial:",
        *(f"  - {{candidate: {g}, level: 1}}" for g in range(len(groups))),
        "",
        "admission: {deadline: true}              # what would be late is rejected",
        "",
        "# The models share the load by a power law.",
        "workload:",
        *(f"  {own}: {{trace: {models.traces[i // 6 % len(models.traces)]}, mean_rps: {rate:.6g}, arrivals: gamma, "
          f"cv: {models.cv:g}{'' if steady else ', scaling: multiply'}}}"
          for i, (own, rate) in enumerate(zip(names, rates, strict=True))),
        "",
        f"profile: {PROFILE}",
        ""])


def _title(name: str) -> str:
    last = name.rpartition("-")[2]
    return f"AlpaServe's set {last.upper()}" if last[1:].isdigit() else "AlpaServe's models whose load moves"


def _slo_of(models: Set) -> str:
    return f"{LARGE_S:g} s, as its program has it" if LARGE in models.names else "the latency on one device"


def _whole_bytes(model: PlacedModel) -> float:
    """Weights of the whole model, from the shape of fewest devices."""
    fewest = min(model.weight_bytes, key=lambda shape: shape.units)
    return model.weight_bytes[fewest] * fewest.units


def _shape(inter_op: int, intra_op: int) -> Shape:
    return Shape(0, inter_op, intra_op, DEVICE)


def main(folder: Path) -> None:
    """Writes all files."""
    for name, text in files().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
