"""Arrival samplers: from a piecewise-constant rate to the time of every request.

A `Load` is what a stream is made from; its arrays are never written, so many clusters share one. A `Stream` is the state of
one stream being played. `start` sets a stream to an offset into the trace, and `fill` writes the next arrivals:

    load = make_load(POISSON, rate_rps, bin_s=10.0)
    stream = new_stream()
    start(load, stream, seed=7, offset_s=3600.0, scale=1.0)
    n = fill(load, stream, 30.0, out)            # arrivals in [0, 30) of the cluster's time
    n = fill(load, stream, 60.0, out)            # and in [30, 60)

The concatenation over any intervals equals one whole call to the last bit, since the state moves by arrivals, never by calls.

Renewal models draw gaps of mean 1 in operational time (the integral of the rate) and map them back, so that bursts cross the
borders of bins. Their first gap comes from the equilibrium distribution of a process that began long ago, so that the expected
number of arrivals in any window equals the integral of the rate. An MMPP multiplies the rate by a state that lasts an
exponential time, in seconds, and then moves to one of the other states with equal chance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit

from traces.draws import exponential, gamma, mix, uniform

POISSON, GAMMA, WEIBULL, MMPP, RECORDED = 0, 1, 2, 3, 4

STREAM_FLOATS = 8
STREAM_WORDS = 4

# Places in Stream.f: next arrival; end, rate and mean gap of the segment it lies in; ends of bin and state; offset; scale.
_NEXT, _END, _RATE, _GAP, _BIN_END, _STATE_END, _OFFSET, _SCALE = 0, 1, 2, 3, 4, 5, 6, 7
# Places in Stream.u: counter of the gaps; counter of the state changes; bin (or index of the next recorded arrival); state.
_WORD, _SWITCH, _BIN, _STATE = 0, 1, 2, 3

_ONE = np.uint64(1)
_SEED_SALT = np.uint64(0x5851F42D4C957F2D)
_SWITCH_SALT = np.uint64(0x14057B7EF767814F)


class Load(NamedTuple):
    """What one arrival stream is made from. Make it with `make_load`, which checks and fills `params`.

    Attributes:
        model: POISSON, GAMMA, WEIBULL, MMPP or RECORDED.
        rate_rps: float64 (bins,), requests per second in each bin; empty for RECORDED.
        bin_s: length of a bin in seconds.
        recorded_s: float64 (requests,), sorted arrival times in seconds of trace time; empty unless RECORDED.
        cv: coefficient of variation of the gaps in operational time (GAMMA, WEIBULL; 1 otherwise).
        params: float64, by model: GAMMA (shape,); WEIBULL (shape, scale); MMPP multipliers, then mean durations in seconds.
    """

    model: int
    rate_rps: np.ndarray
    bin_s: float
    recorded_s: np.ndarray
    cv: float
    params: np.ndarray


class Stream(NamedTuple):
    """The state of one stream being played; `start` and `fill` write it, and a copy of both arrays is a snapshot.

    Attributes:
        f: float64 (STREAM_FLOATS,).
        u: uint64 (STREAM_WORDS,).
    """

    f: np.ndarray
    u: np.ndarray


def new_stream() -> Stream:
    """Makes the arrays of one stream; call `start` before `fill`."""
    return Stream(np.zeros(STREAM_FLOATS), np.zeros(STREAM_WORDS, dtype=np.uint64))


def make_load(
    model: int,
    rate_rps: np.ndarray | None = None,
    bin_s: float = 1.0,
    *,
    cv: float = 1.0,
    states: Sequence[tuple[float, float]] = (),
    recorded_s: np.ndarray | None = None,
) -> Load:
    """Checks the parts of a load and works out its model's parameters.

    Args:
        model: POISSON, GAMMA, WEIBULL, MMPP or RECORDED.
        rate_rps: (bins,), requests per second, finite and >= 0; needed by every model but RECORDED.
        bin_s: length of a bin in seconds, > 0.
        cv: coefficient of variation of the gaps, > 0; for GAMMA and WEIBULL only.
        states: for MMPP only: two or more (rate multiplier >= 0, mean duration in seconds > 0). Multipliers are rescaled so
            that their mean over time is 1, and the rate stays the mean rate.
        recorded_s: for RECORDED only: (requests,), sorted times in seconds, >= 0.

    Returns:
        The load, with contiguous float64 arrays.

    Raises:
        ValueError: a part is missing, out of range, or does not belong to the model.
    """
    if model not in (POISSON, GAMMA, WEIBULL, MMPP, RECORDED):
        raise ValueError(f"model {model} is unknown; use POISSON, GAMMA, WEIBULL, MMPP or RECORDED")
    if cv != 1.0 and model not in (GAMMA, WEIBULL):
        raise ValueError("cv belongs to GAMMA and WEIBULL; leave it at 1 for the other models")
    if (model == MMPP) != (len(states) > 0):
        raise ValueError("states belong to MMPP, which needs at least two of them")
    if (model == RECORDED) != (recorded_s is not None) or (model == RECORDED) == (rate_rps is not None):
        raise ValueError("give recorded_s for RECORDED, and rate_rps for every other model")
    if not (math.isfinite(bin_s) and bin_s > 0):
        raise ValueError(f"bin_s is {bin_s}; it must be a positive number of seconds")
    rates = np.ascontiguousarray(rate_rps if rate_rps is not None else (), dtype=np.float64)
    times = np.ascontiguousarray(recorded_s if recorded_s is not None else (), dtype=np.float64)
    if rates.ndim != 1 or not np.isfinite(rates).all() or (rates < 0).any():
        raise ValueError("rate_rps must be one-dimensional, finite and not negative")
    if times.ndim != 1 or not np.isfinite(times).all() or (times < 0).any() or (np.diff(times) < 0).any():
        raise ValueError("recorded_s must be one-dimensional, finite, not negative and sorted")
    return Load(int(model), rates, float(bin_s), times, float(cv), _parameters(model, cv, states))


def _parameters(model: int, cv: float, states: Sequence[tuple[float, float]]) -> np.ndarray:
    if not (math.isfinite(cv) and cv > 0):
        raise ValueError(f"cv is {cv}; it must be positive")
    if model == GAMMA:
        return np.array([cv**-2])
    if model == WEIBULL:
        shape = weibull_shape(cv)
        return np.array([shape, math.exp(-math.lgamma(1 + 1 / shape))])
    if model == MMPP:
        table = np.array(states, dtype=np.float64)
        if table.ndim != 2 or table.shape[0] < 2 or table.shape[1] != 2 or not np.isfinite(table).all():
            raise ValueError("states must be two or more pairs (rate multiplier, mean duration in seconds)")
        multiplier, duration_s = table[:, 0], table[:, 1]
        if (multiplier < 0).any() or not (multiplier > 0).any() or (duration_s <= 0).any():
            raise ValueError("a state needs a multiplier >= 0 (not all of them 0) and a mean duration > 0")
        mean = float(multiplier @ duration_s / duration_s.sum())
        return np.concatenate([multiplier / mean, duration_s])
    return np.zeros(0)


def weibull_shape(cv: float) -> float:
    """Finds the Weibull shape k with the given coefficient of variation: cv^2 = Γ(1 + 2/k) / Γ(1 + 1/k)^2 - 1.

    Args:
        cv: > 0; from 0.02 to 1000 is supported.

    Returns:
        The shape; 1 for cv = 1, below 1 for cv > 1.

    Raises:
        ValueError: cv is out of range.
    """
    if not 0.02 <= cv <= 1000.0:
        raise ValueError(f"cv is {cv}; the Weibull model supports 0.02 to 1000")

    def excess(k: float) -> float:
        return math.lgamma(1 + 2 / k) - 2 * math.lgamma(1 + 1 / k) - math.log1p(cv * cv)

    low, high = 0.05, 100.0
    for _ in range(200):
        middle = math.sqrt(low * high)
        if excess(middle) > 0:
            low = middle
        else:
            high = middle
    return math.sqrt(low * high)


def span_s(load: Load) -> float:
    """Tells how many seconds of trace time the load's rates cover (RECORDED: up to the last arrival)."""
    if load.model == RECORDED:
        return float(load.recorded_s[-1]) if load.recorded_s.size else 0.0
    return load.rate_rps.size * load.bin_s


