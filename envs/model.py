"""From a scenario to the kernel's arrays: `compile_model`, `kernel_flags`, `new_state`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from envs import state as st
from envs.contract import ReplicaKind
from envs.kernel import Flags
from envs.kernel.clocks import build_tree
from envs.randomness import CERTAINTY, FAILURE, LOAD, LOAD_FAILURE, SERVICE, gamma_table, key
from envs.rules import billionths
from envs.scenario import Application, Failures, Scenario, Variant
from envs.state import Model, Size, State

RULES = ("shortest-queue", "least-expected-finish", "last-stage-clock")


def compile_model(scenario: Scenario, kinds: Sequence[ReplicaKind]) -> Model:
    """The scenario's constants for these kinds (the candidates first, further ones after them)."""
    variants, services, tenants = list(scenario.variants), list(scenario.services), list(scenario.tenants)
    devices = [k.shape.device for k in kinds]
    n_stages = max(k.shape.inter_op for k in kinds)
    max_batch = max(k.batch for k in kinds)
    latency = np.full((len(kinds), len(variants), max_batch + 1, n_stages), np.inf)
    work = np.full((len(kinds), len(variants), n_stages), np.inf)
    serve = np.full((len(kinds), len(services)), st.NONE)
    resizes = scenario.in_place_resize_s is not None
    groups = [replace(k, shape=replace(k.shape, cores=0)) if k.shape.cores and resizes else i for i, k in enumerate(kinds)]
    for i, kind in enumerate(kinds):
        stretch = 1 + scenario.stage_overhead_ratio * kind.shape.inter_op
        for name in kind.variants:
            v = variants.index(name)
            for b in range(1, kind.batch + 1):
                row = scenario.profile.latency_s(name, kind.shape, b)
                latency[i, v, b, : len(row)] = np.array(row) * stretch
            work[i, v] = latency[i, v, kind.batch] / kind.batch
        for z, service in enumerate(scenario.services.values()):
            serve[i, z] = next((variants.index(v) for v in service.variants if v in kind.variants), st.NONE)
    hosted = np.array([[bool(set(k.variants) & set(s.variants)) for s in scenario.services.values()] for k in kinds])
    applications = list(scenario.applications.values())
    chain = np.full((len(applications), max(len(a.services) for a in applications)), st.NONE)
    for i, a in enumerate(applications):
        chain[i, : len(a.services)] = [services.index(s) for s in a.services]
    drop = scenario.admission.drop_after_s
    accuracy = np.array([v.accuracy for v in scenario.variants.values()], np.float64)
    failures = scenario.failures
    return Model(
        latency=latency,
        work=work,
        kind_device=np.array([devices.index(device) for device in devices], np.int64),
        kind_servers=np.array([k.shape.servers for k in kinds], np.int64),
        kind_stages=np.array([k.shape.inter_op for k in kinds], np.int64),
        kind_batch=np.array([k.batch for k in kinds], np.int64),
        kind_max_wait=np.array([k.max_wait_s for k in kinds], np.float64),
        kind_limit=np.array([_limit(scenario, k) for k in kinds], np.int64),
        kind_load_s=np.array([scenario.load_s(k) for k in kinds], np.float64),
        kind_resize_group=np.array([groups.index(group) for group in groups], np.int64),
        serve=serve,
        host=hosted.argmax(0).astype(np.uint32),
        successor=hosted @ hosted.T,
        app_length=np.array([len(a.services) for a in applications], np.int64),
        app_cascade=np.array([a.cascade for a in applications], np.int64),
        app_slo=np.array([a.slo_s for a in applications], np.float64),
        app_histogram_scale=np.array([st.BINS_PER_SLO / a.slo_s for a in applications], np.float64),
        chain=chain,
        service_tenant=np.array([tenants.index(s.tenant) for s in scenario.services.values()], np.uint32),
        tenant_share=np.array([t.share for t in scenario.tenants.values()], np.float64),
        tenant_quota=np.array([t.quota_rps or 0.0 for t in scenario.tenants.values()], np.float64),
        tenant_burst=np.array([t.burst for t in scenario.tenants.values()], np.float64),
        accuracy=accuracy,
        accuracy_ppb=np.array([billionths(a) for a in accuracy], np.int64),
        service_table=gamma_table(scenario.service_cv),
        load_table=_load_table(failures),
        failure_table=gamma_table(1.0),
        constants=np.array(
            [
                scenario.overhead_s,
                np.inf if drop is None else drop,
                failures.detection_s,
                failures.load_failure_ratio,
                failures.mean_time_s or np.inf,
                scenario.in_place_resize_s or 0.0,
                failures.load_slowdown,
            ],
            np.float64,
        ),
        choices=np.array(
            [
                RULES.index(scenario.dispatch),
                scenario.binding == "early" and scenario.admission.deadline,
                failures.in_flight == "requeued",
            ],
            np.int64,
        ),
    )


