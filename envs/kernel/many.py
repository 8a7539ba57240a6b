"""Many clusters in one call: each plays the same interval, under a deployment and with arrivals of its own."""
# ruff: noqa: F821  (flags and names of earlier parts are given by `envs.kernel.specialise`)

from envs import state as st
from envs.kernel.clocks import set_clock
from envs.kernel.compiled import entry, inlined, internal
from traces.samplers import Stream, fill

DONE, SLOTS_SHORT, TIMES_SHORT, REQUESTS_SHORT = range(4)


@entry
def begin_many(m, states):
    """Starts clusters at time 0: the replicas that their next deployments want are ready, the deployments in force."""
    for e in range(states.clock.shape[0]):
        s = cluster_of(states, e)
        for k in range(s.kind_ready.shape[0]):
            for _ in range(s.kind_next_wanted[k]):
                start_ready(m, s, k, 0.0)
        take_effect(m, s, 0.0)


@inlined
def slots_needed(s, plan, e):
    """Slots that a cluster may occupy once its next deployment is in force."""
    needed = 0
    for slot in range(s.replica_kind.shape[0]):
        needed += s.replica_status[slot] != st.FREE
    for c in range(plan.levels.shape[1]):
        needed += min(plan.levels[e, c], 1) if plan.sized[c] else plan.levels[e, c]
    return needed


@inlined
def write_next(m, s, plan, e):
    """Writes a cluster's next levels and routes, and sets the clock of the deployment."""
    for k in range(s.kind_ready.shape[0]):
        s.kind_next_wanted[k] = 0
    for z in range(s.route_count.shape[0]):
        s.route_count[z, st.NEXT_ROUTES] = 0
    for c in range(plan.levels.shape[1]):
        level = plan.levels[e, c]
        if level == 0:
            continue
        k = plan.first_kind[c] + (level - 1 if plan.sized[c] else 0)
        s.kind_next_wanted[k] += 1 if plan.sized[c] else level
        for z in range(s.route_count.shape[0]):
            if plan.shares[e, z, c] > 0.0:
                n = s.route_count[z, st.NEXT_ROUTES]
                s.route_i[z, st.NEXT_ROUTES, n, 0] = k
                s.route_i[z, st.NEXT_ROUTES, n, 1] = m.serve[k, z]
                s.route_f[z, st.NEXT_ROUTES, n, 0] = plan.shares[e, z, c]
                s.route_count[z, st.NEXT_ROUTES] = n + 1
    set_clock(s.tree_time, s.tree_node, deployment_leaf(s), plan.effect_s)


@inlined
def outstanding(s):
    """Requests in the system: those that came and have not settled."""
    found = 0
    for a in range(s.app_count.shape[0]):
        found += s.app_count[a, st.OFFERED]
        for fate in range(st.GOOD, st.FAILED + 1):
            found -= s.app_count[a, fate]
    return found


@inlined
def draw_arrivals(s, loads, streams, times, counts, e, t_end):
    """Fills a cluster's arrivals up to t_end; where they have no room, its streams are left as they were.

    Returns:
        DONE, TIMES_SHORT or REQUESTS_SHORT.
    """
    room = s.request_next.shape[0] - outstanding(s)
    short = DONE
    for a in range(len(counts)):
        for i in range(streams.f.shape[2]):
            streams.f_before[a, i] = streams.f[e, a, i]
        for i in range(streams.u.shape[2]):
            streams.u_before[a, i] = streams.u[e, a, i]
    for a in range(len(counts)):
        counts[a] = fill(loads[a], Stream(streams.f[e, a], streams.u[e, a]), t_end, times[a])
        room -= counts[a]
        if counts[a] == times.shape[1]:
            short = TIMES_SHORT
    if short == DONE and room < 0:
        short = REQUESTS_SHORT
    if short != DONE:
        for a in range(len(counts)):
            for i in range(streams.f.shape[2]):
                streams.f[e, a, i] = streams.f_before[a, i]
            for i in range(streams.u.shape[2]):
                streams.u[e, a, i] = streams.u_before[a, i]
    return short


@internal
def copy_sample(m, s, sample, e):
    """Copies a cluster's counters and gauges: `envs.scrape.take_sample` for one of many."""
    count_waiting(m, s, sample.service_waiting[e], sample.kind_waiting[e])
    for a in range(s.app_count.shape[0]):
        for i in range(s.app_count.shape[1]):
            sample.app_count[e, a, i] = s.app_count[a, i]
        for i in range(s.histogram.shape[1]):
            sample.histogram[e, a, i] = s.histogram[a, i]
    for z in range(s.service_offered.shape[0]):
        sample.service_offered[e, z] = s.service_offered[z]
    for k in range(s.kind_ready.shape[0]):
        for i in range(s.kind_ns.shape[1]):
            sample.kind_ns[e, k, i] = s.kind_ns[k, i]
        sample.ready[e, k] = s.kind_ready[k]
        sample.pending[e, k] = s.kind_pending[k]
        sample.draining[e, k] = s.kind_draining[k]


@inlined
def note_loading(m, s, plan, noted, e):
    """Notes the age of each kind's oldest pending replica, each variant's last measured cold start, and the change."""
    now = s.clock[st.NOW]
    for k in range(s.kind_ready.shape[0]):
        noted.pending_age_s[e, k] = 0.0
    for slot in range(s.whole[st.HIGH]):
        if s.replica_status[slot] == st.PENDING:
            k = s.replica_kind[slot]
            noted.pending_age_s[e, k] = max(noted.pending_age_s[e, k], now - s.replica_born[slot])
    for v in range(noted.load_s.shape[1]):
        noted.load_s[e, v] = plan.load_s[v]
    for k in range(s.kind_ready.shape[0] - 1, -1, -1):
        if plan.lone_variant[k] >= 0 and s.load_seen[k] != m.kind_load_s[k]:
            noted.load_s[e, plan.lone_variant[k]] = s.load_seen[k]
    noted.change_load_s[e] = s.clock[st.CHANGE_LOAD]


@entry
def advance_many(m, states, plan, loads, streams, times, seen, truth, noted, first, t_sample, t_end):
    """Plays one interval of the clusters from `first` on.

    Args:
        m: `envs.state.Model`.
        states: `envs.state.State` of all clusters, one more leading dimension.
        plan, streams, noted: see `envs.clusters`.
        loads: a `traces.load.Load` for each application.
        times: (A, n) float64, scratch for arrival times.
        seen, truth: `envs.scrape.Sample` of all clusters, written: at `t_sample` (where it is before t_end) and at t_end.
        first: cluster to begin with.
        t_sample, t_end: seconds.

    Returns:
        The cluster that has not enough room, and what is short; (clusters, DONE) at the end. A cluster that is short has
        not been touched: make room and go on with it.
    """
    counts = streams.counts
    heads = streams.heads
    n_clusters = states.clock.shape[0]
    for e in range(first, n_clusters):
        s = cluster_of(states, e)
        if slots_needed(s, plan, e) > s.replica_kind.shape[0]:
            return e, SLOTS_SHORT
        short = draw_arrivals(s, loads, streams, times, counts, e, t_end)
        if short != DONE:
            return e, short
        heads[:] = 0
        write_next(m, s, plan, e)
        s.clock[st.CHANGE_LOAD] = 0.0
        if t_sample < t_end:
            run(m, s, times, counts, heads, t_sample)
            copy_sample(m, s, seen, e)
        run(m, s, times, counts, heads, t_end)
        copy_sample(m, s, truth, e)
        note_loading(m, s, plan, noted, e)
    return n_clusters, DONE
