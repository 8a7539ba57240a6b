"""Serving: forming batches, starting them on servers, and what happens when a server's clock runs out."""
# ruff: noqa: F821  (flags and names of earlier parts are given by `envs.kernel.specialise`)

import numpy as np
from numba import njit

from envs import state as st
from envs.kernel.clocks import set_clock
from envs.randomness import draw, factor, uniform
from envs.rules import batch_ready, expired, nanoseconds

EARLY: bool
LANES: bool
CHAINS: bool
PIPELINE: bool
NOISE: bool
BATCHING: bool
WAIT: bool
DROPS: bool


@njit(cache=True, inline="always", _nrt=False)
def timer_leaf(s, q):
    """Leaf of a queue's batch timer."""
    return s.server_i.shape[0] + q


@njit(cache=True, inline="always", _nrt=False)
def idle_slot(m, s, q):
    """The slot whose idle server takes the queue's next batch, -1 where there is none."""
    if EARLY:
        if s.replica_i[q, st.STATUS] >= st.READY and s.replica_i[q, st.IDLE] > 0 and s.replica_i[q, st.BROKEN] == 0:
            return q
        return -1
    if s.queue_i[q, st.IDLE_SERVERS] > 0:
        for slot in range(s.whole[st.HIGH]):
            if (s.replica_i[slot, st.STATUS] == st.READY and s.replica_i[slot, st.IDLE] > 0
                    and s.replica_i[slot, st.KIND] == q and s.replica_i[slot, st.BROKEN] == 0):
                return slot
    return -1


@njit(cache=True, inline="always", _nrt=False)
def pop(s, q, lane):
    """Takes the first request of a lane."""
    r = s.lane_i[lane, st.HEAD]
    s.lane_i[lane, st.HEAD] = s.request_i[r, st.NEXT]
    s.lane_i[lane, st.COUNT] -= 1
    s.queue_i[q, st.WAITING] -= 1
    return r


@njit(cache=True, inline="always", _nrt=False)
def drop(s, q, r, t):
    """Gives up a request that has just been taken from a queue."""
    if EARLY:
        s.replica_i[q, st.OUTSTANDING] -= 1
    settle_unanswered(s, r, t, st.DROPPED)


@njit(cache=True, inline="always", _nrt=False)
def drop_expired(m, s, q, lane, t):
    """Drops the requests at the front of a lane that are too old."""
    while s.lane_i[lane, st.COUNT] > 0:
        r = s.lane_i[lane, st.HEAD]
        if not expired(t, s.request_f[r, st.ARRIVAL], m.constants[st.DROP_AFTER]):
            break
        drop(s, q, pop(s, q, lane), t)


@njit(cache=True, _nrt=False)
def group_state(m, s, q, v):
    """Size and oldest request of a group (one variant, all tenants): (size, request or -1)."""
    n_variants = m.accuracy.shape[0]
    n_tenants = s.virtual_time.shape[1]
    size = 0
    oldest = -1
    for tenant in range(n_tenants):
        lane = (q * n_tenants + tenant) * n_variants + v
        if s.lane_i[lane, st.COUNT] > 0:
            size += s.lane_i[lane, st.COUNT]
            r = s.lane_i[lane, st.HEAD]
            if oldest < 0 or s.request_i[r, st.SEQUENCE] < s.request_i[oldest, st.SEQUENCE]:
                oldest = r
    return size, oldest


@njit(cache=True, _nrt=False)
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
        joined = s.request_f[oldest, st.JOINED]
        if not batch_ready(size, m.kind_i[k, st.BATCH], t, joined, m.kind_f[k, st.MAX_WAIT]):
            again = min(again, joined + m.kind_f[k, st.MAX_WAIT])
            continue
        if n_tenants == 1:
            if best_r < 0 or s.request_i[oldest, st.SEQUENCE] < s.request_i[best_r, st.SEQUENCE]:
                best_v = v
                best_r = oldest
            continue
        for tenant in range(n_tenants):
            lane = (q * n_tenants + tenant) * n_variants + v
            if s.lane_i[lane, st.COUNT] == 0:
                continue
            r = s.lane_i[lane, st.HEAD]
            vt = s.virtual_time[q, tenant]
            # smallest virtual time, then lowest tenant, then oldest request
            better = best_r < 0 or vt < best_time
            if not better and vt == best_time:
                best_tenant = m.service_tenant[m.chain[s.request_i[best_r, st.APP], s.request_i[best_r, st.STAGE]]]
                better = tenant < best_tenant or (
                    tenant == best_tenant and s.request_i[r, st.SEQUENCE] < s.request_i[best_r, st.SEQUENCE])
            if better:
                best_v = v
                best_r = r
                best_time = vt
    return best_v, best_r, again


