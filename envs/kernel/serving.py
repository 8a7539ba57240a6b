"""Serving: batches start on servers, and what happens when a server's clock runs out."""
# ruff: noqa: F821  (flags and names of earlier parts are given by `envs.kernel.specialise`)

import numpy as np

from envs import state as st
from envs.kernel.clocks import set_clock
from envs.kernel.compiled import inlined
from envs.randomness import draw, factor, uniform
from envs.rules import billionths, nanoseconds
from envs.state import NONE

EARLY: bool
LANES: bool
CHAINS: bool
PIPELINE: bool
NOISE: bool
BESIDE_LOADS: bool
WAIT: bool
SERVERS: bool


@inlined
def timer_leaf(s, q):
    """Leaf of a queue's batch timer."""
    return s.replica_kind.shape[0] + q


@inlined
def idle_slot(s, q):
    """The slot whose idle server takes the queue's next batch, NONE where there is none."""
    if EARLY:
        if s.replica_idle[q] > 0 and s.replica_status[q] >= st.READY and s.replica_broken[q] == 0:
            return q
        return NONE
    return lowest_idle(s, q)


@inlined
def next_due(s, line):
    """When a pipeline's next event is due: its first stage is free, or its oldest batch is answered."""
    due = s.stage_clock[line, 0] if s.server_occupied[line] else np.inf
    if s.server_first[line] != NONE:
        due = min(due, s.request_finish[s.server_first[line]])
    return due


@inlined
def load_slowdown(m, s, k):
    """How many times as long a batch of the kind takes that starts now, for a replica that loads on the same device."""
    factor = 1.0
    for j in range(m.kind_device.shape[0]):
        if s.kind_pending[j] > 0 and m.kind_device[j] == m.kind_device[k]:
            factor = m.constants[st.LOAD_SLOWDOWN]
    return factor


@inlined
def start_batch(m, s, slot, k, first, last, n, t):
    """A server of the replica takes a batch at t."""
    v = s.request_variant[first]
    idle = np.uint32(s.replica_idle[slot] - 1)
    s.replica_idle[slot] = idle
    line = line_of(s, slot, s.idle[slot, idle]) if SERVERS else slot
    noise = 1.0
    if NOISE:
        stage = s.request_stage[first] if CHAINS else np.uint32(0)
        noise = factor(m.service_table, draw(s.app_key[application(s, first), 0], s.request_number[first], stage))
    if BESIDE_LOADS:
        noise *= load_slowdown(m, s, k)
    if not EARLY:
        if idle == 0:
            remove_idle(s, k, slot)
        s.replica_outstanding[slot] += n
    if PIPELINE:
        enter_pipeline(m, s, slot, line, k, v, first, last, n, noise, t)
    else:
        d = m.latency[k, v, n, 0] * noise
        s.kind_ns[k, st.BUSY] += nanoseconds(d)
        s.server_first[line] = first
        book(s, slot, line, t + d)


@inlined
def enter_pipeline(m, s, slot, line, k, v, first, last, n, noise, t):
    """A batch enters a server of several stages, which may still be at work on those before it."""
    x = t
    busy = 0.0
    for stage in range(m.kind_stages[k]):
        d = m.latency[k, v, n, stage] * noise
        x = max(x, s.stage_clock[line, stage]) + d
        s.stage_clock[line, stage] = x
        busy += d
    s.kind_ns[k, st.BUSY] += nanoseconds(busy / m.kind_stages[k])
    s.server_occupied[line] = 1
    finish = x + m.constants[st.OVERHEAD]
    r = first
    for _ in range(n):
        s.request_finish[r] = finish
        r = s.request_next[r]
    if s.server_first[line] != NONE:
        s.request_next[s.server_last[line]] = first
    else:
        s.server_first[line] = first
    s.server_last[line] = last
    book(s, slot, line, next_due(s, line))


@inlined
def try_queue(m, s, q, t):
    """Starts as many batches of a queue as there are servers for, and sets its timer where one must wait."""
    timer = np.inf
    while s.queue_waiting[q] > 0:
        slot = idle_slot(s, q)
        if slot == NONE:
            break
        k = s.replica_kind[q] if EARLY else q
        if LANES:
            first, last, size, timer = form_batch_from_lanes(m, s, q, k, t)
        else:
            first, last, size, timer = form_batch(m, s, q, k, t)
        if size == 0:
            break
        start_batch(m, s, slot, k, np.uint32(first), np.uint32(last), np.uint32(size), t)
    if WAIT and s.tree_time[timer_leaf(s, q)] != timer:
        set_clock(s.tree_time, s.tree_node, timer_leaf(s, q), timer)


@inlined
def try_queues(m, s, q, t):
    """Tries a queue (NONE: none), then those touched, in the order in which they were first touched."""
    i = 0
    while q != NONE or i < s.whole[st.TOUCHED_COUNT]:
        if q == NONE:
            q = s.touched[i]
            s.queue_touched[q] = 0
            i += 1
        try_queue(m, s, q, t)
        q = NONE
    if i > 0:
        s.whole[st.TOUCHED_COUNT] = 0


@inlined
def answered(m, s, r, t):
    """A stage has answered: the request settles, or is handed over to the next one."""
    v = s.request_variant[r]
    if not CHAINS:
        settle_answered(m, s, r, t, v, m.accuracy_ppb[v])
    else:
        a = application(s, r)
        stage = s.request_stage[r]
        accuracy = m.accuracy[v]
        last = stage == m.app_length[a] - 1
        if m.app_cascade[a]:
            if not last:
                last = uniform(draw(s.app_key[a, 1], s.request_number[r], stage)) < s.leave[0, a, stage, v, 0]
                accuracy = s.leave[0, a, stage, v, 1]
        else:
            accuracy = s.request_accuracy[r] * accuracy
        if last:
            settle_answered(m, s, r, t, v, billionths(accuracy))
        else:
            s.request_accuracy[r] = accuracy
            s.request_stage[r] = stage + 1
            z = m.chain[a, np.uint32(stage + 1)]
            s.service_offered[z] += 1
            q = place(m, s, r, z, t, HANDED_OVER)
            if q != NONE:
                touch(s, q)


@inlined
def take_out_answers(m, s, line, slot, t):
    """Takes out every batch of a server that is answered by t; its requests settle or move on."""
    r = s.server_first[line]
    if CHAINS and EARLY:  # the batch has left before it is handed over
        while r != NONE and (not PIPELINE or s.request_finish[r] <= t):
            s.replica_outstanding[slot] -= 1
            r = s.request_next[r]
        r = s.server_first[line]
    n = 0
    while r != NONE and (not PIPELINE or s.request_finish[r] <= t):
        following = s.request_next[r]
        answered(m, s, r, t)
        r = following
        n += 1
    if not (CHAINS and EARLY):
        s.replica_outstanding[slot] -= n
    s.server_first[line] = r


@inlined
def server_event(m, s, line, slot, t):
    """A server's clock has run out: answers leave, and it is idle where its first stage is free."""
    strike(s, slot, line)
    take_out_answers(m, s, line, slot, t)
    if not PIPELINE or (s.server_occupied[line] and s.stage_clock[line, 0] <= t):
        if PIPELINE:
            s.server_occupied[line] = 0
        server = np.uint32(line - line_of(s, slot, 0)) if SERVERS else np.uint32(0)
        if server < s.replica_active[slot]:
            s.idle[slot, s.replica_idle[slot]] = server
            s.replica_idle[slot] += 1
            if not EARLY and s.replica_status[slot] == st.READY:
                add_idle(s, s.replica_kind[slot], slot)
