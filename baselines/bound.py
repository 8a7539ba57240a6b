"""A bound on the reward of any policy on one episode of services with variants, with the scenario's candidates.

Where tenants have quotas it is `baselines.bound_quotas`; this is the argument for early binding.

The relaxation: true arrivals, each answer at its variant's fastest service time on cores that never idle, paid for only while
they compute, changed at will and for nothing, at most as many in an interval as any policy can have ready. Several services
are one: each request may be answered by any variant.

Why no policy can do better. Let B be the budget in cores, d the length of an interval, a(v) the accuracy and s(v) the service
time of variant v, and look at one interval.

1. Who settles. Binding is early and queues are limited: a request joins the queue of a ready replica or settles at once, and
   one that joined has an answer within D = (ceil(limit / servers) + 1) x service time, at most, also where its replica drains.
   So all that arrive at least D before the interval's end, m of them, settle in it, whatever the policy does (those of
   the interval's first D may be joined by others, which only adds to `m`).
2. What it earns. With G good answers and X violations settling, the reward for both is
   (sum of w_accuracy a over the good - w_slo X) / (G + X), which falls with X, and X >= m - G. If G <= m, it is at most that
   with X = m - G. If G > m, it is at most the good answers' mean, which m answers in the same proportions earn with
   less work. So it is at most the greatest of sum x(v) (w_accuracy a(v) + w_slo) / m - w_slo, where sum x(v) <= m.
3. What it costs. A request computes on one core for s(v) seconds, on a core that is held. So over the episode the cost is at
   least the sum of s(v) x(v) over all good answers, over (B d), and each answer may be charged where it settles.
4. What is ready. Where the longest load time, and the SLO with it, is not within an interval, nothing limits it here: a policy
   that always has something loading may keep all that ever was ready. Where it is, every deployment is within the budget, and
   all replicas of the last one are ready before the next one. Until all replicas of a new deployment are ready, which takes
   the longest load time l, those of the old one stay ready; new ones are ready after the shortest one, l', at the earliest.
   A replica that drains has only requests that arrived before, whose good answers come within the SLO. So good answers get
   at most B (d + l - l' + SLO) core-seconds in an interval, and at most B x the longest service time from the one before.
5. Changes cost nothing. So per interval: a linear program of two constraints, and the bound is the mean of its optima.

Rounding: the simulator counts accuracy in billionths, so that a reward may be above its bound by 1e-9.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from baselines.bound_quotas import best_within_quotas, has_quotas, wants
from baselines.future import Future
from envs.contract import CPU, ReplicaKind
from envs.randomness import ARRIVAL, key
from envs.scenario import Scenario
from traces.samplers import draw


@dataclass(frozen=True)
class Bound:
    """What no policy beats, and how the relaxation earns it: mean per interval of the reward and of its terms."""

    reward: float
    accuracy: float
    violation: float
    cost: float


class NoBoundError(ValueError):
    """No bound is known for the scenario; the message says what stands in the way."""


def bound(scenario: Scenario, future: Future) -> Bound:
    """The bound of one episode.

    Raises:
        NoBoundError: the argument does not hold for the scenario.
    """
    check(scenario)
    if has_quotas(scenario):
        best = best_within_quotas(scenario, future)
        return Bound(best.reward, best.accuracy, best.violation, best.cost)
    interval_s, budget = scenario.interval_s, scenario.devices[CPU].budget
    services_s = {kind: service_s(scenario, kind) for kind in scenario.kinds}
    work_s = {v: min(s for k, s in services_s.items() if v in k.variants)
              for v in scenario.variants if any(v in k.variants for k in scenario.kinds)}
    accuracy = np.array([scenario.variants[v].accuracy for v in work_s])
    ready_s = _ready_s(scenario) + max(services_s.values())
    arrivals = _arrivals(scenario, future)
    ends = np.arange(1, future.intervals + 1) * interval_s
    settling = np.searchsorted(arrivals, ends - longest_stay_s(scenario)) - np.searchsorted(arrivals, ends - interval_s)
    rows = [_interval(scenario, accuracy, np.array(list(work_s.values())), int(m), budget * ready_s) for m in settling]
    found = np.mean(rows, axis=0)
    weights = scenario.weights
    reward = weights.accuracy * found[0] - weights.slo * found[1] - weights.cost * found[2]
    return Bound(float(reward), *(float(x) for x in found))


def _ready_s(scenario: Scenario) -> float:
    """Seconds for which the whole budget can give good answers in an interval: 4."""
    loads_s, slo_s = [scenario.load_s(kind) for kind in scenario.kinds], max(s.slo_s for s in scenario.services.values())
    if max(loads_s) + slo_s > scenario.interval_s:
        return math.inf
    return scenario.interval_s + max(loads_s) - min(loads_s) + slo_s


def _arrivals(scenario: Scenario, future: Future) -> np.ndarray:
    """When requests arrive, at all services, sorted."""
    until_s = future.intervals * scenario.interval_s
    drawn = [draw(future.loads[name], np.uint64(key(future.seed, ARRIVAL, i)), future.start_s, until_s)
             for i, name in enumerate(scenario.applications) if name in future.loads]
    return np.sort(np.concatenate([np.zeros(0), *drawn]))


def check(scenario: Scenario) -> None:
    """Raises `NoBoundError` where the argument does not hold."""
    if has_quotas(scenario):
        _refuse(scenario, wants(scenario))
        return
    failures = scenario.failures
    _refuse(scenario, {
        "services by themselves, of one tenant": all(len(a.services) == 1 for a in scenario.applications.values())
        and len(scenario.tenants) == 1,
        "candidates on cpu only, of one variant, without batches": list(scenario.devices) == [CPU]
        and all(len(c.variants) == 1 and c.batch == 1 and c.max_wait_s == 0 for c in scenario.candidates),
        "early binding": scenario.binding == "early",
        "a queue_limit_s, so that no request waits out of sight": scenario.admission.queue_limit_s is not None,
        "service times without noise or overheads": scenario.service_cv == 0 and scenario.overhead_s == 0
        and scenario.stage_overhead_ratio == 0,
        "load times without noise, and no failures": failures.load_cv == 0 and failures.load_factor == 1
        and failures.load_failure_ratio == 0 and failures.mean_time_s is None,
        "no resizing in place": scenario.in_place_resize_s is None,
        "no decision delay": scenario.decision_delay_s == 0,
        "an initial deployment within the budget": all(
            scenario.initial_deployment.units(name) <= d.budget for name, d in scenario.devices.items()),
    })
    if longest_stay_s(scenario) > scenario.interval_s:
        raise NoBoundError(f"no bound is known for scenario '{scenario.name}': requests may stay for "
                           f"{longest_stay_s(scenario):.3g} s, longer than an interval")


def _refuse(scenario: Scenario, wanted: Mapping[str, bool]) -> None:
    missing = [what for what, holds in wanted.items() if not holds]
    if missing:
        raise NoBoundError(f"no bound is known for scenario '{scenario.name}': it would need {'; '.join(missing)}")


def service_s(scenario: Scenario, kind: ReplicaKind) -> float:
    """Seconds that one request takes on one core of a replica."""
    return float(max(scenario.profile.latency_s(kind.variants[0], kind.shape, 1)))


def longest_stay_s(scenario: Scenario) -> float:
    """D: within this time of its arrival every request has settled. The kernel's limit of a queue: `envs.model`."""
    stays_s = []
    for kind in scenario.kinds:
        limit = max(1, int((scenario.admission.queue_limit_s or 0.0) * scenario.capacity_rps(kind, kind.variants[0])))
        stays_s.append((math.ceil(limit / kind.shape.servers) + 1) * service_s(scenario, kind))
    return max(stays_s)


def _interval(scenario: Scenario, accuracy: np.ndarray, work_s: np.ndarray, m: int, room_s: float) -> tuple[float, ...]:
    """Accuracy, violations and cost (not weighted) at the optimum of one interval, in which m requests settle for sure.

    A linear program of two constraints is best at a point where at most two variants answer.
    """
    if m == 0:  # whatever settles may be good, accurate, and free
        return float(accuracy.max()), 0.0, 0.0
    weights = scenario.weights
    whole_s = scenario.devices[CPU].budget * scenario.interval_s
    gain = (weights.accuracy * accuracy + weights.slo) / m - weights.cost * work_s / whole_s
    points = [np.zeros(len(work_s)), *np.diag(np.minimum(m, room_s / work_s))]
    for u in range(len(work_s)):
        for v in range(len(work_s)):
            if work_s[u] < work_s[v] and work_s[u] * m <= room_s <= work_s[v] * m:
                x = np.zeros(len(work_s))
                x[v] = (room_s - work_s[u] * m) / (work_s[v] - work_s[u])
                x[u] = m - x[v]
                points.append(x)
    best = max(points, key=lambda x: float(gain @ x))
    return float(accuracy @ best) / m, 1 - float(best.sum()) / m, float(work_s @ best) / whole_s
