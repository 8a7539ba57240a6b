"""How long each request took, of a recorded cluster that was played to its end."""

import numpy as np


def answered_after_s(cluster, arrivals_s):
    """Latency of every request of each application, nan where it is not settled. `records` says more, and takes longer."""
    latency_s = [np.full(len(times), np.nan) for times in arrivals_s]
    for whole, t_s in cluster._records:
        for a, times in enumerate(arrivals_s):
            mine = whole[:, 0] == a
            number = whole[mine, 1]
            latency_s[a][number] = t_s[mine] - times[number]
    return latency_s
