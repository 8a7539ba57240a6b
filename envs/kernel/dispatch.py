"""Dispatch: where a request goes, whether it is admitted, and joining the queue (`docs/simulator.md`, Dispatch)."""
# ruff: noqa: F821  (flags and names of earlier parts are given by `envs.kernel.specialise`)

import numpy as np

from envs import state as st
from envs.kernel.compiled import inlined
from envs.rules import fewer_per_server, in_time
from envs.state import NONE

EARLY: bool
LANES: bool
CHAINS: bool
WAIT: bool
PREDICT: bool
ONE_QUEUE: bool
LIMITS: bool
SHORTEST_QUEUE, LEAST_EXPECTED_FINISH, LAST_STAGE_CLOCK = range(3)
ARRIVES, HANDED_OVER, AGAIN = st.REJECTED, st.DROPPED, st.FAILED  # how a request comes = its fate where it finds no place


@inlined
def touch(s, q):
    """Notes that a queue is to be tried."""
    if s.queue_touched[q] == 0:
        s.queue_touched[q] = 1
        s.touched[s.whole[st.TOUCHED_COUNT]] = q
        s.whole[st.TOUCHED_COUNT] += 1


@inlined
def is_open(s, k, fallback):
    """Whether a kind may get requests: a ready replica, or with late binding a pending one where no host is ready."""
    return (s.kind_pending[k] if fallback else s.kind_ready[k]) > 0


@inlined
def take_route(s, z, fallback):
    """Smooth weighted round robin over the open routes of a service in force.

    Returns:
        index of the entry taken, or NONE where no route is open.
    """
    n = s.route_count[z, 0]
    best = NONE
    total = 0.0
    for e in range(n):
        k = s.route_i[z, 0, e, 0]
        share = s.route_f[z, 0, e, 0]
        if share > 0.0 and is_open(s, k, fallback):
            s.route_f[z, 0, e, 1] += share
            total += share
            if best == NONE or s.route_f[z, 0, e, 1] > s.route_f[z, 0, best, 1]:
                best = np.uint32(e)
    if best != NONE:
        s.route_f[z, 0, best, 1] -= total
    return best


@inlined
def line_of(s, slot, server):
    """Index of a replica's server among those of all slots."""
    return np.uint32(slot * s.idle.shape[1] + server)


@inlined
def earliest_server(s, slot):
    """The server of a replica whose first stage is expected to be free first."""
    best = line_of(s, slot, 0)
    for server in range(1, s.replica_active[slot]):
        line = line_of(s, slot, server)
        if s.expected[line, 0] < s.expected[best, 0]:
            best = line
    return best


@inlined
def expected_finish(m, s, line, k, v, t, commit):
    """When a request would be answered by this server, in the expected clocks; with commit they move on."""
    x = t
    for stage in range(m.kind_stages[k]):
        x = max(x, s.expected[line, stage]) + m.work[k, v, stage]
        if commit:
            s.expected[line, stage] = x
    return x + m.constants[st.OVERHEAD]


@inlined
def pick_replica(m, s, z, routed_kind, routed_variant, t):
    """The slot that the dispatch rule chooses among the ready hosts of a service (or of one kind), lowest on ties."""
    best = NONE
    best_value = np.inf
    best_servers = 1
    best_count = 0
    rule = m.choices[st.RULE]
    for i in range(s.whole[st.HIGH]):
        slot = np.uint32(i)
        if s.replica_status[slot] != st.READY:
            continue
        k = s.replica_kind[slot]
        if routed_kind != NONE:
            if k != routed_kind:
                continue
            v = routed_variant
        else:
            v = m.serve[k, z]
            if v == NONE:
                continue
        if not PREDICT or rule == SHORTEST_QUEUE:
            servers = m.kind_servers[k]
            count = s.replica_outstanding[slot]
            if best == NONE or fewer_per_server(count, servers, best_count, best_servers):
                best = slot
                best_count = count
                best_servers = servers
        else:
            line = earliest_server(s, slot)
            if rule == LAST_STAGE_CLOCK:
                value = s.expected[line, m.kind_stages[k] - 1]
            else:
                value = expected_finish(m, s, line, k, v, t, False)
            if value < best_value or best == NONE:
                best = slot
                best_value = value
    return best


