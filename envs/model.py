"""From a scenario to the kernel's arrays: `compile_model`, `kernel_flags`, `new_state`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from envs import state as st
from envs.contract import ReplicaKind
from envs.kernel import Flags
from envs.kernel.clocks import build_tree
from envs.randomness import CERTAINTY, FAILURE, LOAD, LOAD_FAILURE, SERVICE, gamma_table, key
from envs.scenario import Application, Scenario, Variant
from envs.state import Model, Size, State

RULES = ("shortest-queue", "least-expected-finish", "last-stage-clock")


def compile_model(scenario: Scenario, kinds: Sequence[ReplicaKind]) -> Model:
    """The scenario's constants for these kinds (the candidates first, further ones after them)."""
    variants, services, tenants = list(scenario.variants), list(scenario.services), list(scenario.tenants)
    n_stages = max(k.shape.inter_op for k in kinds)
    max_batch = max(k.batch for k in kinds)
    latency = np.full((len(kinds), len(variants), max_batch + 1, n_stages), np.inf)
    work = np.full((len(kinds), len(variants), n_stages), np.inf)
    serve = np.full((len(kinds), len(services)), -1, np.int64)
    resizes = scenario.in_place_resize_s is not None
    groups = [(k.variants, k.batch, k.max_wait_s, k.shape.device) if k.shape.cores and resizes else i for i, k in enumerate(kinds)]
    kind_i = np.zeros((len(kinds), 5), np.int64)
    for i, kind in enumerate(kinds):
        stretch = 1 + scenario.stage_overhead_ratio * kind.shape.inter_op
        for name in kind.variants:
            v = variants.index(name)
            for b in range(1, kind.batch + 1):
                row = scenario.profile.latency_s(name, kind.shape, b)
                latency[i, v, b, : len(row)] = np.array(row) * stretch
            work[i, v] = latency[i, v, kind.batch] / kind.batch
        for z, service in enumerate(scenario.services.values()):
            serve[i, z] = next((variants.index(v) for v in service.variants if v in kind.variants), -1)
        kind_i[i] = (kind.shape.servers, kind.shape.inter_op, kind.batch, _limit(scenario, kind), groups.index(groups[i]))
    hosted = np.array([[bool(set(k.variants) & set(s.variants)) for s in scenario.services.values()] for k in kinds])
    applications = list(scenario.applications.values())
    chain = np.full((len(applications), max(len(a.services) for a in applications)), -1, np.int64)
    for i, a in enumerate(applications):
        chain[i, : len(a.services)] = [services.index(s) for s in a.services]
    drop = scenario.admission.drop_after_s
    failures = scenario.failures
    return Model(
        latency=latency,
        work=work,
        kind_i=kind_i,
        kind_f=np.array([(k.max_wait_s, scenario.load_s(k)) for k in kinds], np.float64),
        serve=serve,
        successor=hosted @ hosted.T,
        app_i=np.array([(len(a.services), a.cascade) for a in applications], np.int64),
        app_f=np.array([(a.slo_s, st.BINS_PER_SLO / a.slo_s) for a in applications], np.float64),
        chain=chain,
        service_tenant=np.array([tenants.index(s.tenant) for s in scenario.services.values()], np.int64),
        tenant_f=np.array([(t.share, t.quota_rps or 0.0, t.burst) for t in scenario.tenants.values()], np.float64),
        accuracy=np.array([v.accuracy for v in scenario.variants.values()], np.float64),
        service_table=gamma_table(scenario.service_cv),
        load_table=gamma_table(failures.load_cv),
        failure_table=gamma_table(1.0),
        constants=np.array([
            scenario.overhead_s, np.inf if drop is None else drop, failures.detection_s,
            failures.load_failure_ratio, failures.mean_time_s or np.inf, scenario.in_place_resize_s or 0.0,
        ], np.float64),
        choices=np.array([
            RULES.index(scenario.dispatch), scenario.binding == "early" and scenario.admission.deadline,
            failures.in_flight == "requeued",
        ], np.int64),
    )


