"""Why AlpaServe pipelines: its figures 4 to 9 and 14 to 16 made again, the direction of each.

Figures 4 to 7: eight BERT-2.6B on eight V100, gamma arrivals, nothing rejected but in figure 7. Pipelines that hold all models
against replication by turns (device i holds models i, i + 1, ...). 8, 9 and 16 are the performance model's: overheads,
latency, throughput and memory by devices, and stages by hand against the dynamic programme. 14: planned on one traffic and
tested on another; the published hour of a trace is not public in our folder, hence rates that are shuffled between the models.
15: batches, by the rule of its simulator.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np

from baselines.alpaserve_published import DEVICE, GIB, OVERHEAD_S, STAGE_OVERHEAD_RATIO, problem
from baselines.alpaserve_search import search
from baselines.architectures import architecture
from baselines.clockwork import plan as clockwork_plan
from baselines.clockwork import play as clockwork_play
from baselines.hardware import machine
from baselines.parallelise import ParallelModel, parallelise
from baselines.placement import Group, Placement, PlacementProblem, normal
from baselines.placement_replay import Replay, Requests
from baselines.selective_replication import replicate, replicate_uniformly
from baselines.stage_slicing import overhead
from envs.contract import Shape
from reports.reproductions.reproduction import Reproduction, Row
from traces.alpaserve import split_rate, workload

MODEL, MODELS, DEVICES = "bert-2.6b", 8, 8
RATE_RPS, CV, LENGTH_S, SEEDS = 20.0, 3.0, 1000.0, (0, 1000, 2000)
MEMORY = ((7, 8), (12, 4), (22, 2), (44, 1))  # GiB of a device; stages of the pipelines that then hold all models
RATES_RPS = (0.8, 4.0, 8.0, 12.0, 16.0, 20.0, 24.0, 28.0, 31.0)
CVS = (0.1, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0)
SLO_SCALES, STRETCHES = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.5, 10.0, 15.0, 20.0), (1.0, 1.1, 1.2, 1.3, 1.4, 1.5)
COUNTS = (1, 2, 4, 8)
BATCHED_S = 300.0
SAVED_WITHIN = 0.1


def rows() -> Iterator[Row]:
    """Figure by figure."""
    for figure in (_memory, _rate, _variation, _slo, _overheads, _parallel, _robust, _batches, _automatic):
        yield from figure()


# ---- Figures 4 to 7


def _memory() -> Iterator[Row]:
    table, gains = "Figure 4: memory of a device", []
    for gib, stages in MEMORY:
        pipelined, replicated = _means(RATE_RPS, CV, stages, gib)
        yield from _pair(table, f"{gib} GiB", pipelined, replicated, f"{DEVICES // stages} pipelines of {stages}, all models "
                         f"in each; {_copies(gib)} models on a device")
        gains.append(replicated / pipelined)
    yield _yes(table, "pipelines are faster until all models fit on one device", all(gain > 1 for gain in gains[:-1]))
    yield _yes(table, "and the same then", abs(gains[-1] - 1) < 1e-9)


def _rate() -> Iterator[Row]:
    table, gains = "Figure 5: rate, 13 GiB", []
    for rate in RATES_RPS:
        pipelined, replicated = _means(rate, CV, DEVICES, 13)
        yield from _pair(table, f"{rate:g} req/s", pipelined, replicated)
        gains.append(replicated / pipelined)
    yield _yes(table, "pipelines are faster at low and medium rates", all(g > 1 for g, r in zip(gains, RATES_RPS) if r <= 20))
    yield _yes(table, "replication is faster near saturation", gains[-1] < 1)


def _variation() -> Iterator[Row]:
    table, gains = "Figure 6: variation of gaps, 20 req/s", []
    for cv in CVS:
        pipelined, replicated = _means(RATE_RPS, cv, DEVICES, 13)
        yield from _pair(table, f"CV {cv:g}", pipelined, replicated)
        gains.append(replicated - pipelined)
    yield _yes(table, "the seconds saved grow with it", all(a < b for a, b in pairwise(gains)))


def _slo() -> Iterator[Row]:
    table = "Figure 7: SLO, 30 req/s, stages stretched"
    requests = [_requests(30.0, CV, seed) for seed in SEEDS]
    replicated: list[float] = []
    pipelined: dict[float, list[float]] = {stretch: [] for stretch in STRETCHES}
    for scale in SLO_SCALES:
        replicated.append(_attained(_held(13, scale), _turns(13), requests))
        for stretch, found in pipelined.items():
            made = _stretched(_held(13, scale), stretch)
            found.append(_attained(made, _pipelines(DEVICES), requests))
        yield Row(table, f"SLO {scale:g}x", "replicated", replicated[-1], decimals=3)
        for stretch, found in pipelined.items():
            yield Row(table, f"SLO {scale:g}x", f"pipeline, stages x {stretch:g}", found[-1], decimals=3)
    ahead = {scale: p > r for scale, p, r in zip(SLO_SCALES, pipelined[1.2], replicated)}
    yield _yes(table, "with stages x 1.2 pipelines attain more from 1.5x to 10x", all(ahead[s] for s in SLO_SCALES[1:8]))
    yield _yes(table, "and replication more above", not any(ahead[s] for s in SLO_SCALES[8:]))
    yield _yes(table, "the gain shrinks with the overhead",
               all(sum(pipelined[a]) > sum(pipelined[b]) for a, b in pairwise(STRETCHES)))


@cache
def _requests(rate_rps: float, cv: float, seed: int) -> Requests:
    return Requests.of(workload(split_rate(rate_rps, MODELS, "uniform"), cv, LENGTH_S, seed))


def _held(gib: float, slo_scale: float = float("inf")) -> PlacementProblem:
    return replace(problem((MODEL,) * MODELS, DEVICES, slo_scale), memory_bytes=gib * GIB)


def _stretched(made: PlacementProblem, stretch: float) -> PlacementProblem:
    """Every stage is the same share of the model's latency on one device, times a factor; no other overhead."""
    models = []
    for model in made.models:
        single_s = sum(model.latency_s[_shape(1)])
        stages = {shape: (stretch * single_s / shape.inter_op,) * shape.inter_op if shape.inter_op > 1 else (single_s,)
                  for shape in model.latency_s if shape.intra_op == 1}
        models.append(replace(model, latency_s=stages))
    return replace(made, models=tuple(models), stage_overhead_ratio=0.0)


