"""The menu of the order/keep network: deployments of one service, ordered by the load that they are meant for.

A *level* is the load that a deployment is meant for, on a geometric grid. At one level the best deployment hangs on how
sure the load is: for a steady one all cores go to the most accurate variant that carries it; where bursts come, a smaller
pod of it stands beside one of a fast variant, onto which routes move at once while new replicas take minutes. So the menu
has a *family* for each of several spreads of the load around the level: the deployments of the greatest expected reward.

Where loading takes minutes, one mix of a fast and an accurate pod for ever is hard to beat (`baselines.static_fast`). Such
*mixes* are on the menu too, each alone in a family of its own: who is there stays, until it is told to leave. A mix may be
in a spread's family as well: two entries of one deployment, which differ in when it is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from envs.contract import Deployment
from envs.envelope import project
from envs.routes import Hosting, hosting_of
from envs.scenario import Candidate, Scenario

SPREADS = (0.1, 0.35, 0.8)  # of each family: standard deviation of log load around the level
FAST_MARGIN = 1.6  # of the routes: factor on the load, for bursts within an interval
LEVELS = 24  # geometric, from `LEAST` of what the budget carries on
LEAST = 0.03
NODES = 9  # of the Gauss-Hermite rule for the expectation


@dataclass(frozen=True, eq=False)
class Menu:
    """M entries, a deployment in a family each; the first is the scenario's initial one, where an episode begins.

    Attributes:
        levels: (M, C) level of each candidate.
        log_rps: (M,) log of the load that each is meant for.
        family: (M,) which spread; from `len(SPREADS)` on, the mixes.
        units: (M,) price x units held.
        union_units: (M, M) the same while the column loads beside the row.
        capacity_rps: (M,) of all replicas together.
    """

    levels: np.ndarray
    log_rps: np.ndarray
    family: np.ndarray
    units: np.ndarray
    union_units: np.ndarray
    capacity_rps: np.ndarray

    @property
    def families(self) -> int:
        """H, with those of the mixes."""
        return int(self.family.max()) + 1

    @property
    def mixes(self) -> np.ndarray:
        """(K,) entries that are alone in their families, in the families' order."""
        return np.flatnonzero(self.family >= len(SPREADS))

    def index(self, scenario: Scenario, deployment: Deployment, last: int, family: int) -> int:
        """The entry of a deployment: of several the last one, else that of a family; of none the one of the nearest capacity.

        Args:
            scenario: the problem.
            deployment: what is in force.
            last: entry that was ordered or kept last.
            family: which is liked.
        """
        levels = np.array(scenario.levels(deployment))
        same = np.flatnonzero((self.levels == levels).all(1)).tolist()
        if not same:
            capacity = capacities(hosting_of(scenario), levels[None]).sum(1)[0]
            return int(np.abs(self.capacity_rps - capacity).argmin())
        return last if last in same else min(same, key=lambda entry: self.family[entry] != family)


def menu_of(scenario: Scenario, mixes: Sequence[tuple[int, ...]] = ()) -> Menu:
    """The menu of a scenario of one service, whose candidates host one variant each; at most two of them are used at a time.

    Args:
        scenario: the problem.
        mixes: level of each candidate in each deployment that is a family of its own.

    Raises:
        ValueError: several services or device types, or a candidate that hosts several variants.
    """
    if len(scenario.services) != 1 or len(scenario.devices) != 1 or any(len(c.variants) > 1 for c in scenario.candidates):
        raise ValueError(f"scenario '{scenario.name}': an order/keep network plans one service on one device type, whose "
                         "candidates host one variant each")
    hosting = hosting_of(scenario)
    pool = affordable(scenario)
    capacity, units = capacities(hosting, pool), units_of(scenario, pool)
    initial = np.array(scenario.levels(scenario.initial_deployment))
    initial_rps = capacities(hosting, initial[None]).sum()
    chosen: dict[tuple[int, ...], tuple[float, int]] = {tuple(initial): (np.log(max(initial_rps, 1.0) / FAST_MARGIN), 0)}
    full_rps = capacity.sum(1).max()
    loads_rps = np.geomspace(LEAST, 1.0, LEVELS) * full_rps
    for family, spread in enumerate(SPREADS):
        for rps in loads_rps:
            worth = expected_reward(scenario, hosting, capacity, units, rps, spread)
            for place in np.argsort(-worth)[:20]:
                deployment, row = scenario.deployment(pool[place]), tuple(int(level) for level in pool[place])
                has = rps < loads_rps[-1] or chosen.get(row, (rps, family))[1] == family  # each has a greatest one of its own
                if has and project(deployment, scenario)[0] == deployment:  # the nodes have a place for it
                    if row != tuple(initial):
                        chosen.setdefault(row, (float(np.log(rps)), family))
                    break
    own = list(dict.fromkeys(mixes))
    levels = np.array([*chosen, *own], np.int64)
    log_rps, of_family = (list(column) for column in zip(*chosen.values()))
    carried = capacities(hosting, levels).sum(1)
    log_rps += np.log(carried[len(chosen) :] / FAST_MARGIN).tolist()
    of_family += range(len(SPREADS), len(SPREADS) + len(own))
    return Menu(levels, np.array(log_rps), np.array(of_family), units_of(scenario, levels), _union(scenario, levels), carried)


