"""A guess of the profile from the record itself, where no scenario is given; and a refusal where the record cannot tell.

    service time     latency where each replica had least to do, carried on to no load at all; or the time that servers say
                     they computed, where they do
    parallel servers Little's law: throughput x service time is the mean number in service, so the busiest minutes need that
                     many servers at least; more, where M/M/c (Erlang) would have queued longer than was seen
    spread           variance of the latency histogram in quiet minutes

`guess_file` writes it as a scenario, to be read, corrected and given back by --scenario.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from reports.replay.draws import Doubt
from reports.replay.recording import RecordError, Recording

BLOCK_S = 60.0
FEWEST_BLOCKS = 30
QUIET = 0.2  # share of the blocks, those in which a replica had least to do
NEVER_QUIET = 0.6  # latency at no load, carried on, over that in quiet blocks: below, queues were always part of it
BUSIEST = 0.99  # quantile of throughput
FLOOR = 0.05  # what a latency seen from outside holds beside service is not known better
MOST_SERVERS = 512
SEEN_LONGER = 1.1  # a model may queue this much longer than was seen
LOAD_S, LOAD_DOUBT = 60.0, 0.5
UNKNOWN_CV = 0.5
GIVE = "measure a profile (tidal profile) and give --scenario"


@dataclass(frozen=True)
class Blocks:
    """Minutes in which something was answered: throughput of a replica (req/s), mean latency and computing time (s)."""

    per_replica_rps: np.ndarray
    latency_s: np.ndarray
    compute_s: np.ndarray
    answers: np.ndarray


@dataclass(frozen=True)
class Guess:
    """What the record says of one replica.

    Attributes:
        service_s: of one request.
        servers: requests that it works on at once.
        cv: of service times.
        busiest_rps: the most that a replica was seen to answer.
        doubt: how sure that is.
        told: how it was found, in sentences.
    """

    service_s: float
    servers: int
    cv: float
    busiest_rps: float
    doubt: Doubt
    told: tuple[str, ...]


def guess(recording: Recording) -> Guess:
    """What the record says.

    Raises:
        RecordError: it cannot tell; why, and the way out.
    """
    found = blocks(recording)
    order = np.argsort(found.per_replica_rps, kind="stable")
    fifth = max(int(QUIET * len(order)), FEWEST_BLOCKS // 5)
    quiet, next_quiet = order[:fifth], order[fifth : 2 * fifth]
    service_s, spread, how = _service(found, quiet, next_quiet)
    cv, cv_told = _cv(recording, found, quiet)
    busiest_rps = float(np.quantile(found.per_replica_rps, BUSIEST))
    top = found.per_replica_rps >= busiest_rps
    seen_s = max(_mean(found.latency_s, found.answers, top), service_s)
    servers = fewest_servers(busiest_rps, service_s, cv, SEEN_LONGER * seen_s)
    queued = seen_s / service_s
    so = ": near its capacity" if queued >= 2 else ", so it may carry more than the simulator lets it"
    as_without = f"{queued:.2g} times that" if queued >= 1.05 else "as"
    limit = f"latency was then {as_without} without load{so}"
    told = (
        f"Service time {_millis(service_s)}: {how}.",
        f"{servers} requests at once on a replica: the busiest minutes gave it {busiest_rps:.3g} req/s, {limit}.",
        f"Coefficient of variation {cv:.2g}: {cv_told}. Cold start {LOAD_S:g} s: assumed; nothing in the record tells it.",
    )
    doubt = Doubt(spread, LOAD_DOUBT, f"the guessed service time is known within {100 * spread:.0f} %, the assumed cold start "
                                      f"within {100 * LOAD_DOUBT:.0f} % (one standard deviation)")  # fmt: skip
    return Guess(service_s, servers, cv, busiest_rps, doubt, told)


def blocks(recording: Recording) -> Blocks:
    """The record minute by minute, where replicas and latency are known.

    Raises:
        RecordError: they are not, or in too few minutes.
    """
    if not np.isfinite(recording.replicas).any():
        raise RecordError(f"{recording.source} does not tell how many replicas there were: no profile can be guessed; {GIVE}")
    if not np.isfinite(recording.latency_sum_s).any():
        raise RecordError(f"{recording.source} tells no latencies: no profile can be guessed; {GIVE}")
    size = max(1, round(BLOCK_S / recording.step_s))
    number = recording.steps // size

    def summed(values: np.ndarray) -> np.ndarray:
        return np.asarray(values[: number * size].reshape(number, size).sum(axis=1))

    answers, latency, compute = (summed(v) for v in (recording.answers, recording.latency_sum_s, recording.compute_sum_s))
    replicas = summed(recording.replicas) / size
    with np.errstate(invalid="ignore"):
        usable = (answers > 0) & (replicas > 0) & np.isfinite(latency)
    if usable.sum() < FEWEST_BLOCKS:
        raise RecordError(f"{recording.source}: {int(usable.sum())} minutes with answers and replicas, too few to guess a "
                          f"profile from ({FEWEST_BLOCKS}); {GIVE}")  # fmt: skip
    span_s = size * recording.step_s
    a = answers[usable]
    return Blocks(a / replicas[usable] / span_s, latency[usable] / a, compute[usable] / a, a)


def fewest_servers(rps: float, service_s: float, cv: float, latency_s: float) -> int:
    """The fewest servers with which an M/G/c queue (Erlang C, Allen and Cunneen) answers that fast at that load.

    Args:
        rps: of one replica.
        service_s: of one request.
        cv: of service times.
        latency_s: the mean latency that was seen, at least.
    """
    busy = rps * service_s
    for servers in range(max(1, math.ceil(busy - 1e-9)), MOST_SERVERS):
        if servers > busy and service_s + waiting_s(rps, service_s, servers) * (1 + cv**2) / 2 <= latency_s:
            return servers
    return MOST_SERVERS


def waiting_s(rps: float, service_s: float, servers: int) -> float:
    """Mean wait in an M/M/c queue (Erlang C), seconds; below its capacity only."""
    busy = rps * service_s
    blocked = 1.0  # Erlang B, by its recursion
    for k in range(1, servers + 1):
        blocked = busy * blocked / (k + busy * blocked)
    waits = blocked / (1 - busy / servers * (1 - blocked))
    return waits * service_s / (servers - busy)


def stand_in(recording: Recording) -> Guess:
    """Of an engine with continuous batching: only what a rule on load needs, the most that a replica was seen to answer.

    Raises:
        RecordError: replicas are not known.
    """
    if not np.isfinite(recording.replicas).any():
        raise RecordError(f"{recording.source} does not tell how many replicas there were: no rule can be held against it")
    number = max(1, round(BLOCK_S / recording.step_s))
    size = recording.steps // number * number
    with np.errstate(invalid="ignore", divide="ignore"):
        asked, there = (v[:size].reshape(-1, number).sum(axis=1) for v in (recording.requests, recording.replicas))
        rps = asked / there / recording.step_s
    rps = rps[np.isfinite(rps)]
    if len(rps) < FEWEST_BLOCKS:
        raise RecordError(f"{recording.source}: {len(rps)} minutes with a load and replicas, too few ({FEWEST_BLOCKS})")
    busiest_rps = float(np.quantile(rps, BUSIEST))
    told = (f"A replica is taken to carry {busiest_rps:.3g} req/s, what it answered in the busiest minutes: a lower limit.",)
    return Guess(1.0, min(math.ceil(4 * busiest_rps) + 8, MOST_SERVERS), 0.0, busiest_rps,
                 Doubt(0.0, LOAD_DOUBT, "service times play no part"), told)  # fmt: skip


def _service(found: Blocks, quiet: np.ndarray, next_quiet: np.ndarray) -> tuple[float, float, str]:
    """Service time, the standard deviation of its logarithm, and how it was found."""
    if np.isfinite(found.compute_s).all():
        service_s = _mean(found.compute_s, found.answers, quiet)
        spread = float(np.std(found.compute_s) / np.mean(found.compute_s))
        return service_s, math.hypot(FLOOR, spread), "what servers say they computed for a request"
    low, high = (_mean(found.latency_s, found.answers, part) for part in (quiet, next_quiet))
    at, then = (_mean(found.per_replica_rps, found.answers, part) for part in (quiet, next_quiet))
    none_s = low - at * (high - low) / (then - at) if then > at and high > low else low
    if none_s < NEVER_QUIET * low:
        raise RecordError(f"no profile can be guessed: latency still falls with the load in the quietest fifth of the minutes "
                          f"({_millis(low)} at {at:.3g} req/s a replica, {_millis(high)} at {then:.3g}), so that service and "
                          f"queueing cannot be told apart; {GIVE}")  # fmt: skip
    service_s = (none_s + low) / 2
    noise = float(np.std(found.latency_s[quiet]) / math.sqrt(len(quiet)) / low)
    spread = math.sqrt(FLOOR**2 + noise**2 + ((low - none_s) / 2 / service_s) ** 2)
    return service_s, spread, f"latency in the quietest fifth of the minutes ({at:.3g} req/s a replica), carried on to no load"


def _cv(recording: Recording, found: Blocks, quiet: np.ndarray) -> tuple[float, str]:
    """Coefficient of variation of service times, from the histogram where a replica had little to do."""
    if recording.latencies is None:
        return UNKNOWN_CV, "assumed; there is no latency histogram"
    counts = recording.latencies.counts
    total = counts.sum(axis=1)
    busy = total > np.quantile(total[total > 0], QUIET) if (total > 0).any() else total > 0
    weights = counts[~busy].sum(axis=0)
    if weights.sum() < 100:
        return UNKNOWN_CV, "assumed; there were few answers in quiet times"
    edges = np.concatenate([[0.0], recording.latencies.edges_s])
    middle = np.append((edges[:-1] + edges[1:]) / 2, edges[-1])
    width = np.append(np.diff(edges), 0.0)
    mean = float(np.average(middle, weights=weights))
    variance = float(np.average((middle - mean) ** 2, weights=weights)) - float(np.average(width**2, weights=weights)) / 12
    return min(math.sqrt(max(variance, 0.0)) / mean, 2.0), "the latency histogram in quiet times"


def _mean(values: np.ndarray, weights: np.ndarray, part: np.ndarray) -> float:
    return float(np.average(values[part], weights=weights[part]))


def _millis(value_s: float) -> str:
    return f"{1e3 * value_s:.3g} ms"