def _pipelines(stages: int) -> Placement:
    return normal([Group(_shape(stages), tuple(range(MODELS)))] * (DEVICES // stages))


def _turns(gib: float) -> Placement:
    return replicate_uniformly(_held(gib))


def _copies(gib: float) -> int:
    return len(_turns(gib)[0].models)


def _means(rate_rps: float, cv: float, stages: int, gib: float) -> tuple[float, float]:
    """Mean latency in pipelines and replicated, over the seeds."""
    replays = [Replay(_held(gib), _requests(rate_rps, cv, seed)) for seed in SEEDS]
    pipelined, replicated = (float(np.mean([replay.play(placement).latency_s.mean() for replay in replays]))
                             for placement in (_pipelines(stages), _turns(gib)))
    return pipelined, replicated


def _attained(made: PlacementProblem, placement: Placement, requests: Sequence[Requests]) -> float:
    return float(np.mean([Replay(made, own).play(placement).attainment for own in requests]))


def _pair(table: str, case: str, pipelined: float, replicated: float, note: str = "") -> Iterator[Row]:
    yield Row(table, case, "mean latency, pipelines", pipelined, unit="s", decimals=3, note=note)
    yield Row(table, case, "mean latency, replicated", replicated, unit="s", decimals=3)


# ---- Figures 8, 9, 16: the performance model


@cache
def _planned(name: str, inter_op: int, intra_op: int, by_hand: bool = False) -> ParallelModel:
    return parallelise(architecture(name), machine(DEVICE), inter_op, intra_op, by_hand)


def _overheads() -> Iterator[Row]:
    table, single_s = f"Figure 8: overheads of {MODEL}", sum(_planned(MODEL, 1, 1).stage_s())
    for devices in COUNTS[1:]:
        pipeline = overhead(_planned(MODEL, devices, 1, by_hand=True).stage_s(), single_s)
        yield Row(table, f"{devices} stages", "communication", 1e3 * pipeline.communication_s, unit="ms", decimals=1)
        yield Row(table, f"{devices} stages", "imbalance", 1e3 * pipeline.imbalance_s, unit="ms", decimals=1)
        yield _yes(table, f"{devices} stages cost mostly imbalance", pipeline.imbalance_s > pipeline.communication_s)
        shards = _planned(MODEL, 1, devices)
        whole_s, sums_s = shards.stage_s()[0] - single_s / devices, shards.communication_s()
        yield Row(table, f"{devices} shards", "communication", 1e3 * sums_s, unit="ms", decimals=1)
        yield Row(table, f"{devices} shards", "what is not divided", 1e3 * (whole_s - sums_s), unit="ms", decimals=1)
        yield _yes(table, f"{devices} shards cost mostly communication", sums_s > whole_s / 2)


def _parallel() -> Iterator[Row]:
    table = f"Figure 9: {MODEL} by devices"
    found: dict[str, list[tuple[float, float, float]]] = {"stages": [], "shards": []}
    for devices in COUNTS:
        for what, plan in (("stages", _planned(MODEL, devices, 1)), ("shards", _planned(MODEL, 1, devices))):
            stage_s = plan.stage_s()
            numbers = sum(stage_s), 1 / max(stage_s), max(plan.weight_bytes) / GIB
            found[what].append(numbers)
            for figure, value, unit in zip(("latency", "throughput", "weights of a device"), numbers, ("s", "req/s", "GiB")):
                yield Row(table, f"{devices} {what}", figure, value, unit=unit, decimals=3)
    stages, shards = (np.array(found[what]) for what in ("stages", "shards"))
    yield _yes(table, "shards cut latency, stages do not", bool((np.diff(shards[:, 0]) < 0).all() and
                                                               (stages[1:, 0] >= stages[0, 0]).all()))
    yield _yes(table, "stages give more throughput", bool((stages[1:, 1] > shards[1:, 1]).all()))
    yield _yes(table, "either divides the memory", bool(all((np.diff(x[:, 2]) < 0).all() for x in (stages, shards))))


def _automatic() -> Iterator[Row]:
    table = "Figure 16: stages by hand against the dynamic programme"
    for name, published in (("bert-1.3b", 0.329), ("bert-2.6b", 0.467)):
        single_s = sum(_planned(name, 1, 1).stage_s())
        saved = []
        for stages in COUNTS[1:]:
            by_hand, best = (overhead(_planned(name, stages, 1, hand).stage_s(), single_s).total_s for hand in (True, False))
            yield Row(table, f"{name}, {stages} stages", "overhead by hand", 1e3 * by_hand, unit="ms", decimals=1)
            yield Row(table, f"{name}, {stages} stages", "overhead of the programme", 1e3 * best, unit="ms", decimals=1)
            saved.append(1 - best / by_hand)
        yield Row(table, f"{name}, 8 stages", "overhead saved", saved[-1], published, SAVED_WITHIN, decimals=3)
        yield _yes(table, f"{name}: the programme has less overhead at 8 stages", saved[-1] > 0)


# ---- Figure 14: traffic that changes


def _robust() -> Iterator[Row]:
    table = "Figure 14: traffic other than planned for"
    names, devices, rate, cv = ("bert-1.3b",) * 48, 16, 48.0, 4.0
    made = problem(names, devices, 5.0)
    attained: dict[str, list[float]] = {}
    for draw in range(3):
        dice = np.random.default_rng(draw)
        law = split_rate(rate, len(names))
        known, true = (Requests.of(workload(dice.permutation(law), cv, 300.0, 1000 * (2 * draw + i))) for i in range(2))
        test = Replay(made, true)
        planned = {"AlpaServe": search(Replay(made, known)).placement,
                   "Selective Replication": replicate(Replay(made, known)),
                   "AlpaServe, planned on the test": search(Replay(made, true)).placement}
        for who, placement in planned.items():
            attained.setdefault(who, []).append(test.play(placement).attainment)
        swapped = clockwork_play(made, true, clockwork_plan(made, true, 60.0), "free")
        attained.setdefault("Clockwork++, sees the test", []).append(float(np.mean(~np.isnan(swapped))))
    means = {who: float(np.mean(values)) for who, values in attained.items()}
    for who, value in means.items():
        yield Row(table, who, "attainment", value, decimals=3, note="mean of three draws")
    yield _yes(table, "AlpaServe is ahead of replication, and of Clockwork++ that sees the traffic",
               means["AlpaServe"] > max(means["Selective Replication"], means["Clockwork++, sees the test"]))


# ---- Figure 15: batches


def _batches() -> Iterator[Row]:
    table = "Figure 15: largest batch"
    requests = Requests.of(workload(split_rate(64.0, 16), 4.0, BATCHED_S))
    scales, sizes = (1.0, 2.0, 4.0, 7.0, 10.0, 14.0), (1, 2, 4, 8, 16)
    attained = np.array([[_batched(size, scale, requests) for size in sizes] for scale in scales])
    for scale, line in zip(scales, attained):
        for size, value in zip(sizes, line):
            yield Row(table, f"SLO {scale:g}x", f"attainment, batches of {size}", value, decimals=3)
    gains = attained.max(axis=1) - attained[:, 0]
    yield _yes(table, "little is gained: less than 0.05 of attainment", bool(gains.max() < 0.05))
    yield _yes(table, "and nothing at 2x and below", bool((gains[:2] < 0.005).all()))


def _batched(largest: int, slo_scale: float, requests: Requests) -> float:
    """Attainment of 16 x BERT-1.3B on two pipelines of four V100 that host all.

    As published: when a first stage is free it takes the model whose head is oldest; heads that would be late even alone are
    dropped; of that model it takes the largest power of two, up to `largest`, with which the head is in time.
    """
    stage_s = {size: np.array(_planned("bert-1.3b", 4, 1).stage_s(size)) * (1 + 4 * STAGE_OVERHEAD_RATIO)
               for size in (1, 2, 4, 8, 16) if size <= largest}
    slo_s = slo_scale * sum(_planned("bert-1.3b", 1, 1).stage_s())
    queues: dict[int, deque[float]] = {m: deque() for m in range(16)}
    clocks, good = [np.zeros(4), np.zeros(4)], 0

    def finished(clock: np.ndarray, t: float, size: int) -> np.ndarray:
        after, x = np.empty(4), t
        for i, seconds in enumerate(stage_s[size]):
            after[i] = x = max(x, clock[i]) + seconds
        return after

    def take(clock: np.ndarray, t: float) -> tuple[np.ndarray, int]:
        """What a free pipeline takes: its clocks then, and how many requests; none where all that wait would be late."""
        while waiting := [(queue[0], m) for m, queue in queues.items() if queue]:
            head, m = min(waiting)
            in_time = [(after, size) for size in stage_s if size <= len(queues[m])
                       and (after := finished(clock, t, size))[-1] + OVERHEAD_S - head <= slo_s]
            for _ in range(in_time[-1][1] if in_time else 1):
                queues[m].popleft()
            if in_time:
                return in_time[-1]
        return clock, 0

    for now, m, until in zip(requests.arrival_s, requests.model, [*requests.arrival_s[1:], np.inf]):
        queues[m].append(now)
        while any(queues.values()):
            free = min(range(2), key=lambda g: clocks[g][0])
            t = max(clocks[free][0], now)
            if t >= until:
                break
            clocks[free], size = take(clocks[free], t)
            good += size
    return good / len(requests)


def _shape(stages: int) -> Shape:
    return Shape(0, stages, 1, DEVICE)


def _yes(table: str, what: str, holds: bool) -> Row:
    return Row(table, "direction", what, "yes" if holds else "no", "yes")


def account(found: Sequence[Row]) -> list[str]:
    """What falls short, and why."""
    missed = [f"{row.table.split(':')[0].lower()}: {row.figure}" for row in found if row.reached is False]
    return [
        f"Not as published: {'; '.join(missed)}." if missed else "Every figure has the published direction.",
        "Figure 16 is no blind test: after a first run, which saved 2 and 19 %, the logits became an operator of their own in "
        "the performance model, as measured last stages were up to 7 % longer than predicted. With it the programme's eight "
        "stages cost 25.3 and 26.4 ms; what was recovered from recorded placements tells 25.3 and 30.9.",
        "Figure 14 is on made traffic, with the rates of the models shuffled between planning and test; figure 15 is on "
        "latencies of batches that were estimated.",
    ]


REPRODUCTION = Reproduction(
    title="AlpaServe's motivation: when pipelines beat replication, and what they cost",
    source="AlpaServe (Li et al., OSDI 2023), figures 4 to 9 and 14 to 16",
    aim="the direction of every figure; 32.9 % and 46.7 % less overhead for figure 16 where the profile allows",
    rows=rows,
    account=account,
)
