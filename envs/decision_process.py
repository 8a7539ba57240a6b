"""The decision process that the environments share: actions in, observations and rewards out, for N clusters in lock-step."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from envs.actions import Actions, Mode
from envs.clusters import Clusters
from envs.contract import Policy
from envs.layout import Layout
from envs.randomness import draw, key, uniform
from envs.reward import Terms, pricing, reward, terms
from envs.routes import shares_of
from envs.scenario import Scenario
from envs.scenario_file import load as load_scenario
from traces.generators import GENERATORS
from traces.load import RECORDED, Load, span_s
from traces.workload import Workload
from traces.workload import open as open_workload

EPISODE = 7  # cause of randomness of an episode: its seed (stage 0), place in the trace (1) and load scale (2)
DAY_S = 86_400.0


class DecisionProcess:
    """N episodes of one scenario at the same time. Arguments are those of `ServingEnv`.

    Attributes:
        observation: (N, D) float32, what agents see now.
        clusters: the clusters behind it.
        actions, layout: of the scenario.
        step_count: intervals of the episode so far.
        decided: (N, C) levels that the last actions came to.
    """

    def __init__(
        self,
        scenario: str | Path | Scenario,
        count: int,
        action_mode: Mode,
        base_policy: Policy | None,
        loads: Mapping[str, Load] | None,
        load_scale: tuple[float, float],
    ) -> None:
        self.scenario = scenario if isinstance(scenario, Scenario) else load_scenario(scenario)
        if (action_mode == "residual") != (base_policy is not None):
            raise ValueError("base_policy belongs to action_mode 'residual': give both or neither")
        if not 0 < load_scale[0] <= load_scale[1]:
            raise ValueError(f"load_scale {load_scale}: give a positive range, the lower end first")
        self.loads = own_loads(self.scenario) if loads is None else dict(loads)
        self.load_scale = load_scale
        self.actions, self.layout = Actions(self.scenario, action_mode), Layout(self.scenario)
        self.clusters = Clusters(self.scenario, self.loads, count)
        self._pricing = pricing(self.scenario, self.scenario.kinds)
        self._last_start_s = self._latest_start_s()
        self.step_count = 0
        self._bases = [copy.deepcopy(base_policy) for _ in range(count)] if base_policy is not None else []

    def begin(self, keys: Sequence[tuple[int, int, int]]) -> dict[str, np.ndarray]:
        """Starts an episode of each cluster; what it is follows from its key (seed, cluster, episode) alone.

        Returns:
            Its info: ``offset_s``, ``load_scale`` and ``cluster_seed``, each (N,).
        """
        words = [
            [int(draw(np.uint64(key(seed, EPISODE, cluster)), episode, stage)) for stage in range(3)]
            for seed, cluster, episode in keys
        ]
        seeds = [word[0] >> 1 for word in words]
        at, height = (np.array([float(uniform(np.uint64(word[i]))) for word in words]) for i in (1, 2))
        grid = self.scenario.interval_s
        offsets_s = np.floor(at * (self._last_start_s / grid + 1)) * grid
        low, high = np.log(self.load_scale[0]), np.log(self.load_scale[1])
        scales = np.exp(low + height * (high - low)) if high > low else np.full(len(keys), self.load_scale[0])
        self.clusters.begin(seeds, list(offsets_s), list(scales))
        for base in self._bases:
            base.reset(self.scenario)
        self.step_count = 0
        self._observe(self.layout.no_history(len(keys)))
        self._ask_base()
        return {"offset_s": offsets_s, "load_scale": scales, "cluster_seed": np.array(seeds, np.int64)}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """One interval under actions (N, C).

        Returns:
            Rewards, float64 (N,), and infos, each (N,).
        """
        clusters = self.clusters
        levels, projected = self.actions.levels(actions, self._start)
        shares = self.actions.shares(levels, clusters.view.service_rps)
        if self._bases:
            same = (levels == self._start).all(-1)[:, None] & (self._base_shares > 0).any(-1)
            shares = np.where(same[..., None], self._base_shares, shares)
        self.decided = levels
        clusters.advance(levels, shares)
        self.step_count += 1
        self._observe(self._history)
        self._ask_base()
        found = terms(self._pricing, clusters.truth, clusters.noted.change_load_s, self.scenario.interval_s)
        return reward(self.scenario.weights, found), self._infos(found, projected)

    def masks(self) -> np.ndarray:
        """Which values of the next actions make sense, bool (N, sum of nvec)."""
        return self.actions.masks(self._start)

    @property
    def done(self) -> bool:
        """Whether the episode is at its end."""
        return self.step_count >= self.scenario.episode_intervals

    def _observe(self, history: np.ndarray) -> None:
        view = self.clusters.view
        self._history = self.layout.remember(history, view)
        self.observation = self.layout.encode(view, self._history)

    def _ask_base(self) -> None:
        """The levels that the next action starts from: in force, or what the base policies decide."""
        self._start = self.clusters.levels
        if not self._bases:
            return
        wanted = [base.decide(seen).deployment for base, seen in zip(self._bases, self.clusters.observations())]
        self._start = np.array([self.scenario.levels(deployment) for deployment in wanted], np.int64)
        self._base_shares = np.stack([shares_of(self.scenario, deployment) for deployment in wanted])

    def _infos(self, found: Terms, projected: np.ndarray) -> dict[str, np.ndarray]:
        """What the interval really was, un-smoothed."""
        truth = self.clusters.truth
        worst_s = np.fmax.reduce(truth.quantiles_s, axis=-2)  # of all applications; nan where none has answers
        return {
            "accuracy": found.accuracy,
            "cost": found.cost,
            "violation_ratio": found.violation,
            "change": found.change,
            "offered_rps": truth.offered_rps.sum(-1),
            "settled": truth.settled.sum(-1),
            "p50_s": worst_s[..., 0],
            "p95_s": worst_s[..., 1],
            "p99_s": worst_s[..., 2],
            "queue": truth.service_waiting.sum(-1),
            "ready_replicas": truth.ready.sum(-1),
            "pending_replicas": truth.pending.sum(-1),
            "draining_replicas": truth.draining.sum(-1),
            "projected": projected,
        }

    def _latest_start_s(self) -> float:
        """The latest place in the loads where a whole episode fits."""
        shortest = min((span_s(load) for load in self.loads.values()), default=np.inf)
        episode_s = self.scenario.interval_s * self.scenario.episode_intervals
        if shortest < episode_s - 1e-6:
            raise ValueError(
                f"an episode of {episode_s:g} s does not fit into a load of {shortest:g} s; give longer loads, "
                "or a scenario with fewer episode_intervals"
            )
        if self.load_scale != (1.0, 1.0) and any(load.model == RECORDED for load in self.loads.values()):
            raise ValueError("recorded loads cannot be scaled: leave load_scale at (1, 1)")
        return shortest - episode_s if np.isfinite(shortest) else 0.0


def own_loads(scenario: Scenario) -> dict[str, Load]:
    """The scenario's own workload, the training part where its trace has parts."""
    loads = {}
    for name, workload in scenario.workload.items():
        generated, file = workload.trace in GENERATORS, Path(workload.trace).is_file()
        loads[name] = open_workload(
            Workload(
                workload.trace,
                split=None if generated or file else "train",
                length_s=DAY_S if generated else None,
                scale=1.0 if workload.mean_rps else workload.scale or 1.0,
                mean_rps=workload.mean_rps,
                scaling=workload.scaling,
                arrivals=workload.arrivals,
                cv=workload.cv,
                states=workload.states,
                seed=workload.seed,
            )
        ).load
    return loads
