"""Batches: which requests of a queue start together, and when (`docs/simulator.md`, Serving, steps 1 to 4)."""
# ruff: noqa: F821  (flags and names of earlier parts are given by `envs.kernel.specialise`)

import numpy as np

from envs import state as st
from envs.kernel.compiled import inlined, internal
from envs.rules import batch_ready, expired
from envs.state import NONE

EARLY: bool
LANES: bool
BATCHING: bool
WAIT: bool
DROPS: bool


@inlined
def lane_size(s, q, lane):
    """Requests in a lane; a queue with one lane counts them itself."""
    return s.lane_count[lane] if LANES else s.queue_waiting[q]


@inlined
def pop(s, q, lane):
    """Takes the first request of a lane."""
    r = s.lane_head[lane]
    s.lane_head[lane] = s.request_next[r]
    if LANES:
        s.lane_count[lane] -= 1
    s.queue_waiting[q] -= 1
    return r


@inlined
def drop(s, q, r, t):
    """Gives up a request that has just been taken from a queue."""
    if EARLY:
        s.replica_outstanding[q] -= 1
    settle_unanswered(s, r, t, st.DROPPED)


@inlined
def drop_expired(m, s, q, lane, t):
    """Drops the requests at the front of a lane that are too old."""
    while lane_size(s, q, lane) > 0:
        r = s.lane_head[lane]
        if not expired(t, s.request_arrival[r], m.constants[st.DROP_AFTER]):
            break
        drop(s, q, pop(s, q, lane), t)


@internal
def group_state(m, s, q, v):
    """Size and oldest request of a group (one variant, all tenants): (size, request or -1)."""
    n_variants = m.accuracy.shape[0]
    n_tenants = s.virtual_time.shape[1]
    size = 0
    oldest = -1
    for tenant in range(n_tenants):
        lane = (q * n_tenants + tenant) * n_variants + v
        if s.lane_count[lane] > 0:
            size += s.lane_count[lane]
            r = s.lane_head[lane]
            if oldest < 0 or s.request_sequence[r] < s.request_sequence[oldest]:
                oldest = r
    return size, oldest


@internal
def choose_group(m, s, q, k, t):
    """The variant whose group starts next, -1 where none is ready, and the time to look again."""
    n_variants = m.accuracy.shape[0]
    n_tenants = s.virtual_time.shape[1]
    again = np.inf
    best_v = -1
    best_r = -1
    best_time = np.inf
    for v in range(n_variants):
        size, oldest = group_state(m, s, q, v)
        if size == 0:
            continue
        joined = s.request_joined[oldest]
        if not batch_ready(size, m.kind_batch[k], t, joined, m.kind_max_wait[k]):
            again = min(again, joined + m.kind_max_wait[k])
            continue
        if n_tenants == 1:
            if best_r < 0 or s.request_sequence[oldest] < s.request_sequence[best_r]:
                best_v = v
                best_r = oldest
            continue
        for tenant in range(n_tenants):
            lane = (q * n_tenants + tenant) * n_variants + v
            if s.lane_count[lane] == 0:
                continue
            r = s.lane_head[lane]
            vt = s.virtual_time[q, tenant]
            # smallest virtual time, then lowest tenant, then oldest request
            better = best_r < 0 or vt < best_time
            if not better and vt == best_time:
                best_tenant = m.service_tenant[service_of(m, s, best_r)]
                better = tenant < best_tenant or (tenant == best_tenant and s.request_sequence[r] < s.request_sequence[best_r])
            if better:
                best_v = v
                best_r = r
                best_time = vt
    return best_v, best_r, again