def capacities(hosting: Hosting, levels: np.ndarray) -> np.ndarray:
    """(N, C) req/s that each candidate carries at its level."""
    return np.take_along_axis(hosting.capacity_rps[0].T, np.asarray(levels), axis=0)


def expected_reward(scenario: Scenario, hosting: Hosting, capacity: np.ndarray, units: np.ndarray, rps: float,
                    spread: float) -> np.ndarray:
    """(N,) reward of deployments when the log of the load is normal around log `rps`, routes as `envs.routes` makes them.

    A model, to choose a menu by: what a deployment really earns is in `agents.order_keep_response`.
    """
    order = hosting.order[0]
    accuracy = np.array([scenario.variants[c.variants[0]].accuracy for c in scenario.candidates])[order]
    capacity = capacity[:, order]
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    total = np.maximum(capacity.sum(1), 1e-9)
    earned = np.zeros(len(capacity))
    for node, weight in zip(nodes, weights / weights.sum()):
        load = rps * np.exp(spread * node)
        wanted = np.minimum(FAST_MARGIN * load, total)[:, None]
        before = np.cumsum(capacity, 1) - capacity
        given = np.clip(wanted - before, 0.0, capacity)
        good = np.minimum(1.0, total / load)
        mean = (given * accuracy).sum(1) / wanted[:, 0]
        earned += weight * (scenario.weights.accuracy * good * mean - scenario.weights.slo * (1 - good))
    device = next(iter(scenario.devices.values()))
    return np.where(capacity.sum(1) > 0, earned - scenario.weights.cost * units / (device.price * device.budget), -np.inf)


def affordable(scenario: Scenario) -> np.ndarray:
    """(N, C) all deployments of one or two candidates within the budget."""
    budget = next(iter(scenario.devices.values())).budget
    rows = []
    for some in (*combinations(range(len(scenario.candidates)), 1), *combinations(range(len(scenario.candidates)), 2)):
        shape = [range(1, scenario.candidates[c].levels) for c in some]
        for level in np.stack(np.meshgrid(*shape, indexing="ij"), -1).reshape(-1, len(some)):
            row = np.zeros(len(scenario.candidates), np.int64)
            row[list(some)] = level
            rows.append(row)
    pool = np.array(rows)
    price = next(iter(scenario.devices.values())).price
    return pool[units_of(scenario, pool) <= budget * price]


def units_of(scenario: Scenario, levels: np.ndarray) -> np.ndarray:
    """(N,) price x units of deployments."""
    price = next(iter(scenario.devices.values())).price
    return np.asarray(price * sum(_held(candidate)[levels[:, c]] for c, candidate in enumerate(scenario.candidates)))


def _union(scenario: Scenario, levels: np.ndarray) -> np.ndarray:
    """(M, M) price x units held while the column loads beside the row: a new size is a new replica, a count is filled up."""
    price = next(iter(scenario.devices.values())).price
    total = np.zeros((len(levels), len(levels)))
    for c, candidate in enumerate(scenario.candidates):
        old, new = np.meshgrid(levels[:, c], levels[:, c], indexing="ij")
        held = _held(candidate)
        beside = np.where(old == new, 0, held[new]) if candidate.sized else np.maximum(held[new] - held[old], 0)
        total += held[old] + beside
    return price * total


def _held(candidate: Candidate) -> np.ndarray:
    """Units held at each level."""
    units = [kind.shape.units for kind in candidate.kinds]
    return np.array([0, *units] if candidate.sized else units[0] * np.arange(candidate.levels))
