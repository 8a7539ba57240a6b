"""The simulated side: an episode on given requests, every one of them kept; and decisions on what a live policy saw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from envs import state as st
from envs.cluster import SimulatedCluster
from envs.contract import Deployment, Observation, Policy
from envs.envelope import History, Limits, guard
from envs.model import compile_model
from envs.scenario import Scenario
from reports.against.side import Side, Standing, cost_of
from traces.load import RECORDED, Load, make_load

Arrivals = Mapping[str, np.ndarray]
"""By application, when requests are due: seconds since the first decision, rising."""


def simulated(scenario: Scenario, policy: Policy, arrivals: Arrivals, intervals: int, seed: int, told: Scenario) -> Side:
    """Plays a policy on these requests, inside the envelope, as a live autoscaler does.

    Args:
        scenario: what is played.
        policy: that decides.
        arrivals: the requests.
        intervals: how many decisions it makes.
        seed: of noise.
        told: the scenario that the policy and the envelope know: the live ones know nothing of what was measured.
    """
    loads = {name: make_load(RECORDED, recorded_s=due_s) for name, due_s in arrivals.items() if due_s.size}
    cluster = Measured(scenario, told, loads, seed)
    policy.reset(told)
    seen, held_s = cluster.first_observation, []
    history: History = ()
    decisions: list[Deployment] = []
    ready: list[Standing] = []
    starts_s: list[float] = []
    for _ in range(intervals):
        wanted, history = _decided(policy, seen, told, history)
        starts_s += _starts_s(decisions[-1] if decisions else scenario.initial_deployment, wanted, scenario)
        decisions.append(wanted)
        cluster.apply(wanted)
        seen = cluster.advance()
        truth = cluster.last_truth
        held_s += list(zip(cluster.kinds, truth.held_s.tolist()))
        ready.append({kind: int(count) for kind, count in zip(cluster.kinds, truth.ready) if count})
    cluster.finish()
    count = cluster.totals().app_count.sum(0)
    settled = count[st.GOOD : st.FAILED + 1].sum()
    span_s = intervals * scenario.interval_s
    accuracy = float(count[st.ACCURACY_PPB]) * 1e-9 / settled
    return Side(_requests(cluster, arrivals), span_s, accuracy, cost_of(held_s, span_s, scenario), decisions, ready, starts_s)


class Measured(SimulatedCluster):
    """Its dispatcher and admission expect what is written, as the gateway does; its servers take what was measured."""

    def __init__(self, scenario: Scenario, told: Scenario, loads: Mapping[str, Load], seed: int) -> None:
        self._told = told
        super().__init__(scenario, loads, seed=seed, record=True)

    def _compile(self) -> None:
        super()._compile()
        self.model = self.model._replace(work=compile_model(self._told, self.kinds).work)


def fed(policy: Policy, observations: Iterable[Observation], scenario: Scenario) -> list[Deployment]:
    """What the policy decides, inside the envelope, on observations that were made elsewhere."""
    policy.reset(scenario)
    history: History = ()
    decisions = []
    for seen in observations:
        wanted, history = _decided(policy, seen, scenario, history)
        decisions.append(wanted)
    return decisions


def _decided(policy: Policy, seen: Observation, scenario: Scenario, history: History) -> tuple[Deployment, History]:
    decision, _, history = guard(policy.decide(seen), seen, scenario, Limits(), history)
    return decision.deployment, history


def _starts_s(before: Deployment, wanted: Deployment, scenario: Scenario) -> list[float]:
    """From this decision to ready, of each replica that it brings: the mean, where loads are drawn."""
    return [scenario.decision_delay_s + scenario.load_s(kind) for kind, count in wanted.replicas.items()
            for _ in range(count - before.replicas.get(kind, 0))]


def _requests(cluster: SimulatedCluster, arrivals: Arrivals) -> pd.DataFrame:
    """See `Side.requests`."""
    rows = cluster.records()
    groups = rows.groupby("application", sort=False)["number"]
    arrived_s = np.concatenate([arrivals[str(name)][numbers] for name, numbers in groups])
    answered = rows["fate"].isin(("good", "late"))
    latency_s = np.where(answered, rows["t_s"] - arrived_s, np.nan)
    return pd.DataFrame({"application": rows["application"], "latency_s": latency_s, "in_time": rows["fate"] == "good"})
