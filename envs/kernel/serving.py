"""Serving: forming batches, starting them on servers, and what happens when a server's clock runs out."""
# ruff: noqa: F821  (flags and names of earlier parts are given by `envs.kernel.specialise`)

import numpy as np

from envs import state as st
from envs.kernel.clocks import set_clock
from envs.kernel.compiled import inlined, internal
from envs.randomness import draw, factor, uniform
from envs.rules import batch_ready, billionths, expired, nanoseconds

EARLY: bool
LANES: bool
CHAINS: bool
PIPELINE: bool
NOISE: bool
BATCHING: bool
WAIT: bool
DROPS: bool


@inlined
def timer_leaf(s, q):
    """Leaf of a queue's batch timer."""
    return s.replica_kind.shape[0] + q


@inlined
def idle_slot(m, s, q):
    """The slot whose idle server takes the queue's next batch, -1 where there is none."""
    if EARLY:
        if s.replica_status[q] >= st.READY and s.replica_idle[q] > 0 and s.replica_broken[q] == 0:
            return q
        return -1
    if s.queue_idle[q] > 0:
        for slot in range(s.queue_lowest[q], s.whole[st.HIGH]):
            if (
                s.replica_status[slot] == st.READY
                and s.replica_idle[slot] > 0
                and s.replica_kind[slot] == q
                and s.replica_broken[slot] == 0
            ):
                s.queue_lowest[q] = slot
                return slot
    return -1


@inlined
def pop(s, q, lane):
    """Takes the first request of a lane."""
    r = s.lane_head[lane]
    s.lane_head[lane] = s.request_next[r]
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
    while s.lane_count[lane] > 0:
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
                best_tenant = m.service_tenant[m.chain[s.request_app[best_r], s.request_stage[best_r]]]
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
        tenant = m.service_tenant[m.chain[s.request_app[r], s.request_stage[r]]]
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
            s.taken[m.service_tenant[m.chain[s.request_app[r], s.request_stage[r]]]] += 1
            s.request_next[r] = -1
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
    first = -1
    last = -1
    size = 0
    again = np.inf
    if DROPS:
        drop_expired(m, s, q, q, t)
    waiting = s.lane_count[q]
    if waiting > 0:
        if WAIT:
            joined = s.request_joined[s.lane_head[q]]
            if not batch_ready(waiting, m.kind_batch[k], t, joined, m.kind_max_wait[k]):
                again = joined + m.kind_max_wait[k]
        if not (again < np.inf):
            first = pop(s, q, q)
            last = first
            size = 1
            if BATCHING:
                batch = m.kind_batch[k]
                while size < batch and s.lane_count[q] > 0:
                    r = pop(s, q, q)
                    if DROPS and expired(t, s.request_arrival[r], m.constants[st.DROP_AFTER]):
                        drop(s, q, r, t)
                        continue
                    s.request_next[last] = r
                    last = r
                    size += 1
            s.request_next[last] = -1
    return first, last, size, again


@inlined
def next_due(s, line):
    """When a server's next event is due: its first stage is free, or its oldest batch is answered."""
    due = s.stage_clock[line, 0] if s.server_occupied[line] else np.inf
    if PIPELINE and s.server_first[line] >= 0:
        due = min(due, s.request_finish[s.server_first[line]])
    return due


@inlined
def strike(s, slot, line):
    """Takes a server out of its replica's calendar."""
    base = slot * s.idle.shape[1]
    before = s.server_before[line]
    after = s.server_after[line]
    if before >= 0:
        s.server_after[base + before] = after
    else:
        s.booked_first[slot] = after
    if after >= 0:
        s.server_before[base + after] = before
    else:
        s.booked_last[slot] = before
    s.server_booked[line] = 0


@inlined
def book(s, slot, line):
    """Puts a server where it belongs in its replica's calendar, a list ordered by time, then server.

    A new batch mostly ends after those already on the way, so the list is searched from its end.
    """
    due = next_due(s, line)
    if s.server_booked[line]:
        if s.server_due[line] == due:
            return
        strike(s, slot, line)
    if due == np.inf:
        return
    base = slot * s.idle.shape[1]
    server = line - base
    before = s.booked_last[slot]
    while before >= 0 and (s.server_due[base + before] > due or (s.server_due[base + before] == due and before > server)):
        before = s.server_before[base + before]
    after = s.booked_first[slot] if before < 0 else s.server_after[base + before]
    s.server_before[line] = before
    s.server_after[line] = after
    if before >= 0:
        s.server_after[base + before] = server
    else:
        s.booked_first[slot] = server
        set_clock(s.tree_time, s.tree_node, slot, due)
    if after >= 0:
        s.server_before[base + after] = server
    else:
        s.booked_last[slot] = server
    s.server_due[line] = due
    s.server_booked[line] = 1