def _limit(scenario: Scenario, kind: ReplicaKind) -> int:
    """Requests that may wait for one replica; 0 = any number."""
    limit_s = scenario.admission.queue_limit_s
    return 0 if limit_s is None else max(1, int(limit_s * scenario.capacity_rps(kind, kind.variants[0])))


def kernel_flags(scenario: Scenario, kinds: Sequence[ReplicaKind], record: bool) -> Flags:
    """Which features the kernel needs for this scenario."""
    early = scenario.binding == "early"
    predict = early and (scenario.admission.deadline or scenario.dispatch != "shortest-queue")
    fair = len(scenario.tenants) > 1
    drops = scenario.admission.drop_after_s is not None
    several = any(len(k.variants) > 1 and (k.batch > 1 or drops) for k in kinds)
    return Flags(
        EARLY=early,
        LANES=fair or several,
        CHAINS=any(len(a.services) > 1 for a in scenario.applications.values()),
        PIPELINE=scenario.overhead_s > 0 or any(k.shape.inter_op > 1 for k in kinds),
        NOISE=scenario.service_cv > 0,
        BATCHING=any(k.batch > 1 for k in kinds),
        WAIT=any(k.max_wait_s > 0 for k in kinds),
        DROPS=drops,
        LIMITS=scenario.admission.queue_limit_s is not None,
        QUOTAS=any(t.quota_rps for t in scenario.tenants.values()),
        PREDICT=predict,
        RESIZE=scenario.in_place_resize_s is not None,
        ONE_QUEUE=not early and len(kinds) == 1 and len(scenario.services) == 1 and len(kinds[0].variants) == 1,
        RECORD=record,
    )


def leave_table(scenario: Scenario, thresholds: dict[tuple[str, int], float], max_stages: int) -> np.ndarray:
    """(A, G, V, 2): the share that leaves a stage after each variant, and their accuracy, at these thresholds."""
    table = np.zeros((len(scenario.applications), max_stages, len(scenario.variants), 2))
    for a, (name, application) in enumerate(scenario.applications.items()):
        for stage in range(len(application.services)):
            for v, variant in enumerate(scenario.variants.values()):
                table[a, stage, v] = _leave(application, variant, thresholds.get((name, stage), 1.0))
    return table


def _leave(application: Application, variant: Variant, threshold: float) -> tuple[float, float]:
    if not (application.cascade and variant.certainty):
        return 0.0, variant.accuracy
    at = [row.threshold for row in variant.certainty]
    return (float(np.interp(threshold, at, [row.leave_ratio for row in variant.certainty])),
            float(np.interp(threshold, at, [row.accuracy for row in variant.certainty])))