@njit(cache=True)
def start(load: Load, stream: Stream, seed: int, offset_s: float, scale: float) -> None:
    """Sets a stream so that its time 0 is trace time `offset_s`.

    Args:
        load: what to play.
        stream: written.
        seed: any integer of 64 bits; equal seeds give equal arrivals.
        offset_s: trace time in seconds, >= 0. From the end of the trace on, no arrivals come.
        scale: multiplies the rate, >= 0; RECORDED needs exactly 1 (thin or superpose the times beforehand). More requests
            from the same users: bursts grow with the scale. `traces.scaling` instead adds users, whose bursts average.

    Raises:
        ValueError: offset_s is negative or NaN, scale is negative or not finite, or not 1 for RECORDED.
    """
    if not offset_s >= 0.0:
        raise ValueError("offset_s must not be negative")
    if not 0.0 <= scale < math.inf:
        raise ValueError("scale must be a finite number, not negative")
    f, u = stream.f, stream.u
    word = mix(np.uint64(seed) + _SEED_SALT)
    u[_SWITCH] = mix(word ^ _SWITCH_SALT)
    u[_BIN] = 0
    u[_STATE] = 0
    f[_OFFSET] = offset_s
    f[_SCALE] = scale
    f[_NEXT] = math.inf
    f[_END] = 0.0
    f[_RATE] = 1.0
    f[_GAP] = 1.0
    f[_BIN_END] = 0.0
    f[_STATE_END] = math.inf
    if load.model == RECORDED:
        if scale != 1.0:
            raise ValueError("a recorded load plays at scale 1; thin or superpose its times beforehand")
        u[_WORD] = word
        u[_BIN] = np.uint64(np.searchsorted(load.recorded_s, offset_s))
        return
    word, first = _first_gap(load, word)
    u[_WORD] = word
    if offset_s >= load.rate_rps.size * load.bin_s:
        return
    here = int(offset_s // load.bin_s)
    u[_BIN] = np.uint64(here)
    f[_BIN_END] = (here + 1) * load.bin_s - offset_s
    if load.model == MMPP:
        _enter_stationary_state(load, stream)
    f[_NEXT] = _cross(load, stream, first)


@njit(cache=True)
def fill(load: Load, stream: Stream, t_end_s: float, out: np.ndarray) -> int:
    """Writes the next arrivals, continuing where the last call stopped.

    Args:
        load: what to play, as given to `start`.
        stream: moved on.
        t_end_s: arrivals before this time (seconds since the stream's start) are written.
        out: float64 (capacity,), written from index 0.

    Returns:
        How many were written, in order of time. When it equals the capacity, call again: there may be more.
    """
    f, u = stream.f, stream.u
    model, capacity, n = load.model, out.size, 0
    if model == RECORDED:
        times, offset_s = load.recorded_s, f[_OFFSET]
        i = np.int64(u[_BIN])
        while i < times.size and n < capacity and times[i] - offset_s < t_end_s:
            out[n] = times[i] - offset_s
            i += 1
            n += 1
        u[_BIN] = np.uint64(i)
        return n
    t, end, gap, word = f[_NEXT], f[_END], f[_GAP], u[_WORD]
    if model == GAMMA:
        shape = load.params[0]
        while t < t_end_s and n < capacity:
            out[n] = t
            n += 1
            word, e = gamma(word, shape)
            t += e / shape * gap
            if t >= end:
                t = _cross(load, stream, t)
                end, gap = f[_END], f[_GAP]
    elif model == WEIBULL:
        power, unit = 1.0 / load.params[0], load.params[1]
        while t < t_end_s and n < capacity:
            out[n] = t
            n += 1
            word, e = exponential(word)
            t += unit * e**power * gap
            if t >= end:
                t = _cross(load, stream, t)
                end, gap = f[_END], f[_GAP]
    else:
        while t < t_end_s and n < capacity:
            out[n] = t
            n += 1
            word, e = exponential(word)
            t += e * gap
            if t >= end:
                t = _cross(load, stream, t)
                end, gap = f[_END], f[_GAP]
    f[_NEXT] = t
    u[_WORD] = word
    return n


@njit(cache=True)
def _first_gap(load: Load, word: np.uint64) -> tuple[np.uint64, float]:
    """Draws the time to the first arrival of an equilibrium renewal process: uniform x length-biased gap."""
    if load.model == GAMMA:
        shape = load.params[0]
        word, v = uniform(word)
        word, g = gamma(word, shape + 1.0)
        return word, v * g / shape
    if load.model == WEIBULL:
        power = 1.0 / load.params[0]
        word, v = uniform(word)
        word, g = gamma(word, 1.0 + power)
        return word, v * load.params[1] * g**power
    return exponential(word)


@njit(cache=True)
def _enter_stationary_state(load: Load, stream: Stream) -> None:
    f, u = stream.f, stream.u
    n = load.params.size // 2
    word, v = uniform(u[_SWITCH])
    left = v * load.params[n:].sum()
    state = 0
    while state < n - 1 and left > load.params[n + state]:
        left -= load.params[n + state]
        state += 1
    word, e = exponential(word)
    u[_SWITCH], u[_STATE] = word, np.uint64(state)
    f[_STATE_END] = e * load.params[n + state]


@njit(cache=True)
def _cross(load: Load, stream: Stream, t: float) -> float:
    """Carries an arrival that fell beyond its segment into the segment it belongs to, and returns its time (inf: none)."""
    f, u = stream.f, stream.u
    left = (t - f[_END]) * f[_RATE]
    while True:
        begin = f[_END]
        if begin >= f[_STATE_END]:
            n = load.params.size // 2
            word, v = uniform(u[_SWITCH])
            state = (np.int64(u[_STATE]) + 1 + min(int(v * (n - 1)), n - 2)) % n
            word, e = exponential(word)
            u[_SWITCH], u[_STATE] = word, np.uint64(state)
            f[_STATE_END] += e * load.params[n + state]
        if begin >= f[_BIN_END]:
            u[_BIN] += _ONE
            f[_BIN_END] = (np.int64(u[_BIN]) + 1) * load.bin_s - f[_OFFSET]
        here = np.int64(u[_BIN])
        if here >= load.rate_rps.size:
            f[_END] = math.inf
            return math.inf
        rate = load.rate_rps[here] * f[_SCALE]
        if load.model == MMPP:
            rate *= load.params[np.int64(u[_STATE])]
        end = max(begin, min(f[_BIN_END], f[_STATE_END]))
        f[_END] = end
        room = (end - begin) * rate
        if left < room:
            f[_RATE] = rate
            f[_GAP] = 1.0 / rate
            return min(begin + left / rate, end)
        left -= room


def draw(load: Load, seed: int, offset_s: float = 0.0, length_s: float = math.inf, scale: float = 1.0) -> np.ndarray:
    """Draws a whole window of arrivals at once.

    Args:
        load: what to play.
        seed: any integer of 64 bits.
        offset_s: trace time of the window's start, seconds.
        length_s: length of the window in seconds; to the end of the trace when infinite.
        scale: multiplies the rate.

    Returns:
        float64 (n,), seconds since the window's start, sorted.
    """
    stream = new_stream()
    start(load, stream, seed, offset_s, scale)
    parts, block = [], np.empty(1 << 16)
    while True:
        n = int(fill(load, stream, length_s, block))
        parts.append(block[:n].copy())
        if n < block.size:
            return np.concatenate(parts)