@inlined
def set_slot_clock(s, slot):
    """Sets the clock of a replica's servers to the first in its calendar."""
    due = np.inf
    if s.booked_first[slot] >= 0:
        due = s.server_due[slot * s.idle.shape[1] + s.booked_first[slot]]
    if s.tree_time[slot] != due:
        set_clock(s.tree_time, s.tree_node, slot, due)


@inlined
def start_batch(m, s, slot, first, last, n, t):
    """A server of the replica takes a batch at t."""
    k = s.replica_kind[slot]
    v = s.request_variant[first]
    s.replica_idle[slot] -= 1
    line = slot * s.idle.shape[1] + s.idle[slot, s.replica_idle[slot]]
    noise = 1.0
    if NOISE:
        word = draw(s.app_key[s.request_app[first], 0], s.request_number[first], s.request_stage[first])
        noise = factor(m.service_table, word)
    x = t
    busy = 0.0
    n_stages = m.kind_stages[k] if PIPELINE else 1
    for stage in range(n_stages):
        d = m.latency[k, v, n, stage] * noise
        x = max(x, s.stage_clock[line, stage]) + d
        s.stage_clock[line, stage] = x
        busy += d
    s.server_occupied[line] = 1
    s.kind_ns[k, st.BUSY] += nanoseconds(busy / n_stages if PIPELINE else busy)
    if not EARLY:
        s.queue_idle[k] -= 1
        s.replica_outstanding[slot] += n
    if PIPELINE:
        finish = x + m.constants[st.OVERHEAD]
        r = first
        for _ in range(n):
            s.request_finish[r] = finish
            r = s.request_next[r]
        if s.server_first[line] >= 0:
            s.request_next[s.server_last[line]] = first
        else:
            s.server_first[line] = first
        s.server_last[line] = last
    else:
        s.server_first[line] = first
    book(s, slot, line)


@inlined
def try_queue(m, s, q, t):
    """Starts as many batches of a queue as there are servers for, and sets its timer where one must wait."""
    timer = np.inf
    while s.queue_waiting[q] > 0:
        slot = idle_slot(m, s, q)
        if slot < 0:
            break
        k = s.replica_kind[np.uint32(slot)]
        if LANES:
            first, last, size, timer = form_batch_from_lanes(m, s, q, k, t)
        else:
            first, last, size, timer = form_batch(m, s, q, k, t)
        if size == 0:
            break
        start_batch(m, s, np.uint32(slot), np.uint32(first), last, size, t)
    if WAIT and s.tree_time[timer_leaf(s, q)] != timer:
        set_clock(s.tree_time, s.tree_node, timer_leaf(s, q), timer)


@inlined
def try_touched(m, s, t):
    """Tries the queues that requests have joined, in the order in which they were first touched."""
    i = 0
    while i < s.whole[st.TOUCHED_COUNT]:
        q = np.uint32(s.touched[i])
        s.queue_touched[q] = 0
        try_queue(m, s, q, t)
        i += 1
    s.whole[st.TOUCHED_COUNT] = 0


@inlined
def answered(m, s, r, t):
    """A stage has answered: the request settles, or is handed over to the next one."""
    v = s.request_variant[r]
    if not CHAINS:
        settle_answered(m, s, r, t, v, m.accuracy_ppb[v])
    else:
        a = s.request_app[r]
        stage = s.request_stage[r]
        accuracy = m.accuracy[v]
        last = stage == m.app_length[a] - 1
        if m.app_cascade[a]:
            if not last:
                last = uniform(draw(s.app_key[a, 1], s.request_number[r], stage)) < s.leave[0, a, stage, v, 0]
                accuracy = s.leave[0, a, stage, v, 1]
        else:
            accuracy = s.request_accuracy[r] * accuracy
            s.request_accuracy[r] = accuracy
        if last:
            settle_answered(m, s, r, t, v, billionths(accuracy))
        else:
            s.request_stage[r] = stage + 1
            s.service_offered[m.chain[a, stage + 1]] += 1
            place(m, s, r, t, HANDED_OVER)


@inlined
def take_out_answers(m, s, line, slot, t):
    """Takes out every batch of a server that is answered by t; its requests settle or move on."""
    r = s.server_first[line]
    while CHAINS and r >= 0 and (not PIPELINE or s.request_finish[r] <= t):  # the batch has left before it is handed over
        s.replica_outstanding[slot] -= 1
        r = s.request_next[r]
    r = s.server_first[line]
    while r >= 0 and (not PIPELINE or s.request_finish[r] <= t):
        following = s.request_next[r]
        if not CHAINS:
            s.replica_outstanding[slot] -= 1
        answered(m, s, np.uint32(r), t)
        r = following
    s.server_first[line] = r
