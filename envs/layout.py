"""The layout of an agent's observation: which number stands where, and how it is scaled.

One encoder serves the simulated clusters, many at once, and a live cluster, one at a time (`envs.view.view_of`). All scales
are constants of the scenario, so no statistics travel with an agent. Every entry is within [-1, 1], in fact within [0, 1].
What is missing is 0 and has a flag that says so; it never looks like a value.

Scales: *ratio*: as it is, cut at 1. *saturating*: x / (1 + x). *logarithmic*: log(1 + 10 x) / log(41), cut at 4.
*Full load* of a service: what the whole budget carries, all of it spent on the kind with the most capacity per unit; of an
application: the least of its services'.

| entries | for each | number | scale |
|---|---|---|---|
| `load[a, i]`, `load_known[a, i]` | application, i = 11 .. 0 ago | offered / full load; whether seen | logarithmic; 0 or 1 |
| `violations[a]`, `accuracy[a]`, `settled[a]` | application | of the settled requests; whether any | ratio; 0 or 1 |
| `p50[a]`, `p95[a]`, `p99[a]`, `answered[a]` | application | latency / SLO; whether there were answers | saturating; 0 or 1 |
| `queue[s]` | service | requests waiting / full load / SLO | saturating |
| `level[c]` | candidate | level of the deployment in force / highest level | ratio |
| `ready[c]`, `pending[c]`, `draining[c]` | candidate | units held / budget of the device type | ratio, of 2 budgets |
| `busy[c]` | candidate | server time computing / server time ready (0 without ready replicas: see `ready`) | ratio |
| `capacity[c]` | candidate | capacity of the ready replicas / full load of the first service that it hosts | saturating |
| `loading[c]` | candidate | age of the oldest pending replica / load time (0: none; see `pending`) | saturating |
| `cold_start[v]` | variant | measured cold start / interval | saturating |
| `price[d]` | device type | price / the highest price | ratio |
| `weight_*` | weight of the reward | the weight | saturating |
| `age`, `seen` | | age of the newest sample / interval; whether there is one | saturating; 0 or 1 |
"""

from __future__ import annotations

import numpy as np

from envs.contract import ReplicaKind
from envs.scenario import Scenario
from envs.view import View

LAYOUT_VERSION = 1
HISTORY = 12  # intervals of offered load that an agent sees
MOST_LOAD = 4.0  # times the full load; more looks the same


