"""The clock tree: the next event of a cluster, found by a tournament among all its clocks.

Leaves in order of precedence at equal times: the servers of each slot (its earliest one; see `envs.kernel.serving`),
batch timers (queue by queue), replicas' own events (slot by slot), the deployment. The winner of a pair is the earlier
one, the left one on ties, so the order of leaves is the order of events at equal times.
"""

from __future__ import annotations

import numpy as np

from envs.kernel.compiled import entry, inlined


@inlined
def next_clock(node):
    """Index of the earliest clock."""
    return node[1]


@entry
def set_clock(time, node, leaf, t_s):
    """Sets one clock and lets it play its matches up to the root.

    The winner so far is carried along, so that a match waits for no other memory than its rival's, known beforehand.
    Indices are unsigned, which spares numba's test for negative ones.
    """
    winner = np.uint32(leaf)
    best_s = t_s
    time[winner] = t_s
    i = np.uint32(len(time)) + winner
    while i > np.uint32(1):
        rival = node[i ^ np.uint32(1)]
        rival_s = time[rival]
        if rival_s < np.inf:
            beaten = np.uint32(rival_s < best_s) | (np.uint32(rival_s == best_s) & i)
            winner ^= (winner ^ rival) & -(beaten & np.uint32(1))
            best_s = min(best_s, rival_s)
        i >>= np.uint32(1)
        node[i] = winner


@entry
def build_tree(time, node):
    """Plays all matches afresh."""
    n = len(time)
    for i in range(n):
        node[n + i] = i
    for i in range(n - 1, 0, -1):
        a = node[2 * i]
        b = node[2 * i + 1]
        node[i] = b if time[b] < time[a] else a