@internal
def next_of_group(m, s, q, k, v, head, size):
    """The lane from which a batch takes its next request, -1 where the group is used up.

    Args:
        head: the head of the batch while it is still empty (`size` 0), which comes first whatever the virtual times.
    """
    n_variants = m.accuracy.shape[0]
    n_tenants = s.virtual_time.shape[1]
    if n_tenants == 1:
        lane = q * n_variants + v
        return lane if s.lane_count[lane] > 0 else -1
    best = -1
    best_time = np.inf
    unit = m.latency[k, v, m.kind_batch[k], 0] / m.kind_batch[k]
    for tenant in range(n_tenants):
        lane = (q * n_tenants + tenant) * n_variants + v
        if s.lane_count[lane] == 0:
            continue
        if size == 0 and s.lane_head[lane] == head:
            return lane
        vt = s.virtual_time[q, tenant] + s.taken[tenant] * unit / m.tenant_share[tenant]
        if best < 0 or vt < best_time:
            best = lane
            best_time = vt
    return best


@internal
def charge(m, s, q, k, v, n, first):
    """Each request of a batch adds its part of the time to its tenant's virtual time."""
    r = first
    for _ in range(n):
        tenant = m.service_tenant[service_of(m, s, r)]
        s.virtual_time[q, tenant] += m.latency[k, v, n, 0] / n / m.tenant_share[tenant]
        r = s.request_next[r]


@internal
def form_batch_from_lanes(m, s, q, k, t):
    """Drops, chooses and fills as `docs/simulator.md` says, for queues with several lanes.

    Returns:
        (first request, last request, size, time to look again); size 0 where nothing starts now.
    """
    n_lanes = s.virtual_time.shape[1] * m.accuracy.shape[0]
    while s.queue_waiting[q] > 0:
        if DROPS:
            for i in range(n_lanes):
                drop_expired(m, s, q, q * n_lanes + i, t)
            if s.queue_waiting[q] == 0:
                break
        v, head, again = choose_group(m, s, q, k, t)
        if v < 0:
            return -1, -1, 0, again
        s.taken[:] = 0
        first = -1
        last = -1
        size = 0
        while size < m.kind_batch[k]:
            lane = next_of_group(m, s, q, k, v, head, size)
            if lane < 0:
                break
            r = pop(s, q, lane)
            if DROPS and expired(t, s.request_arrival[r], m.constants[st.DROP_AFTER]):
                drop(s, q, r, t)
                continue
            s.taken[m.service_tenant[service_of(m, s, r)]] += 1
            s.request_next[r] = NONE
            if size == 0:
                first = r
            else:
                s.request_next[last] = r
            last = r
            size += 1
        if size > 0:
            if s.virtual_time.shape[1] > 1:
                charge(m, s, q, k, v, size, first)
            return first, last, size, np.inf
    return -1, -1, 0, np.inf


@inlined
def form_batch(m, s, q, k, t):
    """The same for a queue with one lane."""
    first = NONE
    last = NONE
    size = 0
    again = np.inf
    if DROPS:
        drop_expired(m, s, q, q, t)
    waiting = s.queue_waiting[q]
    if waiting > 0:
        if WAIT:
            joined = s.request_joined[s.lane_head[q]]
            if not batch_ready(waiting, m.kind_batch[k], t, joined, m.kind_max_wait[k]):
                again = joined + m.kind_max_wait[k]
        if not (again < np.inf):
            first, last, size = take_front(m, s, q, k, t)
    return first, last, size, again


@inlined
def take_front(m, s, q, k, t):
    """Takes a batch from the front of a queue with one lane: (first request, last request, size)."""
    first = s.lane_head[q]
    last = first
    size = 1
    following = s.request_next[first]
    left = s.queue_waiting[q] - 1
    if BATCHING:
        batch = m.kind_batch[k]
        while size < batch and left > 0:
            r = following
            following = s.request_next[r]
            left -= 1
            if DROPS and expired(t, s.request_arrival[r], m.constants[st.DROP_AFTER]):
                drop(s, q, r, t)
            else:
                if DROPS:
                    s.request_next[last] = r
                last = r
                size += 1
    s.lane_head[q] = following
    s.queue_waiting[q] = left
    s.request_next[last] = NONE
    return first, last, size