@njit(cache=True, _nrt=False)
def next_of_group(m, s, q, k, v, head, size):
    """The lane from which a batch takes its next request, -1 where the group is used up.

    Args:
        head: the head of the batch while it is still empty (`size` 0), which comes first whatever the virtual times.
    """
    n_variants = m.accuracy.shape[0]
    n_tenants = s.virtual_time.shape[1]
    if n_tenants == 1:
        lane = q * n_variants + v
        return lane if s.lane_i[lane, st.COUNT] > 0 else -1
    best = -1
    best_time = np.inf
    unit = m.latency[k, v, m.kind_i[k, st.BATCH], 0] / m.kind_i[k, st.BATCH]
    for tenant in range(n_tenants):
        lane = (q * n_tenants + tenant) * n_variants + v
        if s.lane_i[lane, st.COUNT] == 0:
            continue
        if size == 0 and s.lane_i[lane, st.HEAD] == head:
            return lane
        vt = s.virtual_time[q, tenant] + s.taken[tenant] * unit / m.tenant_f[tenant, st.SHARE]
        if best < 0 or vt < best_time:
            best = lane
            best_time = vt
    return best


@njit(cache=True, _nrt=False)
def charge(m, s, q, k, v, n, first):
    """Each request of a batch adds its part of the time to its tenant's virtual time."""
    r = first
    for _ in range(n):
        tenant = m.service_tenant[m.chain[s.request_i[r, st.APP], s.request_i[r, st.STAGE]]]
        s.virtual_time[q, tenant] += m.latency[k, v, n, 0] / n / m.tenant_f[tenant, st.SHARE]
        r = s.request_i[r, st.NEXT]


@njit(cache=True, _nrt=False)
def form_batch_from_lanes(m, s, q, k, t):
    """Drops, chooses and fills as `docs/simulator.md` says, for queues with several lanes.

    Returns:
        (first request, last request, size, time to look again); size 0 where nothing starts now.
    """
    n_lanes = s.virtual_time.shape[1] * m.accuracy.shape[0]
    while s.queue_i[q, st.WAITING] > 0:
        if DROPS:
            for i in range(n_lanes):
                drop_expired(m, s, q, q * n_lanes + i, t)
            if s.queue_i[q, st.WAITING] == 0:
                break
        v, head, again = choose_group(m, s, q, k, t)
        if v < 0:
            return -1, -1, 0, again
        s.taken[:] = 0
        first = -1
        last = -1
        size = 0
        while size < m.kind_i[k, st.BATCH]:
            lane = next_of_group(m, s, q, k, v, head, size)
            if lane < 0:
                break
            r = pop(s, q, lane)
            if DROPS and expired(t, s.request_f[r, st.ARRIVAL], m.constants[st.DROP_AFTER]):
                drop(s, q, r, t)
                continue
            s.taken[m.service_tenant[m.chain[s.request_i[r, st.APP], s.request_i[r, st.STAGE]]]] += 1
            s.request_i[r, st.NEXT] = -1
            if size == 0:
                first = r
            else:
                s.request_i[last, st.NEXT] = r
            last = r
            size += 1
        if size > 0:
            if s.virtual_time.shape[1] > 1:
                charge(m, s, q, k, v, size, first)
            return first, last, size, np.inf
    return -1, -1, 0, np.inf


@njit(cache=True, inline="always", _nrt=False)
def form_batch(m, s, q, k, t):
    """The same for a queue with one lane."""
    first = -1
    last = -1
    size = 0
    again = np.inf
    if DROPS:
        drop_expired(m, s, q, q, t)
    waiting = s.lane_i[q, st.COUNT]
    if waiting > 0:
        if WAIT:
            joined = s.request_f[s.lane_i[q, st.HEAD], st.JOINED]
            if not batch_ready(waiting, m.kind_i[k, st.BATCH], t, joined, m.kind_f[k, st.MAX_WAIT]):
                again = joined + m.kind_f[k, st.MAX_WAIT]
        if not (again < np.inf):
            first = pop(s, q, q)
            last = first
            size = 1
            if BATCHING:
                batch = m.kind_i[k, st.BATCH]
                while size < batch and s.lane_i[q, st.COUNT] > 0:
                    r = pop(s, q, q)
                    if DROPS and expired(t, s.request_f[r, st.ARRIVAL], m.constants[st.DROP_AFTER]):
                        drop(s, q, r, t)
                        continue
                    s.request_i[last, st.NEXT] = r
                    last = r
                    size += 1
            s.request_i[last, st.NEXT] = -1
    return first, last, size, again


@njit(cache=True, inline="always", _nrt=False)
def server_due(s, line):
    """When a server's next event is due: its first stage is free, or its oldest batch is answered."""
    due = s.stage_clock[line, 0] if s.server_i[line, st.OCCUPIED] else np.inf
    if PIPELINE and s.server_i[line, st.FIRST] >= 0:
        due = min(due, s.request_f[s.server_i[line, st.FIRST], st.FINISH])
    return due