class Layout:
    """The observation of one scenario.

    Attributes:
        names: (D,) what each entry is, such as ``load[classify, 0]``.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._interval_s = scenario.interval_s
        full = {name: _full_rps(scenario, name) for name in scenario.services}
        self._full_rps = np.array([min(full[s] for s in a.services) for a in scenario.applications.values()])
        self._slo_s = np.array([a.slo_s for a in scenario.applications.values()])
        self._queue_scale = np.array([1 / (full[name] * s.slo_s) for name, s in scenario.services.items()])
        self._starts = np.cumsum([0, *(len(c.kinds) for c in scenario.candidates)])[:-1]
        self._highest = np.array([c.levels - 1 for c in scenario.candidates])
        self._units = np.array([k.shape.units for k in scenario.kinds], np.float64)
        self._budget = np.array([scenario.devices[c.device].budget for c in scenario.candidates], np.float64)
        self._servers = np.array([k.shape.servers for k in scenario.kinds], np.float64)
        self._capacity = np.array([_capacity_ratio(scenario, kind, full) for kind in scenario.kinds])
        self._load_s = np.array([max(scenario.load_s(c.kinds[0]), 1e-9) for c in scenario.candidates])
        prices = np.array([d.price for d in scenario.devices.values()])
        weights = scenario.weights
        self._constants = np.concatenate(
            [prices / prices.max(), _saturating(np.array([weights.accuracy, weights.cost, weights.slo, weights.change]))]
        )
        self.names = tuple(_names(scenario))

    @property
    def size(self) -> int:
        """D, the number of entries."""
        return len(self.names)

    def no_history(self, *leading: int) -> np.ndarray:
        """The history at the start, (..., HISTORY, A): all missing."""
        return np.full((*leading, HISTORY, len(self._full_rps)), np.nan)

    def remember(self, history: np.ndarray, view: View) -> np.ndarray:
        """The history with the view's offered load as its newest interval."""
        return np.concatenate([history[..., 1:, :], view.offered_rps[..., None, :]], axis=-2)

    def encode(self, view: View, history: np.ndarray) -> np.ndarray:
        """The observation, float32 (..., D).

        Args:
            view: what was seen now, with any leading dimensions.
            history: (..., HISTORY, A) offered load of the last intervals, the newest (this view's) last.
        """
        leading = view.offered_rps.shape[:-1]
        load, load_known = _known(np.swapaxes(history, -1, -2) / self._full_rps[:, None])
        ratios, ratios_known = _known(np.stack([view.violation_ratio, view.accuracy], axis=-1))
        latency, latency_known = _known(view.quantiles_s / self._slo_s[:, None])
        age, age_known = _known(np.asarray(view.age_s)[..., None] / self._interval_s)
        ready = np.nan_to_num(view.ready)
        serving = ready * self._servers
        busy = self._by_candidate(serving * np.nan_to_num(view.busy_ratio)) / np.maximum(self._by_candidate(serving), 1)
        parts = [
            np.concatenate([np.log1p(10 * np.minimum(load, MOST_LOAD)) / np.log1p(10 * MOST_LOAD), load_known], axis=-1),
            np.concatenate([ratios, ratios_known[..., :1], _saturating(latency), latency_known[..., :1]], axis=-1),
            _saturating(np.nan_to_num(view.queue) * self._queue_scale),
            view.levels / self._highest,
            *(
                self._by_candidate(np.nan_to_num(n) * self._units) / (2 * self._budget)
                for n in (view.ready, view.pending, view.draining)
            ),
            busy,
            _saturating(self._by_candidate(ready * self._capacity)),
            _saturating(np.maximum.reduceat(view.pending_age_s, self._starts, axis=-1) / self._load_s),
            _saturating(view.load_s / self._interval_s),
            np.broadcast_to(self._constants, (*leading, len(self._constants))),
            _saturating(age),
            age_known,
        ]
        flat = np.concatenate([part.reshape(*leading, -1) for part in parts], axis=-1)
        return np.clip(flat, 0.0, 1.0).astype(np.float32)

    def _by_candidate(self, of_kinds: np.ndarray) -> np.ndarray:
        """Sums over the kinds of each candidate, (..., K) -> (..., C)."""
        return np.add.reduceat(of_kinds, self._starts, axis=-1)


def observation_names(scenario: Scenario) -> tuple[str, ...]:
    """What each entry of an observation is."""
    return Layout(scenario).names


def _known(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values with 0 for what is missing, and 1 where they are known."""
    missing = np.isnan(values)
    return np.where(missing, 0.0, values), 1.0 - missing


def _saturating(values: np.ndarray) -> np.ndarray:
    return values / (1.0 + values)


def _full_rps(scenario: Scenario, service: str) -> float:
    """What the whole budget carries of one service."""
    best: dict[str, float] = {}
    for kind in scenario.kinds:
        for variant in set(kind.variants) & set(scenario.services[service].variants):
            name = kind.shape.device
            carried = scenario.devices[name].budget // kind.shape.units * scenario.capacity_rps(kind, variant)
            best[name] = max(best.get(name, 0.0), carried)
    return max(sum(best.values()), 1e-9)


def _capacity_ratio(scenario: Scenario, kind: ReplicaKind, full: dict[str, float]) -> float:
    """Capacity of one replica over the full load of the first service that it hosts."""
    for name, service in scenario.services.items():
        for variant in service.variants:
            if variant in kind.variants:
                return scenario.capacity_rps(kind, variant) / full[name]
    return 0.0


def _names(scenario: Scenario) -> list[str]:
    """Names of all entries, in order."""
    names: list[str] = []
    for a in scenario.applications:
        names += [f"{what}[{a}, {i}]" for what in ("load", "load_known") for i in range(HISTORY - 1, -1, -1)]
    for a in scenario.applications:
        names += [f"{what}[{a}]" for what in ("violations", "accuracy", "settled", "p50", "p95", "p99", "answered")]
    names += [f"queue[{s}]" for s in scenario.services]
    for what in ("level", "ready", "pending", "draining", "busy", "capacity", "loading"):
        names += [f"{what}[{_candidate_name(scenario, c)}]" for c in range(len(scenario.candidates))]
    names += [f"cold_start[{v}]" for v in scenario.variants] + [f"price[{d}]" for d in scenario.devices]
    return [*names, "weight_accuracy", "weight_cost", "weight_slo", "weight_change", "age", "seen"]


def _candidate_name(scenario: Scenario, index: int) -> str:
    return f"{index}: {'+'.join(scenario.candidates[index].variants)}"
