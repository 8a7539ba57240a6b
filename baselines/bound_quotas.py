"""A bound on the reward of any policy where tenants have admission quotas, for services by themselves, of any binding.

The relaxation: all that a quota lets in is answered in time, or never settles, as is best for the interval; each good answer
takes its variant's least share of a batch, on replicas that never idle, held only while they compute, changed for nothing.

Why no policy can do better. Let Q be what quotas reject in an interval, B the priced budget, d the interval's length, a(v)
the accuracy of variant v and s(v) its least priced unit-seconds for a request: of all its kinds and batches the least price
x units / servers x latency / batch.

1. What is rejected for its quota settles at once, and its bucket hangs on arrivals alone: Q is the same for every policy.
2. An answer is good within the SLO, so an interval's good answers are of requests let in since an SLO before it: N at most.
3. With x(v) good answers, G in all, and X >= Q violations, the reward for both is (sum of w_accuracy a x - w_slo X) / (G + X),
   which falls with X: X = Q is best.
4. A batch holds its replica while it computes, so over the episode the cost is at least the sum of s x / (B d) over all
   intervals. Each answer may be charged where it settles.
5. For a given G what is left is linear in x, so that one variant is best, and f(G) = w_accuracy a - (w_accuracy a + w_slo) Q
   / (G + Q) - w_cost s G / (B d) is concave: G = sqrt((w_accuracy a + w_slo) Q B d / (w_cost s)) - Q, within 0 and N.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from baselines.future import Future
from envs.contract import ReplicaKind
from envs.randomness import ARRIVAL, key
from envs.rules import refill
from envs.scenario import Scenario
from traces.samplers import draw


@dataclass(frozen=True)
class Best:
    """What the relaxation earns, mean per interval: the reward and its terms."""

    reward: float
    accuracy: float
    violation: float
    cost: float


def has_quotas(scenario: Scenario) -> bool:
    """Whether some tenant that a service belongs to has a quota."""
    return any(scenario.tenants[s.tenant].quota_rps for s in scenario.services.values())


def wants(scenario: Scenario) -> dict[str, bool]:
    """What the argument needs, and whether the scenario has it."""
    return {
        "services by themselves": all(len(a.services) == 1 for a in scenario.applications.values()),
        "replicas without pipelines": all(kind.shape.inter_op == 1 for kind in scenario.kinds),
        "service times without noise": scenario.service_cv == 0,
    }


def best_within_quotas(scenario: Scenario, future: Future) -> Best:
    """The bound of one episode of a scenario that has what `wants` asks for."""
    interval_s = scenario.interval_s
    arrivals, admitted = _admitted(scenario, future)
    ends = np.arange(1, future.intervals + 1) * interval_s
    since_s = ends - interval_s - max(s.slo_s for s in scenario.services.values())
    rejected = np.histogram(arrivals[~admitted], [0.0, *ends])[0]
    let_in = np.sort(arrivals[admitted])
    most = np.searchsorted(let_in, ends, side="right") - np.searchsorted(let_in, since_s)
    rows = [_interval(scenario, int(q), int(n)) for q, n in zip(rejected, most)]
    return Best(*(float(x) for x in np.mean(rows, axis=0)))


def _interval(scenario: Scenario, rejected: int, most: int) -> tuple[float, float, float, float]:
    """Reward, accuracy, violations and cost at the optimum of one interval."""
    weights = scenario.weights
    whole = scenario.interval_s * scenario.whole_price
    found = [(-weights.slo, 0.0, 1.0, 0.0) if rejected else (0.0, 0.0, 0.0, 0.0)]
    for variant in dict.fromkeys(v for kind in scenario.kinds for v in kind.variants):
        accuracy, work = scenario.variants[variant].accuracy, least_work(scenario, variant) / whole
        gain = weights.accuracy * accuracy + weights.slo
        price = weights.cost * work
        good = min(max(math.sqrt(gain * rejected / price) - rejected, 0.0), float(most)) if price else float(most)
        if not rejected and most:  # of the fewest answers all are good, and they cost next to nothing
            good = 0.0
        share = good / (good + rejected) if rejected else float(most > 0)
        violation = 1 - share if rejected else 0.0
        reward = weights.accuracy * accuracy * share - weights.slo * violation - price * good
        found.append((reward, accuracy * share, violation, work * good))
    return max(found)


def least_work(scenario: Scenario, variant: str) -> float:
    """The least priced unit-seconds that a request takes of a replica, whatever the kind and the batch."""
    return min(_work(scenario, kind, variant, batch)
               for kind in scenario.kinds if variant in kind.variants for batch in range(1, kind.batch + 1))


def _work(scenario: Scenario, kind: ReplicaKind, variant: str, batch: int) -> float:
    price = scenario.devices[kind.shape.device].price * kind.shape.units / kind.shape.servers
    return float(price * sum(scenario.profile.latency_s(variant, kind.shape, batch)) / batch)


def _admitted(scenario: Scenario, future: Future) -> tuple[np.ndarray, np.ndarray]:
    """When requests arrive, at all services in order, and whether their tenant's quota lets them in."""
    until_s, names = future.intervals * scenario.interval_s, list(scenario.applications)
    drawn = [draw(future.loads[name], np.uint64(key(future.seed, ARRIVAL, i)), future.start_s, until_s)
             if name in future.loads else np.zeros(0) for i, name in enumerate(names)]
    arrivals, whose = np.concatenate(drawn), np.repeat(np.arange(len(names)), [len(row) for row in drawn])
    order = np.argsort(arrivals, kind="stable")
    arrivals, whose = arrivals[order], whose[order]
    admitted = np.ones(len(arrivals), bool)
    for name, tenant in scenario.tenants.items():
        own = [i for i, a in enumerate(names) if scenario.services[scenario.applications[a].services[0]].tenant == name]
        if tenant.quota_rps:
            tokens, last_s = tenant.burst, 0.0
            for i in np.flatnonzero(np.isin(whose, own)):
                tokens, last_s = refill(tokens, last_s, arrivals[i], tenant.quota_rps, tenant.burst), arrivals[i]
                admitted[i] = tokens >= 1.0
                tokens -= admitted[i]
    return arrivals, admitted
