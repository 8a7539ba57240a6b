"""The replay kernel: no events, one pass over the arrivals, for clusters that do not change.

Where nothing loads, fails or moves, the fate of a request is known when it arrives (or when its batch starts), from the
clocks of the servers alone. Two recursions cover the two bindings; their stage arithmetic is the event kernel's, and
on what both can play they agree to the last bit:

- `replay_queue`: late binding, one kind, one variant; batches, waiting to fill, requests given up at some age.
- `replay_groups`: early binding without batches; dispatch to the group with the smallest last-stage clock, lowest on ties,
  admission by deadline (AlpaServe's simulator, OSDI'23 section 6.1, is this recursion).
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def replay_queue(arrival_s, latency_s, factors, n_servers, max_wait_s, drop_after_s, out_s):
    """One queue, c servers, first come first served, batches of up to B.

    Args:
        arrival_s: (n,) float64, ascending.
        latency_s: (B + 1,) float64, seconds of a batch of each size (entry 0 unused).
        factors: (n,) float64, service-time factor of the batch headed by each request; or (1,): the same for all.
        n_servers: c, servers that start a batch each.
        max_wait_s: how long the oldest waits for a batch to fill.
        drop_after_s: a request of this age is given up when a server would take it (inf: never).
        out_s: (n,) float64, written: latency of each answer, nan where given up.

    Returns:
        number of answers.
    """
    n = arrival_s.shape[0]
    largest = latency_s.shape[0] - 1
    last_factor = factors.shape[0] - 1
    clock = np.zeros(n_servers)  # when each server is free, ascending
    head = 0  # oldest request that has neither started nor been given up
    answers = 0
    while head < n:
        t = max(clock[0], arrival_s[head])  # a server is idle and a request is there; of equal times the server's comes first
        size = 1
        limit = min(largest, n - head)
        while size < limit and arrival_s[head + size] < t:
            size += 1
        due = arrival_s[head] + max_wait_s
        if size < largest and t < due:  # wait until it is full, or until the oldest has waited long enough
            full = head + largest - 1
            if full < n and arrival_s[full] < due:
                t = arrival_s[full]
                size = largest
            else:
                t = due
                while size < limit and arrival_s[head + size] < t:
                    size += 1
        if t - arrival_s[head] > drop_after_s:
            out_s[head] = np.nan
            head += 1
            continue
        finish = t + latency_s[size] * factors[min(head, last_factor)]
        for i in range(head, head + size):
            out_s[i] = finish - arrival_s[i]
        j = 0
        while j + 1 < n_servers and clock[j + 1] < finish:
            clock[j] = clock[j + 1]
            j += 1
        clock[j] = finish
        head += size
        answers += size
    return answers


@njit(cache=True)
def replay_groups(arrival_s, model, first_host, hosts, latency_s, n_stages, slo_s, overhead_s, clock, out_s):
    """AlpaServe groups: a request goes to the host with the smallest last-stage clock, and is refused if it would be late.

    Args:
        arrival_s: (n,) float64, ascending.
        model: (n,) integer, the model asked for.
        first_host: (M + 1,) integer: `hosts[first_host[m]:first_host[m + 1]]` are the groups that host model m, ascending.
        hosts: (placements,) integer.
        latency_s: (placements, S) float64, seconds of each stage of the model in that group.
        n_stages: (G,) integer.
        slo_s: (M,) float64; inf: nothing is refused.
        overhead_s: added to each answer.
        clock: (G, S) float64, when each stage is free; moves on (zeros at the start).
        out_s: (n,) float64, written: latency of each answer, nan where refused.

    Returns:
        number of answers.
    """
    answers = 0
    for i in range(arrival_s.shape[0]):
        t = arrival_s[i]
        m = model[i]
        out_s[i] = np.nan
        best = -1
        best_clock = np.inf
        for h in range(first_host[m], first_host[m + 1]):
            g = hosts[h]
            last = clock[g, n_stages[g] - 1]
            if last < best_clock:
                best = h
                best_clock = last
        if best < 0:
            continue
        g = hosts[best]
        x = t
        for stage in range(n_stages[g]):
            x = max(x, clock[g, stage]) + latency_s[best, stage]
        finish = x + overhead_s
        if finish - t > slo_s[m]:
            continue
        x = t
        for stage in range(n_stages[g]):
            x = max(x, clock[g, stage]) + latency_s[best, stage]
            clock[g, stage] = x
        out_s[i] = finish - t
        answers += 1
    return answers
