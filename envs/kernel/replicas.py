"""Replicas: their life from pending to gone."""
# ruff: noqa: F821  (flags and names of earlier parts are given by `envs.kernel.specialise`)

import numpy as np

from envs import state as st
from envs.kernel.clocks import set_clock
from envs.kernel.compiled import entry, inlined, internal
from envs.randomness import draw, factor
from envs.rules import nanoseconds
from envs.state import NONE

EARLY: bool
LANES: bool


@inlined
def replica_leaf(s, slot):
    """Leaf of a replica's own events: load done, failure, detection."""
    return s.replica_kind.shape[0] + s.queue_waiting.shape[0] + slot


@inlined
def set_due(s, slot):
    """Sets the clock of a replica's next own event: the end of a resize, or what comes next in its life."""
    set_clock(s.tree_time, s.tree_node, replica_leaf(s, slot), min(s.replica_turns_at[slot], s.replica_resized_at[slot]))


@inlined
def count_ready(m, s, k, change):
    """A kind's ready replicas became more or fewer."""
    s.kind_ready[k] += change
    for z in range(m.serve.shape[1]):
        if m.serve[k, z] != NONE:
            s.service_ready[z] += change


@internal
def account_ready(m, s, slot, t):
    """Adds a replica's ready server time up to t."""
    if s.replica_status[slot] == st.READY:
        k = s.replica_kind[slot]
        s.kind_ns[k, st.READY_SERVERS] += nanoseconds(t - s.replica_ready_from[slot]) * m.kind_servers[k]
        s.replica_ready_from[slot] = t


@internal
def account(m, s, slot, t):
    """Adds a replica's time up to t to what its kind held, and to its ready server time."""
    s.kind_ns[s.replica_kind[slot], st.HELD] += nanoseconds(t - s.replica_held_from[slot])
    s.replica_held_from[slot] = t
    account_ready(m, s, slot, t)


@internal
def create(m, s, k, t):
    """A new pending replica in the lowest free slot. Where no slot is free, the next reconciling tries again."""
    slot = 0
    while slot < s.replica_kind.shape[0] and s.replica_status[slot] != st.FREE:
        slot += 1
    if slot == s.replica_kind.shape[0]:
        return
    s.whole[st.HIGH] = max(s.whole[st.HIGH], slot + 1)
    number = s.whole[st.NEXT_ID]
    s.whole[st.NEXT_ID] = number + 1
    s.replica_outstanding[slot] = 0
    s.replica_idle[slot] = 0
    s.replica_broken[slot] = 0
    s.replica_status[slot] = st.PENDING
    s.replica_kind[slot] = k
    s.replica_id[slot] = number
    s.replica_born[slot] = t
    s.replica_held_from[slot] = t
    s.kind_pending[k] += 1
    load_s = m.kind_load_s[k]
    s.clock[st.CHANGE_LOAD] = max(s.clock[st.CHANGE_LOAD], load_s)
    s.replica_turns_at[slot] = t + load_s * factor(m.load_table, draw(s.replica_key[0], number, 0))
    s.replica_resized_at[slot] = np.inf
    set_due(s, slot)


@internal
def become_ready(m, s, slot, t):
    """A pending replica is ready: its clocks start, its servers are idle."""
    k = s.replica_kind[slot]
    s.kind_pending[k] -= 1
    s.replica_status[slot] = st.READY
    s.replica_ready_from[slot] = t
    s.load_seen[k] = t - s.replica_born[slot]
    count_ready(m, s, k, 1)
    servers = m.kind_servers[k]
    for i in range(s.idle.shape[1]):
        line = line_of(s, slot, i)
        s.stage_clock[line, :] = t
        s.expected[line, :] = t
        s.server_occupied[line] = 0
        s.server_first[line] = NONE
    for i in range(servers):
        s.idle[slot, i] = servers - 1 - i
    s.replica_idle[slot] = servers
    q = slot
    if not EARLY:
        q = k
        add_idle(s, k, slot)
    elif LANES:
        s.virtual_time[slot, :] = 0.0
    s.replica_active[slot] = servers
    s.replica_turns_at[slot] = np.inf
    if m.constants[st.MEAN_TIME] < np.inf:
        life = m.constants[st.MEAN_TIME] * factor(m.failure_table, draw(s.replica_key[2], s.replica_id[slot], 0))
        s.replica_turns_at[slot] = t + life
    set_due(s, slot)
    touch(s, q)


@internal
def leave_ready(m, s, slot, t):
    """A ready replica gets no more requests."""
    k = s.replica_kind[slot]
    count_ready(m, s, k, -1)
    if not EARLY:
        remove_idle(s, k, slot)


@internal
def gone(m, s, slot, t):
    """A replica gives its resources back; its slot is free."""
    account(m, s, slot, t)
    k = s.replica_kind[slot]
    status = s.replica_status[slot]
    if status == st.READY:
        leave_ready(m, s, slot, t)
    elif status == st.PENDING:
        s.kind_pending[k] -= 1
    else:
        s.kind_draining[k] -= 1
    s.replica_status[slot] = st.FREE
    set_clock(s.tree_time, s.tree_node, replica_leaf(s, slot), np.inf)
    silence(s, slot)
    while s.whole[st.HIGH] > 0 and s.replica_status[s.whole[st.HIGH] - 1] == st.FREE:
        s.whole[st.HIGH] -= 1


@internal
def silence(s, slot):
    """No more events of a replica's servers and its own queue."""
    width = s.idle.shape[1]
    for line in range(slot * width, (slot + 1) * width):
        s.server_due[line] = np.inf
    s.booked_first[slot] = NONE
    s.booked_last[slot] = NONE
    set_slot_clock(s, slot)
    if EARLY and s.tree_time[timer_leaf(s, slot)] < np.inf:
        set_clock(s.tree_time, s.tree_node, timer_leaf(s, slot), np.inf)


@inlined
def drain(m, s, slot, t):
    """A ready replica takes no new requests; it is gone when it has none left."""
    account_ready(m, s, slot, t)
    leave_ready(m, s, slot, t)
    s.replica_status[slot] = st.DRAINING
    s.kind_draining[s.replica_kind[slot]] += 1


@internal
def gone_if_done(m, s, slot, t):
    """A draining replica without requests is gone."""
    if s.replica_status[slot] == st.DRAINING and s.replica_outstanding[slot] == 0:
        gone(m, s, slot, t)


@entry
def start_ready(m, s, k, t):
    """A replica that is ready at t without having loaded, as at the start of an episode."""
    load_seen = s.load_seen[k]
    before = s.whole[st.NEXT_ID]
    create(m, s, k, t)
    for slot in range(s.whole[st.HIGH]):
        if s.replica_status[slot] == st.PENDING and s.replica_id[slot] == before:
            become_ready(m, s, slot, t)
    s.load_seen[k] = load_seen
    s.whole[st.TOUCHED_COUNT] = 0
    for q in range(s.queue_waiting.shape[0]):
        s.queue_touched[q] = 0
    s.clock[st.CHANGE_LOAD] = 0.0
