"""Replicas: their life from pending to gone, reconciling, and deployments taking effect."""
# ruff: noqa: F821  (flags and names of earlier parts are given by `envs.kernel.specialise`)

import numpy as np

from envs import state as st
from envs.kernel.clocks import set_clock
from envs.kernel.compiled import entry, inlined, internal
from envs.randomness import draw, factor, uniform
from envs.rules import nanoseconds

EARLY: bool
LANES: bool
RESIZE: bool


@inlined
def replica_leaf(s, slot):
    """Leaf of a replica's own events: load done, failure, detection."""
    return s.replica_kind.shape[0] + s.queue_waiting.shape[0] + slot


@inlined
def deployment_leaf(s):
    """Leaf of the deployment that waits to take effect."""
    return 2 * s.replica_kind.shape[0] + s.queue_waiting.shape[0]


@inlined
def set_due(s, slot):
    """Sets the clock of a replica's next own event: the end of a resize, or what comes next in its life."""
    set_clock(s.tree_time, s.tree_node, replica_leaf(s, slot), min(s.replica_turns_at[slot], s.replica_resized_at[slot]))


@inlined
def count_ready(m, s, k, change):
    """A kind's ready replicas became more or fewer."""
    s.kind_ready[k] += change
    for z in range(m.serve.shape[1]):
        if m.serve[k, z] >= 0:
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
    width = s.idle.shape[1]
    servers = m.kind_servers[k]
    for i in range(width):
        line = slot * width + i
        s.stage_clock[line, :] = t
        s.expected[line, :] = t
        s.server_occupied[line] = 0
        s.server_first[line] = -1
    for i in range(servers):
        s.idle[slot, i] = servers - 1 - i
    s.replica_idle[slot] = servers
    q = slot
    if not EARLY:
        q = k
        s.queue_idle[k] += servers
        s.queue_lowest[k] = min(s.queue_lowest[k], slot)
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
    if not EARLY and s.replica_broken[slot] == 0:
        s.queue_idle[k] -= s.replica_idle[slot]


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
        s.server_booked[line] = 0
    s.booked_first[slot] = -1
    s.booked_last[slot] = -1
    set_slot_clock(s, slot)
    if EARLY and s.tree_time[timer_leaf(s, slot)] < np.inf:
        set_clock(s.tree_time, s.tree_node, timer_leaf(s, slot), np.inf)


@internal
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


@internal
def newest(s, k, status):
    """The slot of the kind's replica with the highest id in a state."""
    best = -1
    for slot in range(s.whole[st.HIGH]):
        if (
            s.replica_status[slot] == status
            and s.replica_kind[slot] == k
            and (best < 0 or s.replica_id[slot] > s.replica_id[best])
        ):
            best = slot
    return best


@internal
def least_loaded(s, k):
    """The ready slot of a kind with the fewest outstanding requests, then the highest id."""
    best = -1
    for slot in range(s.whole[st.HIGH]):
        if s.replica_status[slot] != st.READY or s.replica_kind[slot] != k:
            continue
        fewer = best >= 0 and s.replica_outstanding[slot] < s.replica_outstanding[best]
        same = best >= 0 and s.replica_outstanding[slot] == s.replica_outstanding[best]
        if best < 0 or fewer or (same and s.replica_id[slot] > s.replica_id[best]):
            best = slot
    return best


@internal
def successor_pending(m, s, k):
    """Whether a pending replica shares a service with the kind."""
    for j in range(m.successor.shape[0]):
        if s.kind_pending[j] > 0 and m.successor[j, k]:
            return True
    return False


@internal
def routes_in_force(s, z):
    """The next routes of a service come into force once every kind with a positive share has a ready replica."""
    if s.route_count[z, st.ROUTES_WAIT] == 0:
        return
    n = s.route_count[z, st.WAITING_ROUTES]
    for e in range(n):
        if s.kind_ready[s.route_i[z, st.WAITING_ROUTES, e, 0]] == 0:
            return
    same = n == s.route_count[z, st.IN_FORCE]
    for e in range(n):
        for i in range(2):
            same = same and s.route_i[z, st.IN_FORCE, e, i] == s.route_i[z, st.WAITING_ROUTES, e, i]
        same = same and s.route_f[z, st.IN_FORCE, e, 0] == s.route_f[z, st.WAITING_ROUTES, e, 0]
    if not same:
        copy_routes(s, z, st.WAITING_ROUTES, st.IN_FORCE)
    s.route_count[z, st.ROUTES_WAIT] = 0


