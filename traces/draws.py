"""Keyed random draws for compiled code: uniform, exponential, normal and gamma variates.

A draw takes a 64-bit word and returns the next word with the variate. The word is a counter that steps by a constant; the
variate is a hash of it (splitmix64: Steele, Lea and Flood, OOPSLA 2014). So a sequence depends on its first word alone: not
on a global generator, on threads, or on who else draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numba import njit

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_A = np.uint64(0xBF58476D1CE4E5B9)
_MIX_B = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_LAYER_MASK, _SIGN, _ONE = np.uint64(255), np.uint64(256), np.uint64(1)
_UNIT = 2.0**-53

# Ziggurats of 256 layers of equal area (Marsaglia and Tsang, J. Stat. Software 5(8), 2000): where the tails begin.
_EXPONENTIAL_TAIL = 7.69711747013104972
_NORMAL_TAIL = 3.6541528853610088


def _ziggurat(
    tail: float, area: float, density: Callable[[float], float], inverse: Callable[[float], float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns each layer's width per unit of 2^-53, the parts below which a point is surely inside, and the edges' heights."""
    edge = np.zeros(257)
    edge[0], edge[1] = area / density(tail), tail
    for i in range(2, 256):
        edge[i] = inverse(area / edge[i - 1] + density(edge[i - 1]))
    inside = np.array([int(edge[i + 1] / edge[i] * 2.0**53) for i in range(256)], dtype=np.uint64)
    return edge[:256] * _UNIT, inside, np.array([density(x) for x in edge])


_E_WIDTH, _E_INSIDE, _E_HEIGHT = _ziggurat(
    _EXPONENTIAL_TAIL,
    (_EXPONENTIAL_TAIL + 1) * math.exp(-_EXPONENTIAL_TAIL),
    lambda x: math.exp(-x),
    lambda y: -math.log(y),
)
_N_WIDTH, _N_INSIDE, _N_HEIGHT = _ziggurat(
    _NORMAL_TAIL,
    _NORMAL_TAIL * math.exp(-(_NORMAL_TAIL**2) / 2) + math.sqrt(math.pi / 2) * math.erfc(_NORMAL_TAIL / math.sqrt(2)),
    lambda x: math.exp(-x * x / 2),
    lambda y: math.sqrt(-2 * math.log(y)),
)


@njit(cache=True)
def mix(word: np.uint64) -> np.uint64:
    """Hashes a 64-bit word (the splitmix64 finaliser).

    Args:
        word: any uint64.

    Returns:
        A uint64; the map is one to one.
    """
    z = (word ^ (word >> _S30)) * _MIX_A
    z = (z ^ (z >> _S27)) * _MIX_B
    return z ^ (z >> _S31)


@njit(cache=True)
def uniform(word: np.uint64) -> tuple[np.uint64, float]:
    """Draws from (0, 1].

    Args:
        word: the counter, uint64.

    Returns:
        The next counter and the variate.
    """
    word += _STEP
    return word, (float(mix(word) >> _S11) + 1.0) * _UNIT


@njit(cache=True)
def exponential(word: np.uint64) -> tuple[np.uint64, float]:
    """Draws from the exponential distribution of mean 1.

    One hash and one multiplication in 98.9 % of calls; the tail repeats the draw beyond the last layer.

    Args:
        word: the counter, uint64.

    Returns:
        The next counter and the variate, >= 0.
    """
    word += _STEP
    z = mix(word)
    layer = z & _LAYER_MASK
    part = z >> _S11
    if part < _E_INSIDE[layer]:
        return word, float(part) * _E_WIDTH[layer]
    return _exponential_edge(word, layer, part)


@njit(cache=True)
def _exponential_edge(word: np.uint64, layer: np.uint64, part: np.uint64) -> tuple[np.uint64, float]:
    base = 0.0
    while True:
        x = float(part) * _E_WIDTH[layer]
        if part < _E_INSIDE[layer]:
            return word, base + x
        if layer == 0:
            base += _EXPONENTIAL_TAIL
        else:
            word, v = uniform(word)
            if _E_HEIGHT[layer] + v * (_E_HEIGHT[layer + _ONE] - _E_HEIGHT[layer]) < math.exp(-x):
                return word, base + x
        word += _STEP
        z = mix(word)
        layer = z & _LAYER_MASK
        part = z >> _S11


@njit(cache=True)
def normal(word: np.uint64) -> tuple[np.uint64, float]:
    """Draws from the standard normal distribution.

    Args:
        word: the counter, uint64.

    Returns:
        The next counter and the variate.
    """
    while True:
        word += _STEP
        z = mix(word)
        layer = z & _LAYER_MASK
        part = z >> _S11
        x = float(part) * _N_WIDTH[layer]
        if part >= _N_INSIDE[layer]:
            word, x, accepted = _normal_edge(word, layer, x)
            if not accepted:
                continue
        return word, -x if z & _SIGN else x


@njit(cache=True)
def _normal_edge(word: np.uint64, layer: np.uint64, x: float) -> tuple[np.uint64, float, bool]:
    if layer == 0:  # the tail, by Marsaglia's exponential wedge
        while True:
            word, a = exponential(word)
            word, b = exponential(word)
            a /= _NORMAL_TAIL
            if 2.0 * b > a * a:
                return word, _NORMAL_TAIL + a, True
    word, v = uniform(word)
    return word, x, _N_HEIGHT[layer] + v * (_N_HEIGHT[layer + _ONE] - _N_HEIGHT[layer]) < math.exp(-0.5 * x * x)


@njit(cache=True)
def gamma(word: np.uint64, shape: float) -> tuple[np.uint64, float]:
    """Draws from the gamma distribution of scale 1 (Marsaglia and Tsang, ACM TOMS 26(3), 2000).

    Args:
        word: the counter, uint64.
        shape: > 0. Below 1 the draw of shape + 1 is multiplied by a uniform variate to the power 1 / shape.

    Returns:
        The next counter and the variate, >= 0.
    """
    boost = 1.0
    if shape < 1.0:
        word, e = exponential(word)
        boost = math.exp(-e / shape)
        shape += 1.0
    d = shape - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    while True:
        word, x = normal(word)
        v = 1.0 + c * x
        if v <= 0.0:
            continue
        v = v * v * v
        word, u = uniform(word)
        x2 = x * x
        if u < 1.0 - 0.0331 * x2 * x2 or math.log(u) < 0.5 * x2 + d * (1.0 - v + math.log(v)):
            return word, d * v * boost