def _load_table(failures: Failures) -> np.ndarray:
    """Quantiles of a load time over the variants' own; read-only, as all tables of the kernel are."""
    table = gamma_table(failures.load_cv) * failures.load_factor
    table.setflags(write=False)
    return table


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
    hosts = [[v for k in kinds for v in k.variants if v in s.variants] for s in scenario.services.values()]
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
        BESIDE_LOADS=scenario.failures.load_slowdown > 1,
        ONE_QUEUE=not early and all(len(h) == 1 for h in hosts),
        SERVERS=any(k.shape.servers > 1 for k in kinds),
        APPS=len(scenario.applications) > 1,
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
    return (
        float(np.interp(threshold, at, [row.leave_ratio for row in variant.certainty])),
        float(np.interp(threshold, at, [row.accuracy for row in variant.certainty])),
    )


def new_state(model: Model, flags: Flags, seed: int, size: Size) -> State:
    """An empty cluster at time 0."""
    n_kinds, n_variants, _, n_stages = model.latency.shape
    n_apps, n_chain = model.chain.shape
    n_services, n_tenants = len(model.service_tenant), len(model.tenant_share)
    servers = int(model.kind_servers.max())
    lines = size.slots * servers
    queues = size.slots if flags.EARLY else n_kinds
    lanes = queues * n_tenants * n_variants if flags.LANES else queues
    entries = n_kinds * n_variants
    n_leaves = st.leaves(size.slots, queues)

    def zeros(*shape: int) -> np.ndarray:
        return np.zeros(shape, np.int64)

    def indices(*shape: int, fill: int | np.uint32 = 0) -> np.ndarray:
        return np.full(shape, fill, np.uint32)

    def seconds(*shape: int) -> np.ndarray:
        return np.zeros(shape, np.float64)

    whole, places = zeros(6), size.requests
    app_key, replica_key = keys(seed, n_apps)
    state = State(
        replica_status=zeros(size.slots),
        replica_kind=indices(size.slots),
        replica_id=zeros(size.slots),
        replica_outstanding=zeros(size.slots),
        replica_idle=indices(size.slots),
        replica_active=indices(size.slots),
        replica_broken=zeros(size.slots),
        replica_born=seconds(size.slots),
        replica_held_from=seconds(size.slots),
        replica_ready_from=seconds(size.slots),
        replica_turns_at=seconds(size.slots),
        replica_resized_at=seconds(size.slots),
        idle=indices(size.slots, servers),
        server_occupied=zeros(lines),
        server_first=indices(lines, fill=st.NONE),
        server_last=indices(lines),
        server_due=np.full(lines, np.inf),
        server_before=indices(lines),
        server_after=indices(lines),
        booked_first=indices(size.slots, fill=st.NONE),
        booked_last=indices(size.slots, fill=st.NONE),
        stage_clock=seconds(lines, n_stages),
        expected=seconds(lines, n_stages),
        lane_head=indices(lanes),
        lane_tail=indices(lanes),
        lane_count=zeros(lanes),
        queue_waiting=zeros(queues),
        queue_idle=np.zeros((queues, st.words(size.slots)), np.uint64),
        queue_touched=zeros(queues),
        touched=indices(queues),
        virtual_time=seconds(queues, n_tenants),
        taken=zeros(n_tenants),
        kind_wanted=zeros(n_kinds),
        kind_next_wanted=zeros(n_kinds),
        kind_pending=zeros(n_kinds),
        kind_ready=zeros(n_kinds),
        kind_draining=zeros(n_kinds),
        service_ready=zeros(n_services),
        route_i=indices(n_services, 3, entries, 2),
        route_f=seconds(n_services, 3, entries, 2),
        route_count=zeros(n_services, 4),
        leave=seconds(2, n_apps, n_chain, n_variants, 2),
        request_next=np.arange(1, places + 1, dtype=np.uint32),
        request_number=zeros(places),
        request_app=indices(places),
        request_stage=indices(places),
        request_variant=indices(places),
        request_sequence=zeros(places),
        request_arrival=seconds(places),
        request_joined=seconds(places),
        request_finish=seconds(places),
        request_accuracy=seconds(places),
        tree_time=np.full(n_leaves, np.inf),
        tree_node=np.zeros(2 * n_leaves, np.uint32),
        bucket=np.stack([model.tenant_burst, np.zeros(n_tenants)], axis=1),
        app_count=zeros(n_apps, 7),
        histogram=zeros(n_apps, st.HISTOGRAM_BINS),
        service_offered=zeros(n_services),
        kind_ns=zeros(n_kinds, 3),
        load_seen=model.kind_load_s.copy(),
        whole=whole,
        clock=seconds(2),
        app_key=app_key,
        replica_key=replica_key,
        record_i=zeros(size.records, 4),
        record_f=seconds(size.records),
    )
    build_tree(state.tree_time, state.tree_node)
    return state


def keys(seed: int, applications: int) -> tuple[np.ndarray, np.ndarray]:
    """The keys of a cluster's randomness: `State.app_key`, `State.replica_key`."""
    return (
        np.array([[key(seed, cause, a) for cause in (SERVICE, CERTAINTY)] for a in range(applications)], np.uint64),
        np.array([key(seed, cause, 0) for cause in (LOAD, LOAD_FAILURE, FAILURE)], np.uint64),
    )
