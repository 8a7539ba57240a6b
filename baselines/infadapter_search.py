"""The search behind `baselines.infadapter_ilp.solve`: compiled branch and bound, exact for any table of capacities.

For each bound t on the load ratio of what changes, the rest of the program is to choose one level of each variant:

    maximise sum_m worth_m q_m - cost_m(n_m)   subject to   sum_m q_m = load,  q_m <= capacity_m(n_m),  units within the budget

A price mu of load and prices nu of units (Lagrange multipliers, those that make the bound least) turn it into a sum over
variants, so that the most that the variants still to come can give is known beforehand. The search begins from the best plan
of one or two variants, goes through variants by falling accuracy and through the levels of each by falling gain at these
prices, and cuts what cannot beat the best plan found. Three sets of prices are tried at each node.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

EPSILON = 1e-12  # an objective has to be better by this much
ROUNDING = 1e-9  # of the load, that capacities may fall short
HALVINGS = 60  # of the interval in which the price of load lies
GOLDEN = 0.6180339887498949
SECTIONS = 30  # golden sections of the interval in which a price of units lies


class Program(NamedTuple):
    """V variants by falling accuracy, L levels, D device types; shapes as in `Choices`."""

    worth: np.ndarray  # (V,) of one req/s served: weight of accuracy x accuracy / load
    load_ratio: np.ndarray  # (V,)
    units: np.ndarray  # (V, L)
    capacity_rps: np.ndarray  # (V, L)
    cost: np.ndarray  # (V, L), weighted
    device: np.ndarray  # (V,)
    budget: np.ndarray  # (D,)
    load_rps: float
    w_change: float
    previous: np.ndarray  # (V,)
    by_capacity: np.ndarray  # (V, L) levels by rising capacity
    longest: np.ndarray  # bounds on the load ratio of what changes, the greatest first; one where changes are free


@njit(cache=True)
def search(p, most_nodes):
    """The best plan.

    Args:
        p: the `Program`.
        most_nodes: of the search tree, after which the best plan found is returned unproven.

    Returns:
        (whether a plan was found, its levels, whether it is proven that none is better).
    """
    best, best_value, nodes = np.zeros(p.worth.size, np.int64), -np.inf, 0
    for t in p.longest:
        free = p.w_change * t
        value = first_plan(p, allowed_levels(p, t), best, best_value + free)
        best_value = max(best_value, value - free)
    bound, mu, nu = prices(p, allowed_levels(p, p.longest[0]))
    for t in p.longest:
        free, allowed = p.w_change * t, allowed_levels(p, t)
        if price_of_load(p, allowed, nu)[0] < bound - EPSILON:  # else what they choose is still allowed: they stay best
            bound, mu, nu = prices(p, allowed)
        if bound <= best_value + free + EPSILON:
            continue
        value, nodes = _branch(p, allowed, mu, nu, best, best_value + free, nodes, most_nodes)
        best_value = max(best_value, value - free)
        if nodes > most_nodes:
            return best_value > -np.inf, best, False
    return best_value > -np.inf, best, True


@njit(cache=True)
def allowed_levels(p, t):
    """(V, L) levels that exist, fit the budget, carry something, and are unchanged or of a load ratio of at most t."""
    allowed = np.zeros(p.units.shape, np.bool_)
    for m in range(p.units.shape[0]):
        for n in range(1, p.units.shape[1]):
            fits = 0 < p.units[m, n] <= p.budget[p.device[m]] and p.capacity_rps[m, n] > 0
            allowed[m, n] = fits and (n == p.previous[m] or p.load_ratio[m] <= t)
    return allowed


@njit(cache=True)
def first_plan(p, allowed, best, best_value):
    """Puts the best plan of one or two variants into `best` where it beats `best_value`; returns the better value."""
    variants, levels = allowed.shape
    order, count = np.zeros((variants, levels), np.int64), np.zeros(variants, np.int64)
    capacity, cheapest = np.zeros((variants, levels)), np.zeros((variants, levels), np.int64)
    for m in range(variants):  # levels by capacity, and the cheapest of those that carry at least as much
        for n in p.by_capacity[m]:
            if allowed[m, n]:
                order[m, count[m]], capacity[m, count[m]] = n, p.capacity_rps[m, n]
                count[m] += 1
        for j in range(count[m] - 1, -1, -1):
            n, after = order[m, j], cheapest[m, min(j + 1, count[m] - 1)]
            cheapest[m, j] = n if j == count[m] - 1 or p.cost[m, n] < p.cost[m, after] else after
    slack = ROUNDING * p.load_rps
    for a in range(variants):
        j = np.searchsorted(capacity[a, : count[a]], p.load_rps - slack)
        if j < count[a]:
            value = p.worth[a] * p.load_rps - p.cost[a, cheapest[a, j]]
            if value > best_value + EPSILON:
                best_value = value
                best[:] = 0
                best[a] = cheapest[a, j]
        for b in range(a + 1, variants):  # a full, b takes the rest
            for j in range(count[a]):
                n, rest = order[a, j], p.load_rps - capacity[a, j]
                if rest <= slack:
                    break
                i = np.searchsorted(capacity[b, : count[b]], rest - slack)
                if i == count[b]:
                    continue
                k = cheapest[b, i]
                shared = p.units[a, n] + p.units[b, k] if p.device[a] == p.device[b] else 0
                value = p.worth[a] * capacity[a, j] + p.worth[b] * rest - p.cost[a, n] - p.cost[b, k]
                if shared <= p.budget[p.device[a]] and value > best_value + EPSILON:
                    best_value = value
                    best[:] = 0
                    best[a], best[b] = n, k
    return best_value


@njit(cache=True)
def price_of_load(p, allowed, nu):
    """The price of load that makes the bound least at given prices of units; returns (bound, price).

    Each variant's points (capacity, minus its cost) have an upper concave hull, on which the best level is found at any price.
    """
    variants, levels = allowed.shape
    hull_k, hull_v, size = np.zeros((variants, levels)), np.zeros((variants, levels)), np.zeros(variants, np.int64)
    high = low = p.worth.max()
    for m in range(variants):
        size[m] = 1  # the point of nothing
        for n in p.by_capacity[m]:
            if not allowed[m, n]:
                continue
            k, v = min(p.capacity_rps[m, n], p.load_rps), -p.cost[m, n] - nu[p.device[m]] * p.units[m, n]
            if k == hull_k[m, size[m] - 1]:
                if v <= hull_v[m, size[m] - 1]:
                    continue
                size[m] -= 1
            while size[m] > 1 and (hull_v[m, size[m] - 1] - hull_v[m, size[m] - 2]) * (k - hull_k[m, size[m] - 2]) <= (
                v - hull_v[m, size[m] - 2]
            ) * (hull_k[m, size[m] - 1] - hull_k[m, size[m] - 2]):
                size[m] -= 1
            hull_k[m, size[m]], hull_v[m, size[m]] = k, v
            size[m] += 1
        for j in range(1, size[m]):
            low = min(low, p.worth[m] + (hull_v[m, j] - hull_v[m, j - 1]) / (hull_k[m, j] - hull_k[m, j - 1]))
    for _ in range(HALVINGS):
        mu = 0.5 * (low + high)
        carried = 0.0
        for m in range(variants):
            carried += hull_k[m, _best_point(p.worth[m] - mu, hull_k[m], hull_v[m], size[m])]
        if carried > p.load_rps:
            low = mu
        else:
            high = mu
    bound = high * p.load_rps + _dot(nu, p.budget)
    for m in range(variants):
        j = _best_point(p.worth[m] - high, hull_k[m], hull_v[m], size[m])
        bound += hull_v[m, j] + (p.worth[m] - high) * hull_k[m, j]
    return bound, high


@njit(cache=True)
def _dot(a, b):
    """Inner product without arrays in between."""
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@njit(cache=True)
def _copy(source, to):
    """Element by element: quicker to compile than an assignment of arrays."""
    for i in range(to.size):
        to[i] = source[i]


@njit(cache=True)
def _best_point(gain, hull_k, hull_v, size):
    """The point of a hull with the most gain x capacity - cost."""
    j = 0
    while j + 1 < size and hull_v[j + 1] - hull_v[j] + gain * (hull_k[j + 1] - hull_k[j]) > 0:
        j += 1
    return j


@njit(cache=True)
def prices(p, allowed):
    """The price of load and the prices of units (D,) of the least bound: golden sections, one device type after the other."""
    variants, levels = allowed.shape
    nu, dearest = np.zeros(p.budget.size), 0.0
    for m in range(variants):
        for n in range(1, levels):
            if allowed[m, n]:
                dearest = max(dearest, p.worth[m] * min(p.capacity_rps[m, n], p.load_rps) / p.units[m, n])
    x, f = np.zeros(2), np.zeros(2)  # the two prices inside the interval, and their bounds
    for d in range(p.budget.size):
        low, high = 0.0, dearest
        x[0], x[1] = high - GOLDEN * high, GOLDEN * high
        for i in range(2 + SECTIONS):
            j = i
            if i > 1 and f[0] <= f[1]:
                j, high, x[1], f[1] = 0, x[1], x[0], f[0]
                x[0] = high - GOLDEN * (high - low)
            elif i > 1:
                j, low, x[0], f[0] = 1, x[0], x[1], f[1]
                x[1] = low + GOLDEN * (high - low)
            nu[d] = x[j]
            f[j] = price_of_load(p, allowed, nu)[0]
        nu[d] = 0.5 * (low + high) if low > 0 else 0.0
    bound, mu = price_of_load(p, allowed, nu)
    return bound, mu, nu


@njit(cache=True)
def _price_sets(p, allowed, mu, nu):
    """Three sets of prices, the best ones first, then those of free and of dear units: mus (3,), nus (3, D)."""
    mus, nus = np.zeros(3), np.zeros((3, p.budget.size))
    mus[0] = mu
    for d in range(nu.size):
        nus[0, d], nus[2, d] = nu[d], 3 * nu[d]
    for k in range(1, 3):
        _, mus[k] = price_of_load(p, allowed, nus[k])
    return mus, nus


@njit(cache=True)
def _branch(p, allowed, mu, nu, best, best_value, nodes, most_nodes):
    """Searches the allowed levels for a plan that beats `best_value`; returns the better value and the nodes seen so far."""
    variants, levels = allowed.shape
    mus, nus = _price_sets(p, allowed, mu, nu)
    gain = np.zeros((variants, levels))  # of each level, at the best prices
    to_come = np.zeros((3, variants + 1))  # most gain of the variants from m on
    dense = np.zeros((variants + 1, p.budget.size))  # most capacity per unit of the variants from m on
    order = np.zeros((variants, levels), np.int64)
    for m in range(variants - 1, -1, -1):
        _copy(dense[m + 1], dense[m])
        for k in range(3):
            most = 0.0
            for n in range(1, levels):
                if not allowed[m, n]:
                    gain[m, n] = -np.inf
                else:
                    carried = min(p.capacity_rps[m, n], p.load_rps)
                    one = max(p.worth[m] - mus[k], 0.0) * carried - p.cost[m, n] - nus[k, p.device[m]] * p.units[m, n]
                    most = max(most, one)
                    if k == 0:
                        gain[m, n] = one
                        dense[m, p.device[m]] = max(dense[m, p.device[m]], p.capacity_rps[m, n] / p.units[m, n])
            to_come[k, m] = to_come[k, m + 1] + most
        _copy(np.argsort(-gain[m]), order[m])
    rest, value = np.empty(variants), np.zeros(variants)
    left = np.empty((variants, p.budget.size), np.int64)
    place, taken = np.zeros(variants, np.int64), np.zeros(variants, np.int64)
    rest[0] = p.load_rps
    _copy(p.budget, left[0])
    m = 0
    while m >= 0:
        if place[m] == levels:
            m -= 1
            continue
        n = order[m, place[m]]
        place[m] += 1
        if value[m] + mus[0] * rest[m] + _dot(nus[0], left[m]) + gain[m, n] + to_come[0, m + 1] <= best_value + EPSILON:
            place[m] = levels  # the levels after it gain less
            continue
        if n and p.units[m, n] > left[m, p.device[m]]:
            continue
        nodes += 1
        if nodes > most_nodes:
            return best_value, nodes
        taken[m] = n
        carried = min(p.capacity_rps[m, n], rest[m]) if n else 0.0
        rest_now = rest[m] - carried
        value_now = value[m] + p.worth[m] * carried - (p.cost[m, n] if n else 0.0)
        if rest_now <= ROUNDING * p.load_rps:
            if value_now > best_value + EPSILON:
                best_value = value_now
                _copy(taken, best)
                for after in range(m + 1, variants):
                    best[after] = 0
            continue
        if m + 1 == variants:
            continue
        _copy(left[m], left[m + 1])
        left[m + 1, p.device[m]] -= p.units[m, n] if n else 0
        if _dot(left[m + 1], dense[m + 1]) * (1 + ROUNDING) < rest_now:
            continue
        hopeless = False
        for k in range(3):
            most = value_now + mus[k] * rest_now + _dot(nus[k], left[m + 1]) + to_come[k, m + 1]
            hopeless = hopeless or most <= best_value + EPSILON
        if not hopeless:
            m += 1
            rest[m], value[m], place[m] = rest_now, value_now, 0
    return best_value, nodes
