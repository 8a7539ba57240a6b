"""Keyed random draws for compiled code: uniform, exponential, normal and gamma variates.

A draw takes a 64-bit word and returns the next word with the variate. The word is a counter that steps by a constant; the
variate is a hash of it (splitmix64: Steele, Lea and Flood, OOPSLA 2014). So a sequence depends on its first word alone: not
on a global generator, on threads, or on who else draws.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_A = np.uint64(0xBF58476D1CE4E5B9)
_MIX_B = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_LAYER_MASK = np.uint64(255)
_UNIT = 2.0**-53

# Ziggurat of the exponential density, 256 layers of equal area (Marsaglia and Tsang, J. Stat. Software 5(8), 2000).
_TAIL = 7.69711747013104972
_AREA = 0.0039496598225815571993


def _ziggurat() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    edge = np.zeros(257)
    edge[0] = _AREA / math.exp(-_TAIL)
    edge[1] = _TAIL
    for i in range(2, 256):
        edge[i] = -math.log(_AREA / edge[i - 1] + math.exp(-edge[i - 1]))
    inside = np.array([int(edge[i + 1] / edge[i] * 2.0**53) for i in range(256)], dtype=np.uint64)
    height = np.array([math.exp(-x) for x in edge])
    return edge[:256] * _UNIT, inside, height


_WIDTH, _INSIDE, _HEIGHT = _ziggurat()


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
    if part < _INSIDE[layer]:
        return word, float(part) * _WIDTH[layer]
    return _exponential_edge(word, layer, part)


@njit(cache=True)
def _exponential_edge(word: np.uint64, layer: np.uint64, part: np.uint64) -> tuple[np.uint64, float]:
    base = 0.0
    while True:
        x = float(part) * _WIDTH[layer]
        if part < _INSIDE[layer]:
            return word, base + x
        if layer == 0:
            base += _TAIL
        else:
            word, v = uniform(word)
            if _HEIGHT[layer] + v * (_HEIGHT[layer + np.uint64(1)] - _HEIGHT[layer]) < math.exp(-x):
                return word, base + x
        word += _STEP
        z = mix(word)
        layer = z & _LAYER_MASK
        part = z >> _S11


@njit(cache=True)
def normal(word: np.uint64) -> tuple[np.uint64, float]:
    """Draws from the standard normal distribution (Marsaglia's polar method).

    Args:
        word: the counter, uint64.

    Returns:
        The next counter and the variate.
    """
    while True:
        word, a = uniform(word)
        word, b = uniform(word)
        a = 2.0 * a - 1.0
        b = 2.0 * b - 1.0
        s = a * a + b * b
        if 0.0 < s < 1.0:
            return word, a * math.sqrt(-2.0 * math.log(s) / s)


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