@internal
def copy_routes(s, z, source, target):
    """Copies a service's routes, with no credit."""
    s.route_count[z, target] = s.route_count[z, source]
    for e in range(s.route_count[z, source]):
        s.route_i[z, target, e, 0] = s.route_i[z, source, e, 0]
        s.route_i[z, target, e, 1] = s.route_i[z, source, e, 1]
        s.route_f[z, target, e, 0] = s.route_f[z, source, e, 0]
        s.route_f[z, target, e, 1] = 0.0


@internal
def take_queue(m, s, q):
    """Takes all requests out of a queue, in the order in which they joined.

    Returns:
        the first of them, linked by NEXT; -1 where there is none.
    """
    first = -1
    last = -1
    n_lanes = s.lane_head.shape[0] // s.queue_waiting.shape[0]
    while s.queue_waiting[q] > 0:
        oldest = -1
        for lane in range(q * n_lanes, (q + 1) * n_lanes):
            if s.lane_count[lane] > 0 and (
                oldest < 0 or s.request_sequence[s.lane_head[lane]] < s.request_sequence[s.lane_head[oldest]]
            ):
                oldest = lane
        r = pop(s, q, oldest)
        s.request_next[r] = -1
        if first < 0:
            first = r
        else:
            s.request_next[last] = r
        last = r
    if s.tree_time[timer_leaf(s, q)] < np.inf:
        set_clock(s.tree_time, s.tree_node, timer_leaf(s, q), np.inf)
    return first


@internal
def place_again(m, s, r, t):
    """Dispatches a list of requests again, in order."""
    while r >= 0:
        following = s.request_next[r]
        place(m, s, r, t, AGAIN)
        r = following


@internal
def reconcile(m, s, t):
    """Works towards the wanted counts (`docs/simulator.md`, Reconciling, steps 1 to 5)."""
    n_kinds = m.kind_servers.shape[0]
    if RESIZE:
        resize_in_place(m, s, t)
    for k in range(n_kinds):
        live = s.kind_pending[k] + s.kind_ready[k]
        for _ in range(live, s.kind_wanted[k]):
            create(m, s, k, t)
        while live > s.kind_wanted[k] and s.kind_pending[k] > 0:
            gone(m, s, newest(s, k, st.PENDING), t)
            live -= 1
    for k in range(n_kinds):
        surplus = s.kind_ready[k] + s.kind_pending[k] - s.kind_wanted[k]
        if surplus > 0 and not successor_pending(m, s, k):
            for _ in range(surplus):
                slot = least_loaded(s, k)
                if slot >= 0:
                    drain(m, s, slot, t)
    for z in range(s.route_count.shape[0]):
        routes_in_force(s, z)
    if not EARLY:
        for k in range(n_kinds):
            if s.queue_waiting[k] > 0 and s.kind_pending[k] + s.kind_ready[k] == 0:
                place_again(m, s, take_queue(m, s, k), t)
    for slot in range(s.whole[st.HIGH]):
        gone_if_done(m, s, slot, t)


@internal
def resize_in_place(m, s, t):
    """Ready surplus replicas become replicas of a wanted kind that differs only in cores."""
    n_kinds = m.kind_servers.shape[0]
    for j in range(n_kinds):
        for k in range(n_kinds):
            if j == k or m.kind_resize_group[j] != m.kind_resize_group[k]:
                continue
            while s.kind_pending[k] + s.kind_ready[k] < s.kind_wanted[k] and s.kind_ready[j] > s.kind_wanted[j]:
                slot = least_loaded(s, j)
                start_resize(m, s, slot, j, k, t)


@internal
def start_resize(m, s, slot, j, k, t):
    """A replica of kind j counts as one of kind k at once, and has k's servers after the delay."""
    account(m, s, slot, t)
    count_ready(m, s, j, -1)
    count_ready(m, s, k, 1)
    if not EARLY:
        if s.replica_broken[slot] == 0:
            s.queue_idle[j] -= s.replica_idle[slot]
            s.queue_idle[k] += s.replica_idle[slot]
            s.queue_lowest[k] = min(s.queue_lowest[k], slot)
        touch(s, k)
    else:
        touch(s, slot)
    s.replica_kind[slot] = k
    s.replica_resized_at[slot] = t + m.constants[st.RESIZE_S]
    set_due(s, slot)
    s.clock[st.CHANGE_LOAD] = max(s.clock[st.CHANGE_LOAD], m.constants[st.RESIZE_S])