@inlined
def pick_kind(m, s, z, fallback):
    """Late binding without a route: the open host kind with the fewest waiting requests per server, lowest on ties."""
    best = NONE
    best_servers = 1
    for i in range(m.kind_servers.shape[0]):
        k = np.uint32(i)
        if m.serve[k, z] != NONE and is_open(s, k, fallback):
            servers = m.kind_servers[k] * (s.kind_pending[k] if fallback else s.kind_ready[k])
            if best == NONE or fewer_per_server(s.queue_waiting[k], servers, s.queue_waiting[best], best_servers):
                best = k
                best_servers = servers
    return best


@inlined
def joins_idle_tenant(m, s, q, tenant):
    """A tenant that had nothing waiting in a queue does not keep credit from its idle time."""
    n_variants = m.accuracy.shape[0]
    lowest = np.inf
    own = False
    for other in range(s.virtual_time.shape[1]):
        for v in range(n_variants):
            if s.lane_count[(q * s.virtual_time.shape[1] + other) * n_variants + v] > 0:
                if other == tenant:
                    own = True
                lowest = min(lowest, s.virtual_time[q, other])
                break
    if not own and lowest < np.inf:
        s.virtual_time[q, tenant] = max(s.virtual_time[q, tenant], lowest)


@inlined
def join(m, s, q, r, z, v, t):
    """Puts a request at the end of its lane."""
    lane = q
    waiting = s.queue_waiting[q]
    s.queue_waiting[q] = waiting + 1
    if WAIT or LANES:
        s.request_joined[r] = t
    if LANES:
        tenant = m.service_tenant[z]
        if s.virtual_time.shape[1] > 1:
            joins_idle_tenant(m, s, q, tenant)
        lane = np.uint32((q * s.virtual_time.shape[1] + tenant) * m.accuracy.shape[0] + v)
        s.request_sequence[r] = s.whole[st.NEXT_SEQUENCE]
        s.whole[st.NEXT_SEQUENCE] += 1
        waiting = s.lane_count[lane]
        s.lane_count[lane] = waiting + 1
    if waiting == 0:
        s.lane_head[lane] = r
    else:
        s.request_next[s.lane_tail[lane]] = r
    s.lane_tail[lane] = r


@inlined
def choose(m, s, z, t):
    """Queue and variant for a request of a service.

    Returns:
        (queue, kind, variant); queue NONE where there is no place.
    """
    q = NONE
    k = NONE
    v = NONE
    if ONE_QUEUE:
        k = m.host[z]
        v = m.serve[k, z]
        if s.kind_ready[k] + s.kind_pending[k] > 0:
            q = k
    else:
        fallback = s.service_ready[z] == 0
        if not (EARLY and fallback):
            if s.route_count[z, 0] > 0:
                e = take_route(s, z, fallback)
                if e != NONE:
                    k = s.route_i[z, 0, e, 0]
                    v = s.route_i[z, 0, e, 1]
            if EARLY:
                q = pick_replica(m, s, z, k, v, t)
                if q != NONE and k == NONE:
                    k = s.replica_kind[q]
                    v = m.serve[k, z]
            else:
                if k == NONE:
                    k = pick_kind(m, s, z, fallback)
                    if k != NONE:
                        v = m.serve[k, z]
                q = k
    return q, k, v


@inlined
def has_room(m, s, q, k):
    """Whether a queue is below its limit."""
    limit = m.kind_limit[k]
    if limit > 0 and not EARLY:
        limit *= max(1, s.kind_ready[k])
    return limit == 0 or s.queue_waiting[q] < limit


@inlined
def place(m, s, r, z, t, how):
    """Dispatches a request for service z at t: it joins a queue, or settles where there is no place for it.

    Args:
        how: ARRIVES, HANDED_OVER or AGAIN; also the fate of a request without a place.

    Returns:
        The queue, which is to be tried; NONE where there was no place.
    """
    q, k, v = choose(m, s, z, t)
    placed = q != NONE
    if placed:
        if PREDICT:
            line = earliest_server(s, q)
            if m.choices[st.DEADLINE] and how == ARRIVES:
                finish = expected_finish(m, s, line, k, v, t, False)
                placed = in_time(finish, s.request_arrival[r], m.app_slo[application(s, r)])
        if LIMITS and placed:
            placed = has_room(m, s, q, k)
        if placed:
            if PREDICT:
                expected_finish(m, s, line, k, v, t, True)
            if EARLY:
                s.replica_outstanding[q] += 1
            s.request_variant[r] = v
            join(m, s, q, r, z, v, t)
    if not placed:
        settle_unanswered(s, r, t, how)
        q = NONE
    return q


@inlined
def service_of(m, s, r):
    """The service of a request's current stage."""
    return m.chain[application(s, r), s.request_stage[r] if CHAINS else np.uint32(0)]
