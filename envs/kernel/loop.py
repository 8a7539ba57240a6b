"""The event loop: the earlier of the next clock and the next arrival, until the end of the time asked for."""
# ruff: noqa: F821  (flags and names of earlier parts are given by `envs.kernel.specialise`)

import numpy as np

from envs import state as st
from envs.kernel.clocks import next_clock, set_clock
from envs.kernel.compiled import entry, inlined
from envs.rules import refill
from envs.state import NONE

EARLY: bool
PIPELINE: bool
CHAINS: bool
NOISE: bool
QUOTAS: bool
APPS: bool
RECORD: bool


@inlined
def has_token(m, s, tenant, t):
    """Takes a token of the tenant's admission quota."""
    if m.tenant_quota[tenant] == 0.0:
        return True
    tokens = refill(s.bucket[tenant, 0], s.bucket[tenant, 1], t, m.tenant_quota[tenant], m.tenant_burst[tenant])
    s.bucket[tenant, 1] = t
    taken = tokens >= 1.0
    s.bucket[tenant, 0] = tokens - 1.0 if taken else tokens
    return taken


@inlined
def arrive(m, s, a, t):
    """A request arrives at an application; returns the queue that it joins, NONE where there is none."""
    r = np.uint32(s.whole[st.FREE_REQUEST])
    s.whole[st.FREE_REQUEST] = s.request_next[r]
    s.request_arrival[r] = t
    if NOISE or CHAINS or RECORD:
        s.request_number[r] = s.app_count[a, st.OFFERED]
    if APPS:
        s.request_app[r] = a
    if CHAINS:
        s.request_stage[r] = 0
        s.request_accuracy[r] = 1.0
    s.app_count[a, st.OFFERED] += 1
    z = m.chain[a, 0]
    if QUOTAS and not has_token(m, s, m.service_tenant[z], t):
        settle_unanswered(s, r, t, st.REJECTED)
        q = NONE
    else:
        q = place(m, s, r, z, t, ARRIVES)
    return q


@inlined
def earliest_arrival(times, counts, heads):
    """The application with the next arrival, lowest on ties, and its time."""
    best = np.uint32(0)
    best_t = np.inf
    for i in range(len(counts) if APPS else 1):
        a = np.uint32(i)
        head = np.uint32(heads[a])
        if head < counts[a] and times[a, head] < best_t:
            best = a
            best_t = times[a, head]
    return best, best_t


@inlined
def count_first_stages(m, s, sign):
    """Adds (or takes away) the arrivals of each application to what its first service was offered.

    An arrival is counted once, at its application. Before a run the old ones are taken away, after it all are added.
    """
    for a in range(m.chain.shape[0]):
        s.service_offered[m.chain[a, 0]] += sign * s.app_count[a, st.OFFERED]


@entry
def run(m, s, times, counts, heads, t_end):
    """Plays all events with t < t_end.

    Args:
        m, s: `envs.state.Model` and `State`.
        times: (A, n) float64, arrival times of each application, ascending.
        counts: (A,) int64, how many of them are filled.
        heads: (A,) int64, index of the next arrival; moves on.
        t_end: seconds.
    """
    n_queues = np.uint32(s.queue_waiting.shape[0])
    n_slots = np.uint32(s.replica_kind.shape[0])
    count_first_stages(m, s, -1)
    a, t_arrival = earliest_arrival(times, counts, heads)
    while True:
        leaf = next_clock(s.tree_node)
        t = s.tree_time[leaf]
        slot = NONE
        line = NONE
        q = NONE
        if min(t, t_arrival) >= t_end:
            break
        if t_arrival < t:
            t = t_arrival
            q = arrive(m, s, a, t)
            heads[a] += 1
            a, t_arrival = earliest_arrival(times, counts, heads)
        elif leaf < n_slots:
            slot = leaf
            line = first_line(s, slot)
            server_event(m, s, line, slot, t)
            if EARLY or s.replica_status[slot] == st.READY:
                q = slot if EARLY else s.replica_kind[slot]
                if CHAINS:  # after those that requests were handed over to
                    touch(s, q)
                    q = NONE
        elif leaf < n_slots + n_queues:
            q = np.uint32(leaf - n_slots)
            if EARLY:
                slot = q
            set_clock(s.tree_time, s.tree_node, leaf, np.inf)
        elif leaf < n_slots + n_slots + n_queues:
            replica_event(m, s, np.int64(leaf - n_slots - n_queues), t)
        else:
            take_effect(m, s, t)
        try_queues(m, s, q, t)
        if slot != NONE:
            if line != NONE:
                if PIPELINE:
                    book(s, slot, line, next_due(s, line))
                set_slot_clock(s, slot)
            if s.replica_status[slot] == st.DRAINING:
                gone_if_done(m, s, np.int64(slot), t)
    count_first_stages(m, s, 1)
    if t_end < np.inf:
        for held in range(s.whole[st.HIGH]):
            if s.replica_status[held] != st.FREE:
                account(m, s, held, t_end)
        s.clock[st.NOW] = t_end
