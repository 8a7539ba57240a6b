"""One queue before c servers in ciw, without batches, which the library does not have; waiting too long is its reneging."""

from __future__ import annotations

from typing import Any

import ciw
import numpy as np


class _Keyed(ciw.dists.Distribution):
    """The service time that belongs to a customer, in whatever order they are served."""

    def __init__(self, service_s: list[float]) -> None:
        self.service_s = service_s

    def sample(self, t: Any = None, ind: Any = None) -> float:
        return self.service_s[ind.id_number - 1]


def play(arrival_s: np.ndarray, latency_s: np.ndarray, factors: np.ndarray, n_servers: int, drop_after_s: float) -> np.ndarray:
    """Plays what `envs.replay.replay_queue` plays with batches of one.

    Args:
        arrival_s: (n,), ascending.
        latency_s: (2,), entry 1: seconds of a request.
        factors: (n,), service-time factor of each request.
        n_servers: how many serve.
        drop_after_s: a request that has waited for so long leaves.

    Returns:
        (n,) latency of each answer, nan for those who left.
    """
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Sequential([*np.diff(arrival_s, prepend=0.0).tolist(), float("inf")])],
        service_distributions=[_Keyed((latency_s[1] * factors).tolist())],
        reneging_time_distributions=[ciw.dists.Deterministic(drop_after_s)],
        number_of_servers=[n_servers],
    )
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_time(float(arrival_s[-1]) + 10 * drop_after_s)
    out = np.full(len(arrival_s), np.nan)
    for record in simulation.get_all_records():
        if record.record_type == "service":
            out[record.id_number - 1] = record.exit_date - record.arrival_date
    return out
