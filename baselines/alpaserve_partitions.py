"""What AlpaServe's Algorithm 2 goes through: group shapes, buckets of models, and devices for each bucket.

Source: Li et al., OSDI 2023, section 4.2, with the rules and limits of the published program.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from envs.contract import Shape

NODE = 8  # devices of one machine
MOST_STAGES, MOST_SHARDS = 8, 4
BUCKET_RATIO = 0.38  # models whose latencies differ by less share a bucket
SPLIT_THRESHOLDS = (1.0, 0.5, 0.3, 0.2, 0.1)
MOST_SPLITS = 100


def group_partitions(devices: int, shapes: Sequence[Shape]) -> list[tuple[Shape, ...]]:
    """The ways to cut devices into groups: equal groups, and what is left over as pipelines.

    A group has a power of two of devices. What is left over is cut into powers of two, the smallest first, each a pure
    pipeline; no pipeline is longer than 8.

    Args:
        devices: how many.
        shapes: what some model runs on; others are left out, and so are left-over devices that would need one.

    Returns:
        Shapes of the groups, one tuple for each way; groups of few devices first, then of few stages.
    """
    known = {(shape.inter_op, shape.intra_op): shape for shape in shapes}
    found = []
    size = 1
    while size <= devices:
        rest = tuple(known[n, 1] for n in _powers(devices % size) if (n, 1) in known)
        for stages in _powers_up_to(size):
            shards = size // stages
            if stages <= MOST_STAGES and shards <= MOST_SHARDS and (stages, shards) in known:
                found.append((known[stages, shards],) * (devices // size) + rest)
        size *= 2
    return found


def model_buckets(latency_s: Sequence[float]) -> list[list[int]]:
    """Models of like latency together, so that no short request waits behind a long one.

    A model joins the first bucket whose first member's latency is nearer than 38 % of that, else it opens one.

    Args:
        latency_s: of each model, on the fewest devices.
    """
    buckets: list[list[int]] = []
    for m, own in enumerate(latency_s):
        for bucket in buckets:
            if abs(own - latency_s[bucket[0]]) < BUCKET_RATIO * latency_s[bucket[0]]:
                bucket.append(m)
                break
        else:
            buckets.append([m])
    return buckets


def device_splits(devices: int, latency_s: Sequence[float], rate_rps: Sequence[float]) -> list[tuple[int, ...]]:
    """The ways to share devices out to buckets that are worth a search.

    Parts keep machines whole where they can. Of many splits those stay whose shares of throughput are near the shares of
    the load: the allowed difference is lowered until fewer than 100 stay, but never so far that none does.

    Args:
        devices: how many.
        latency_s: mean latency of each bucket's models.
        rate_rps: load of each bucket.
    """
    splits = list(_compositions(devices, len(latency_s)))
    load = np.asarray(rate_rps) / np.sum(rate_rps)
    for threshold in SPLIT_THRESHOLDS:
        near = [split for split in splits if _distance(split, latency_s, load) <= threshold]
        if not near:
            break
        splits = near
        if len(splits) < MOST_SPLITS:
            break
    return splits


def _distance(split: tuple[int, ...], latency_s: Sequence[float], load: np.ndarray) -> float:
    throughput = np.asarray(split) / np.asarray(latency_s)
    return float(np.abs(throughput / throughput.sum() - load).max())


def _compositions(left: int, parts: int) -> Iterator[tuple[int, ...]]:
    """Ordered ways to write `left` as so many parts of at least 1, no part crossing a machine without need."""
    if parts == 1:
        if left >= 1:
            yield (left,)
        return
    for part in range(1, left):
        if part <= left % NODE or (left - part) % NODE == 0 or left % NODE == 0:
            for rest in _compositions(left - part, parts - 1):
                yield (part, *rest)


def _powers(number: int) -> Iterator[int]:
    """Powers of two that add up to a number, ascending, none above the longest pipeline."""
    power = 1
    while power < MOST_STAGES:
        if number & power:
            yield power
        power *= 2
    yield from [MOST_STAGES] * (number // MOST_STAGES)


def _powers_up_to(size: int) -> Iterator[int]:
    power = 1
    while power <= size:
        yield power
        power *= 2