@njit(cache=True, inline="always", _nrt=False)
def start_batch(m, s, slot, first, last, n, t):
    """A server of the replica takes a batch at t."""
    k = s.replica_i[slot, st.KIND]
    v = s.request_i[first, st.VARIANT]
    s.replica_i[slot, st.IDLE] -= 1
    line = slot * s.idle.shape[1] + s.idle[slot, s.replica_i[slot, st.IDLE]]
    noise = 1.0
    if NOISE:
        word = draw(s.app_key[s.request_i[first, st.APP], 0], s.request_i[first, st.NUMBER], s.request_i[first, st.STAGE])
        noise = factor(m.service_table, word)
    x = t
    busy = 0.0
    n_stages = m.kind_i[k, st.STAGES] if PIPELINE else 1
    for stage in range(n_stages):
        d = m.latency[k, v, n, stage] * noise
        x = max(x, s.stage_clock[line, stage]) + d
        s.stage_clock[line, stage] = x
        busy += d
    s.server_i[line, st.OCCUPIED] = 1
    s.kind_ns[k, st.BUSY] += nanoseconds(busy / n_stages)
    if not EARLY:
        s.queue_i[k, st.IDLE_SERVERS] -= 1
        s.replica_i[slot, st.OUTSTANDING] += n
    if PIPELINE:
        finish = x + m.constants[st.OVERHEAD]
        r = first
        for _ in range(n):
            s.request_f[r, st.FINISH] = finish
            r = s.request_i[r, st.NEXT]
        if s.server_i[line, st.FIRST] >= 0:
            s.request_i[s.server_i[line, st.LAST], st.NEXT] = first
        else:
            s.server_i[line, st.FIRST] = first
        s.server_i[line, st.LAST] = last
    else:
        s.server_i[line, st.FIRST] = first
    set_clock(s.tree_time, s.tree_node, line, server_due(s, line))


@njit(cache=True, inline="always", _nrt=False)
def try_queue(m, s, q, t):
    """Starts as many batches of a queue as there are servers for, and sets its timer where one must wait."""
    timer = np.inf
    while s.queue_i[q, st.WAITING] > 0:
        slot = idle_slot(m, s, q)
        if slot < 0:
            break
        k = s.replica_i[slot, st.KIND]
        if LANES:
            first, last, size, timer = form_batch_from_lanes(m, s, q, k, t)
        else:
            first, last, size, timer = form_batch(m, s, q, k, t)
        if size == 0:
            break
        start_batch(m, s, slot, first, last, size, t)
    if WAIT and s.tree_time[timer_leaf(s, q)] != timer:
        set_clock(s.tree_time, s.tree_node, timer_leaf(s, q), timer)


@njit(cache=True, inline="always", _nrt=False)
def try_touched(m, s, t):
    """Tries the queues that requests have joined, in the order in which they were first touched."""
    i = 0
    while i < s.whole[st.TOUCHED_COUNT]:
        q = s.touched[i]
        s.queue_i[q, st.TOUCHED] = 0
        try_queue(m, s, q, t)
        i += 1
    s.whole[st.TOUCHED_COUNT] = 0


@njit(cache=True, inline="always", _nrt=False)
def answered(m, s, r, t):
    """A stage has answered: the request settles, or is handed over to the next one."""
    v = s.request_i[r, st.VARIANT]
    if not CHAINS:
        settle_answered(m, s, r, t, v, m.accuracy[v])
    else:
        a = s.request_i[r, st.APP]
        stage = s.request_i[r, st.STAGE]
        accuracy = m.accuracy[v]
        last = stage == m.app_i[a, st.LENGTH] - 1
        if m.app_i[a, st.CASCADE]:
            if not last:
                last = uniform(draw(s.app_key[a, 1], s.request_i[r, st.NUMBER], stage)) < s.leave[0, a, stage, v, 0]
                accuracy = s.leave[0, a, stage, v, 1]
        else:
            accuracy = s.request_f[r, st.ACCURACY] * accuracy
            s.request_f[r, st.ACCURACY] = accuracy
        if last:
            settle_answered(m, s, r, t, v, accuracy)
        else:
            s.request_i[r, st.STAGE] = stage + 1
            s.service_offered[m.chain[a, stage + 1]] += 1
            place(m, s, r, t, HANDED_OVER)


@njit(cache=True, inline="always", _nrt=False)
def take_out_answers(m, s, line, slot, t):
    """Takes out every batch of a server that is answered by t; its requests settle or move on."""
    r = s.server_i[line, st.FIRST]
    while r >= 0 and (not PIPELINE or s.request_f[r, st.FINISH] <= t):
        s.replica_i[slot, st.OUTSTANDING] -= 1
        r = s.request_i[r, st.NEXT]
    r = s.server_i[line, st.FIRST]
    while r >= 0 and (not PIPELINE or s.request_f[r, st.FINISH] <= t):
        following = s.request_i[r, st.NEXT]
        answered(m, s, r, t)
        r = following
    s.server_i[line, st.FIRST] = r