@internal
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
        line = slot * s.idle.shape[1] + server
        s.expected[line, :] = t
        if s.server_occupied[line] == 0:
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
            s.queue_idle[k] += kept - idle
            s.queue_lowest[k] = min(s.queue_lowest[k], slot)
    set_due(s, slot)
    touch(s, q)


@internal
def load_done(m, s, slot, t):
    """The end of a load: ready, or failed."""
    u = uniform(draw(s.replica_key[1], s.replica_id[slot], 0))
    if u < m.constants[st.LOAD_FAILURE_RATIO]:
        gone(m, s, slot, t)
    else:
        become_ready(m, s, slot, t)
    reconcile(m, s, t)


@internal
def breaks(m, s, slot, t):
    """A replica fails: its servers do nothing from now on; nobody knows yet."""
    if not EARLY and s.replica_status[slot] == st.READY:
        s.queue_idle[s.replica_kind[slot]] -= s.replica_idle[slot]
    s.replica_broken[slot] = 1
    silence(s, slot)
    s.replica_turns_at[slot] = t + m.constants[st.DETECTION]
    set_due(s, slot)


@internal
def detected(m, s, slot, t):
    """A failure is noticed: the replica is gone, its requests fail or are placed again."""
    width = s.idle.shape[1]
    first = -1
    last = -1
    for line in range(slot * width, (slot + 1) * width):
        r = s.server_first[line]
        while r >= 0:
            if first < 0:
                first = r
            else:
                s.request_next[last] = r
            last = r
            r = s.request_next[r]
        s.server_first[line] = -1
    if EARLY:
        r = take_queue(m, s, slot)
        if first < 0:
            first = r
        else:
            s.request_next[last] = r
    gone(m, s, slot, t)
    reconcile(m, s, t)
    if m.choices[st.REQUEUE]:
        place_again(m, s, first, t)
    else:
        while first >= 0:
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


@entry
def take_effect(m, s, t):
    """The next deployment is in force."""
    set_clock(s.tree_time, s.tree_node, deployment_leaf(s), np.inf)
    for k in range(s.kind_wanted.shape[0]):
        s.kind_wanted[k] = s.kind_next_wanted[k]
    for i in np.ndindex(s.leave.shape[1:]):
        s.leave[0][i] = s.leave[1][i]
    for z in range(s.route_count.shape[0]):
        copy_routes(s, z, st.NEXT_ROUTES, st.WAITING_ROUTES)
        s.route_count[z, st.ROUTES_WAIT] = 1
        if s.route_count[z, st.WAITING_ROUTES] == 0:
            s.route_count[z, st.IN_FORCE] = 0
    reconcile(m, s, t)


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


@entry
def count_waiting(m, s, by_service, by_kind):
    """Waiting requests of each service (Z,) and of each kind (K,), counted now."""
    by_service[:] = 0
    by_kind[:] = 0
    n_lanes = s.lane_head.shape[0] // s.queue_waiting.shape[0]
    for q in range(s.queue_waiting.shape[0]):
        if s.queue_waiting[q] == 0:
            continue
        by_kind[s.replica_kind[q] if EARLY else q] += s.queue_waiting[q]
        for lane in range(q * n_lanes, (q + 1) * n_lanes):
            r = s.lane_head[lane]
            for _ in range(s.lane_count[lane]):
                by_service[m.chain[s.request_app[r], s.request_stage[r]]] += 1
                r = s.request_next[r]


@entry
def give_up(m, s, t):
    """Everything still in the system fails, at the end of an episode."""
    for q in range(s.queue_waiting.shape[0]):
        r = take_queue(m, s, q)
        while r >= 0:
            following = s.request_next[r]
            settle_unanswered(s, r, t, st.FAILED)
            r = following
    for line in range(s.server_first.shape[0]):
        r = s.server_first[line]
        while r >= 0:
            following = s.request_next[r]
            settle_unanswered(s, r, t, st.FAILED)
            r = following
        s.server_first[line] = -1
