"""Turns in a replica's life: its load is done, it breaks, its failure is noticed, its resize ends."""
# ruff: noqa: F821  (flags and names of earlier parts are given by `envs.kernel.specialise`)

import numpy as np

from envs import state as st
from envs.kernel.compiled import inlined, internal
from envs.randomness import draw, uniform
from envs.state import NONE

EARLY: bool
PIPELINE: bool
RESIZE: bool


@inlined
def resized(m, s, slot, t):
    """The end of a resize in place: new servers are idle, cut ones take no more batches."""
    k = s.replica_kind[slot]
    before = s.replica_active[slot]
    after = m.kind_servers[k]
    idle = s.replica_idle[slot]
    kept = 0
    for i in range(idle):
        if s.idle[slot, i] < after:
            s.idle[slot, kept] = s.idle[slot, i]
            kept += 1
    for server in range(after - 1, before - 1, -1):
        line = line_of(s, slot, server)
        s.expected[line, :] = t
        if s.server_occupied[line] == 0 if PIPELINE else s.server_first[line] == NONE:
            s.stage_clock[line, :] = t
            s.idle[slot, kept] = server
            kept += 1
    s.replica_idle[slot] = kept
    s.replica_active[slot] = after
    s.replica_resized_at[slot] = np.inf
    q = slot
    if not EARLY:
        q = k
        if s.replica_status[slot] == st.READY and s.replica_broken[slot] == 0:
            if kept > 0:
                add_idle(s, k, slot)
            else:
                remove_idle(s, k, slot)
    set_due(s, slot)
    touch(s, q)


@inlined
def load_done(m, s, slot, t):
    """The end of a load: ready, or failed."""
    u = uniform(draw(s.replica_key[1], s.replica_id[slot], 0))
    if u < m.constants[st.LOAD_FAILURE_RATIO]:
        gone(m, s, slot, t)
    else:
        become_ready(m, s, slot, t)
    reconcile(m, s, t)


@inlined
def breaks(m, s, slot, t):
    """A replica fails: its servers do nothing from now on; nobody knows yet."""
    if not EARLY and s.replica_status[slot] == st.READY:
        remove_idle(s, s.replica_kind[slot], slot)
    s.replica_broken[slot] = 1
    silence(s, slot)
    s.replica_turns_at[slot] = t + m.constants[st.DETECTION]
    set_due(s, slot)


@inlined
def detected(m, s, slot, t):
    """A failure is noticed: the replica is gone, its requests fail or are placed again."""
    width = s.idle.shape[1]
    first = NONE
    last = NONE
    for line in range(slot * width, (slot + 1) * width):
        r = s.server_first[line]
        while r != NONE:
            if first == NONE:
                first = r
            else:
                s.request_next[last] = r
            last = r
            r = s.request_next[r]
        s.server_first[line] = NONE
    if EARLY:
        r = take_queue(m, s, slot)
        if first == NONE:
            first = r
        else:
            s.request_next[last] = r
    gone(m, s, slot, t)
    reconcile(m, s, t)
    if m.choices[st.REQUEUE]:
        place_again(m, s, first, t)
    else:
        while first != NONE:
            following = s.request_next[first]
            settle_unanswered(s, first, t, st.FAILED)
            first = following


@internal
def replica_event(m, s, slot, t):
    """A replica's own event is due."""
    if s.replica_status[slot] == st.PENDING:
        load_done(m, s, slot, t)
    elif RESIZE and s.replica_resized_at[slot] <= t:
        resized(m, s, slot, t)
    elif s.replica_broken[slot]:
        detected(m, s, slot, t)
    else:
        breaks(m, s, slot, t)
