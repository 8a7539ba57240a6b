"""The event kernel against queueing theory: M/M/c, M/D/1 and M/G/1, the two bindings, Little's law.

Arrivals come from numpy, service times from the cluster's own keyed noise. One service takes one second on average, so that
waits are in units of it.
"""

import math

import numpy as np
import pandas as pd
import pytest
from answers import answered_after_s
from every_feature import everything
from numba import njit

from envs import state as st
from envs.cluster import SimulatedCluster
from envs.kernel import Flags
from envs.profiles import LATENCY_COLUMNS, Profile
from envs.randomness import SERVICE, draw, factor, key
from envs.scenario import Scenario
from traces.samplers import RECORDED, make_load

REQUESTS, WARM_UP = 2_000_000, 20_000  # of each run
BATCHES = 40
LATE = Flags(*(False for _ in Flags._fields))._replace(NOISE=True, BATCHING=True, WAIT=True, DROPS=True,
                                                         ONE_QUEUE=True, SERVERS=True, RECORD=True)


class Queue(SimulatedCluster):
    """One service before c servers, always of one of two specialisations: compiling more would take minutes."""

    def __init__(self, servers, utilisation, cv, requests, seed, binding="late", interval_s=None):
        replicas, cores = (servers, 1) if binding == "late" else (1, servers)
        rate_rps = utilisation * servers
        profile = pd.DataFrame([("v", "cpu", np.nan, 1, 1, 1, 0, 1.0)], columns=LATENCY_COLUMNS)
        scenario = Scenario.model_validate({
            "name": "queue", "source": "queueing theory", "interval_s": interval_s or 250_000 / rate_rps, "binding": binding,
            "service_cv": cv, "devices": {"cpu": {"budget": servers}}, "variants": {"v": {"accuracy": 1.0, "load_s": 0.0}},
            "services": {"s": {"variants": ["v"], "slo_s": 10.0}}, "workload": {}, "profile": Profile(profile),
            "candidates": [{"variants": ["v"], "cores": [cores], "max_count": replicas}],
            "initial": [{"candidate": 0, "level": replicas}]})
        self.arrivals_s = np.cumsum(np.random.default_rng(seed).exponential(1 / rate_rps, requests))
        super().__init__(scenario, {"s": make_load(RECORDED, recorded_s=self.arrivals_s)}, seed=seed, record=True)

    def _features(self):
        return LATE if self.scenario.binding == "late" else everything(early=True)

    def latencies_s(self):
        """The latency of each request in order of arrival, after a run to the end."""
        while self.t_s <= self.arrivals_s[-1]:
            self.advance()
        self.finish()
        return answered_after_s(self, [self.arrivals_s])[0]

    def service_s(self):
        """The service time of each request in order of arrival."""
        return service_times(self.model.service_table, np.uint64(key(self.seed, SERVICE, 0)), len(self.arrivals_s))


@njit
def service_times(table, key_, n):
    times = np.empty(n)
    for number in range(n):
        times[number] = factor(table, draw(key_, number, 0))
    return times


def waits_s(*args):
    queue = Queue(*args)
    return queue.latencies_s() - queue.service_s()


def mean_and_error(runs):
    """Mean without the first requests of each run, and its standard error from the means of consecutive batches."""
    means = np.array([batch.mean() for run in runs for batch in np.array_split(run[WARM_UP:], BATCHES)])
    return means.mean(), means.std(ddof=1) / math.sqrt(means.size)


def assert_mean_wait(expected_s, servers, utilisation, cv, runs):
    mean_s, error_s = mean_and_error(waits_s(servers, utilisation, cv, REQUESTS, seed) for seed in range(runs))
    assert mean_s == pytest.approx(expected_s, rel=0.01)
    assert abs(mean_s - expected_s) <= 3 * error_s


def erlang_c_wait_s(servers, utilisation):
    load = servers * utilisation
    last = load**servers / math.factorial(servers) / (1 - utilisation)
    waits = last / (sum(load**n / math.factorial(n) for n in range(servers)) + last)
    return waits / (servers * (1 - utilisation))


def pollaczek_khinchine_wait_s(utilisation, cv):
    return utilisation * (1 + cv**2) / (2 * (1 - utilisation))


@pytest.mark.parametrize("servers, utilisation, runs", [
    (1, 0.5, 2), (1, 0.8, 5), (2, 0.5, 2), (2, 0.8, 5), (8, 0.5, 5), (8, 0.8, 5)])
def test_exponential_service_waits_as_erlang_says(servers, utilisation, runs):
    assert_mean_wait(erlang_c_wait_s(servers, utilisation), servers, utilisation, 1.0, runs)


@pytest.mark.parametrize("utilisation, cv, runs", [
    (0.5, 0.0, 2), (0.8, 0.0, 2), (0.5, 0.5, 2), (0.8, 0.5, 3), (0.5, 2.0, 4), (0.8, 2.0, 8)])
def test_one_server_waits_as_pollaczek_and_khinchine_say(utilisation, cv, runs):
    assert_mean_wait(pollaczek_khinchine_wait_s(utilisation, cv), 1, utilisation, cv, runs)


@pytest.mark.parametrize("servers, cv", [(1, 2.0), (2, 1.0), (8, 1.0)])
def test_one_replica_of_several_cores_is_the_same_queue_as_several_replicas_of_one(servers, cv):
    """Early binding keeps the queue at the replica, late binding at the kind: to each request it is the same."""
    early, late = (Queue(servers, 0.8, cv, 200_000, 7, binding).latencies_s() for binding in ("early", "late"))
    assert np.array_equal(early, late)


def test_requests_in_the_system_are_rate_times_latency():
    """Little's law, with the number in the system looked at twice a second; and how busy the servers are."""
    queue = Queue(2, 0.8, 1.0, 40_000, 3, "late", 0.5)
    arrivals_s, seen = queue.arrivals_s, []
    while queue.t_s <= arrivals_s[-1]:
        queue.advance()
        seen.append(queue.outstanding)
    latency_s = queue.latencies_s()
    at_s = 0.5 * np.arange(1, len(seen) + 1)
    left_s = np.sort(arrivals_s + latency_s)
    assert np.array_equal(seen, np.searchsorted(arrivals_s, at_s) - np.searchsorted(left_s, at_s))
    assert np.mean(seen) == pytest.approx(latency_s.sum() / at_s[-1], rel=0.01)
    assert queue.totals().kind_ns[0, st.BUSY] * 1e-9 == pytest.approx(queue.service_s().sum(), rel=1e-9)
