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
from typing import NamedTuple

import numpy as np
from numba import njit

from traces.draws import exponential, gamma, mix, uniform
from traces.load import GAMMA, MMPP, POISSON, RECORDED, WEIBULL, Load, make_load, span_s, weibull_shape

__all__ = [
    "GAMMA",
    "MMPP",
    "POISSON",
    "RECORDED",
    "STREAM_FLOATS",
    "STREAM_WORDS",
    "WEIBULL",
    "Load",
    "Stream",
    "draw",
    "fill",
    "make_load",
    "new_stream",
    "span_s",
    "start",
    "weibull_shape",
]

STREAM_FLOATS = 8
STREAM_WORDS = 4

# Places in Stream.f: next arrival; end, rate and mean gap of the segment it lies in; ends of bin and state; offset; scale.
_NEXT, _END, _RATE, _GAP, _BIN_END, _STATE_END, _OFFSET, _SCALE = 0, 1, 2, 3, 4, 5, 6, 7
# Places in Stream.u: counter of the gaps; counter of the state changes; bin (or index of the next recorded arrival); state.
_WORD, _SWITCH, _BIN, _STATE = 0, 1, 2, 3

_ONE = np.uint64(1)
_SEED_SALT = np.uint64(0x5851F42D4C957F2D)
_SWITCH_SALT = np.uint64(0x14057B7EF767814F)


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


@njit(cache=True)
def start(load: Load, stream: Stream, seed: int | np.uint64, offset_s: float, scale: float) -> None:
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


def draw(
    load: Load, seed: int | np.uint64, offset_s: float = 0.0, length_s: float = math.inf, scale: float = 1.0
) -> np.ndarray:
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
