"""The event loop: the earlier of the next clock and the next arrival, until the end of the time asked for."""
# ruff: noqa: F821  (flags and names of earlier parts are given by `envs.kernel.specialise`)

import numpy as np

from envs import state as st
from envs.kernel.clocks import next_clock, set_clock
from envs.kernel.compiled import entry, inlined
from envs.rules import refill

EARLY: bool
PIPELINE: bool
CHAINS: bool
QUOTAS: bool
ONE_QUEUE: bool


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
    """A request arrives at an application."""
    r = np.uint32(s.whole[st.FREE_REQUEST])  # indices unsigned where it counts: no test for negative ones
    s.whole[st.FREE_REQUEST] = s.request_next[r]
    s.whole[st.IN_SYSTEM] += 1
    s.request_arrival[r] = t
    s.request_number[r] = s.arrivals[a]
    s.request_app[r] = a
    s.request_stage[r] = 0
    if CHAINS:
        s.request_accuracy[r] = 1.0
    s.arrivals[a] += 1
    s.app_count[a, st.OFFERED] += 1
    s.service_offered[m.chain[a, 0]] += 1
    if QUOTAS and not has_token(m, s, m.service_tenant[m.chain[a, 0]], t):
        settle_unanswered(s, r, t, st.REJECTED)
    else:
        place(m, s, r, t, ARRIVES)


@inlined
def server_event(m, s, line, slot, t):
    """A server's clock has run out: answers leave, and it is idle where its first stage is free."""
    strike(s, slot, line)
    take_out_answers(m, s, line, slot, t)
    server = line - slot * s.idle.shape[1]
    if s.server_occupied[line] and s.stage_clock[line, 0] <= t:
        s.server_occupied[line] = 0
        if server < s.replica_active[slot]:
            s.idle[slot, s.replica_idle[slot]] = server
            s.replica_idle[slot] += 1
            if not EARLY and s.replica_status[slot] == st.READY:
                k = s.replica_kind[slot]
                s.queue_idle[k] += 1
                s.queue_lowest[k] = min(s.queue_lowest[k], slot)
    if EARLY:
        touch(s, slot)
    elif s.replica_status[slot] == st.READY:
        touch(s, s.replica_kind[slot])


@inlined
def earliest_arrival(times, counts, heads):
    """The application with the next arrival, lowest on ties, and its time."""
    best = 0
    best_t = np.inf
    for a in range(len(counts)):
        if heads[a] < counts[a] and times[a, heads[a]] < best_t:
            best = a
            best_t = times[a, heads[a]]
    return best, best_t


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
    n_queues = s.queue_waiting.shape[0]
    n_slots = s.replica_kind.shape[0]
    a, t_arrival = earliest_arrival(times, counts, heads)
    while True:
        leaf = next_clock(s.tree_node)
        t = s.tree_time[leaf]
        slot = -1
        line = -1
        if min(t, t_arrival) >= t_end:
            break
        if t_arrival < t:
            t = t_arrival
            arrive(m, s, a, t)
            heads[a] += 1
            a, t_arrival = earliest_arrival(times, counts, heads)
        elif leaf < n_slots:
            slot = leaf
            line = slot * s.idle.shape[1] + s.booked_first[slot]
            server_event(m, s, np.uint32(line), np.uint32(slot), t)
        elif leaf < n_slots + n_queues:
            if EARLY:
                slot = leaf - n_slots
            set_clock(s.tree_time, s.tree_node, leaf, np.inf)
            touch(s, leaf - n_slots)
        elif leaf < 2 * n_slots + n_queues:
            replica_event(m, s, leaf - n_slots - n_queues, t)
        else:
            take_effect(m, s, t)
        try_touched(m, s, t)
        if slot >= 0:
            if line >= 0:
                book(s, np.uint32(slot), np.uint32(line))
                set_slot_clock(s, np.uint32(slot))
            if s.replica_status[slot] == st.DRAINING:
                gone_if_done(m, s, slot, t)
    if t_end < np.inf:
        for slot in range(s.whole[st.HIGH]):
            if s.replica_status[slot] != st.FREE:
                account(m, s, slot, t_end)
        s.clock[st.NOW] = t_end