def new_state(model: Model, flags: Flags, seed: int, size: Size) -> State:
    """An empty cluster at time 0."""
    n_kinds, n_variants, _, n_stages = model.latency.shape
    n_apps, n_chain = model.chain.shape
    n_services, n_tenants = len(model.service_tenant), len(model.tenant_f)
    servers = int(model.kind_i[:, st.SERVERS].max())
    lines = size.slots * servers
    queues = size.slots if flags.EARLY else n_kinds
    lanes = queues * n_tenants * n_variants if flags.LANES else queues
    entries = n_kinds * n_variants
    n_leaves = st.leaves(size.slots, servers, queues)
    ints, floats = np.int64, np.float64
    state = State(
        replica_i=np.zeros((size.slots, 7), ints),
        replica_f=np.zeros((size.slots, 6), floats),
        idle=np.zeros((size.slots, servers), ints),
        server_i=np.zeros((lines, 3), ints),
        stage_clock=np.zeros((lines, n_stages), floats),
        expected=np.zeros((lines, n_stages), floats),
        lane_i=np.zeros((lanes, 3), ints),
        queue_i=np.zeros((queues, 3), ints),
        touched=np.zeros(queues, ints),
        virtual_time=np.zeros((queues, n_tenants), floats),
        taken=np.zeros(n_tenants, ints),
        kind_count=np.zeros((n_kinds, 5), ints),
        service_ready=np.zeros(n_services, ints),
        route_i=np.zeros((n_services, 3, entries, 2), ints),
        route_f=np.zeros((n_services, 3, entries, 2), floats),
        route_count=np.zeros((n_services, 4), ints),
        leave=np.zeros((2, n_apps, n_chain, n_variants, 2), floats),
        request_i=np.zeros((size.requests, 6), ints),
        request_f=np.zeros((size.requests, 4), floats),
        tree_time=np.full(n_leaves, np.inf),
        tree_node=np.zeros(2 * n_leaves, ints),
        bucket=np.stack([model.tenant_f[:, st.BURST], np.zeros(n_tenants)], axis=1),
        app_count=np.zeros((n_apps, 7), ints),
        histogram=np.zeros((n_apps, st.HISTOGRAM_BINS), ints),
        service_offered=np.zeros(n_services, ints),
        kind_ns=np.zeros((n_kinds, 3), ints),
        load_seen=model.kind_f[:, st.LOAD_S].copy(),
        arrivals=np.zeros(n_apps, ints),
        whole=np.zeros(7, ints),
        clock=np.zeros(2, floats),
        app_key=np.array([[key(seed, c, a) for c in (SERVICE, CERTAINTY)] for a in range(n_apps)], np.uint64),
        replica_key=np.array([key(seed, c, 0) for c in (LOAD, LOAD_FAILURE, FAILURE)], np.uint64),
        record_i=np.zeros((size.records, 4), ints),
        record_f=np.zeros(size.records, floats),
    )
    state.request_i[:, st.NEXT] = np.arange(1, size.requests + 1)
    state.server_i[:, st.FIRST] = -1
    build_tree(state.tree_time, state.tree_node)
    return state


def grown(model: Model, flags: Flags, old: State, size: Size) -> State:
    """The same cluster with room for more slots, requests, records, or kinds.

    Blocks are copied to the lower corner of larger ones; new kinds come after the old ones, so no index changes.
    """
    new = new_state(model, flags, 0, size)
    slots_of = {"server_i", "stage_clock", "expected"}
    for name, target, source in zip(State._fields, new, old):
        if name in ("tree_time", "tree_node"):
            continue
        if name in slots_of:  # lines are slot by slot
            target = target.reshape(len(new.idle), new.idle.shape[1], -1)
            source = source.reshape(len(old.idle), old.idle.shape[1], -1)
        elif name == "lane_i":  # lanes are queue by queue
            target, source = target.reshape(len(new.queue_i), -1, 3), source.reshape(len(old.queue_i), -1, 3)
        corner = tuple(slice(0, n) for n in source.shape)
        target[corner] = source
    n_old, n_new = len(old.request_i), len(new.request_i)
    if n_new > n_old:  # new places go to the front of the free list, before the old ones
        new.request_i[n_old:, st.NEXT] = np.append(np.arange(n_old + 1, n_new), old.whole[st.FREE_REQUEST])
        new.whole[st.FREE_REQUEST] = n_old
    _copy_clocks(new, old)
    return new


def _copy_clocks(new: State, old: State) -> None:
    """Lays the old clocks out on the new tree: servers, timers, replicas, deployment."""
    def parts(s: State) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        lines, queues, slots = len(s.server_i), len(s.queue_i), len(s.replica_i)
        at = np.cumsum([0, lines, queues, slots, 1])
        servers, timers, replicas, deployment = (s.tree_time[i:j] for i, j in zip(at[:-1], at[1:]))
        return servers.reshape(s.idle.shape), timers, replicas, deployment

    for target, source in zip(parts(new), parts(old)):
        target[tuple(slice(0, n) for n in source.shape)] = source
    build_tree(new.tree_time, new.tree_node)
