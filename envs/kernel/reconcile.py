"""Reconciling: towards the replicas and routes that are wanted; deployments take effect (`docs/simulator.md`, Reconciling)."""
# ruff: noqa: F821  (flags and names of earlier parts are given by `envs.kernel.specialise`)

import numpy as np

from envs import state as st
from envs.kernel.clocks import set_clock
from envs.kernel.compiled import entry, inlined, internal

EARLY: bool
RESIZE: bool


@inlined
def deployment_leaf(s):
    """Leaf of the deployment that waits to take effect."""
    return 2 * s.replica_kind.shape[0] + s.queue_waiting.shape[0]


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


@inlined
def successor_pending(m, s, k):
    """Whether a pending replica shares a service with the kind."""
    for j in range(m.successor.shape[0]):
        if s.kind_pending[j] > 0 and m.successor[j, k]:
            return True
    return False


@inlined
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


@inlined
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


@inlined
def start_resize(m, s, slot, j, k, t):
    """A replica of kind j counts as one of kind k at once, and has k's servers after the delay."""
    account(m, s, slot, t)
    count_ready(m, s, j, -1)
    count_ready(m, s, k, 1)
    if not EARLY:
        remove_idle(s, j, slot)
        if s.replica_broken[slot] == 0 and s.replica_idle[slot] > 0:
            add_idle(s, k, slot)
        touch(s, k)
    else:
        touch(s, slot)
    s.replica_kind[slot] = k
    s.replica_resized_at[slot] = t + m.constants[st.RESIZE_S]
    set_due(s, slot)
    s.clock[st.CHANGE_LOAD] = max(s.clock[st.CHANGE_LOAD], m.constants[st.RESIZE_S])


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
