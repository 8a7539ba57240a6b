"""The arrays that the kernel works on: `Model` (a scenario's constants) and `State` (one cluster at one time).

Both are NamedTuples of arrays, so a snapshot of a cluster is a copy of its arrays.
Dimensions: A applications, G stages of the longest chain, V services' variants, Z services, T tenants, K replica kinds,
B largest batch, S most pipeline stages, R slots, C most servers of a replica, L = R*C servers, Q queues (K with late
binding, R with early), W words of 64 slots, P places for requests, E route entries.

What is used as an index is unsigned (uint32, `NONE` for none), which spares compiled code the test for negative indices.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Model.constants
OVERHEAD, DROP_AFTER, DETECTION, LOAD_FAILURE_RATIO, MEAN_TIME, RESIZE_S, LOAD_SLOWDOWN = range(7)
# Model.choices
RULE, DEADLINE, REQUEUE = range(3)

# State.replica_status
FREE, PENDING, READY, DRAINING = range(4)
# State.app_count, and fates as recorded
OFFERED, GOOD, LATE, REJECTED, DROPPED, FAILED, ACCURACY_PPB = range(7)
# State.route_i and route_f, second axis; State.route_count
IN_FORCE, WAITING_ROUTES, NEXT_ROUTES, ROUTES_WAIT = range(4)
FATES = ("", "good", "late", "rejected", "dropped", "failed")
# State.kind_ns
HELD, READY_SERVERS, BUSY = range(3)
# State.whole, State.clock
NEXT_ID, HIGH, FREE_REQUEST, NEXT_SEQUENCE, TOUCHED_COUNT, RECORDED = range(6)
NOW, CHANGE_LOAD = range(2)
NONE = np.uint32(0xFFFFFFFF)
WORD = np.uint32(64)  # slots that one word of `State.queue_idle` tells of
HISTOGRAM_BINS = 512
BINS_PER_SLO = 64


class Model(NamedTuple):
    """A scenario in arrays; read-only and shared by all clusters."""

    latency: np.ndarray  # (K, V, B+1, S) seconds of a batch in each stage
    work: np.ndarray  # (K, V, S) seconds of a full batch per request
    kind_device: np.ndarray  # (K,) equal where kinds share a device type
    kind_servers: np.ndarray  # (K,)
    kind_stages: np.ndarray  # (K,)
    kind_batch: np.ndarray  # (K,)
    kind_max_wait: np.ndarray  # (K,) seconds
    kind_limit: np.ndarray  # (K,) requests that may wait for one replica, 0: any number
    kind_load_s: np.ndarray  # (K,)
    kind_resize_group: np.ndarray  # (K,) equal where kinds differ only in cores and are resized in place
    serve: np.ndarray  # (K, Z) variant that the kind gives to the service without a route, NONE: none
    host: np.ndarray  # (Z,) the first kind that hosts the service
    successor: np.ndarray  # (K, K) whether two kinds share a service
    app_length: np.ndarray  # (A,) stages
    app_cascade: np.ndarray  # (A,)
    app_slo: np.ndarray  # (A,) seconds
    app_histogram_scale: np.ndarray  # (A,) bins per second
    chain: np.ndarray  # (A, G) service of each stage
    service_tenant: np.ndarray  # (Z,)
    tenant_share: np.ndarray  # (T,)
    tenant_quota: np.ndarray  # (T,) requests per second, 0: none
    tenant_burst: np.ndarray  # (T,)
    accuracy: np.ndarray  # (V,)
    accuracy_ppb: np.ndarray  # (V,) in billionths
    service_table: np.ndarray  # (4096,)
    load_table: np.ndarray  # (4096,)
    failure_table: np.ndarray  # (4096,)
    constants: np.ndarray  # (7,)
    choices: np.ndarray  # (3,) dispatch rule, admission by deadline, requests of failed replicas placed again


class State(NamedTuple):
    """One cluster at one time (for many clusters every array has one more leading dimension)."""

    replica_status: np.ndarray  # (R,) FREE, PENDING, READY or DRAINING
    replica_kind: np.ndarray  # (R,)
    replica_id: np.ndarray  # (R,)
    replica_outstanding: np.ndarray  # (R,) requests in flight, with early binding queued ones too
    replica_idle: np.ndarray  # (R,) idle servers
    replica_active: np.ndarray  # (R,) servers that take batches
    replica_broken: np.ndarray  # (R,) failed, not yet noticed
    replica_born: np.ndarray  # (R,) times in seconds: of creation,
    replica_held_from: np.ndarray  # (R,) up to which its holding time is counted,
    replica_ready_from: np.ndarray  # (R,) and its ready time,
    replica_turns_at: np.ndarray  # (R,) of the next turn of its life: ready, failed, failure noticed,
    replica_resized_at: np.ndarray  # (R,) and of the end of a resize in place
    idle: np.ndarray  # (R, C) stack of idle servers
    server_first: np.ndarray  # (L,) oldest request in flight, NONE: none
    server_due: np.ndarray  # (L,) time of its next event, inf: not in its replica's calendar
    server_before: np.ndarray  # (L,) neighbours in the calendar, NONE: none
    server_after: np.ndarray  # (L,)
    booked_first: np.ndarray  # (R,) server with the next event, NONE: none
    booked_last: np.ndarray  # (R,)
    server_occupied: np.ndarray  # (L,) pipelines: whether its first stage is not free,
    server_last: np.ndarray  # (L,) the newest request in flight,
    stage_clock: np.ndarray  # (L, S) and when each stage is free
    expected: np.ndarray  # (L, S)
    lane_head: np.ndarray  # (Q*T*V or Q,) first request of each lane
    lane_tail: np.ndarray  # (Q*T*V or Q,)
    lane_count: np.ndarray  # (Q*T*V or Q,) where a queue has several lanes
    queue_waiting: np.ndarray  # (Q,) requests in all its lanes
    queue_idle: np.ndarray  # (Q, W) with late binding: a bit for each slot whose replica can take the next batch
    queue_touched: np.ndarray  # (Q,) whether it is to be tried
    touched: np.ndarray  # (Q,)
    virtual_time: np.ndarray  # (Q, T)
    taken: np.ndarray  # (T,) scratch while a batch fills
    kind_wanted: np.ndarray  # (K,) by the deployment in force
    kind_next_wanted: np.ndarray  # (K,) by the one that waits to take effect
    kind_pending: np.ndarray  # (K,) replicas in each state
    kind_ready: np.ndarray  # (K,)
    kind_draining: np.ndarray  # (K,)
    service_ready: np.ndarray  # (Z,) ready replicas that host the service
    route_i: (
        np.ndarray
    )  # (Z, 3, E, 2) kind and variant of each entry; in force, waiting for ready kinds, of the next deployment
    route_f: np.ndarray  # (Z, 3, E, 2) share, credit
    route_count: np.ndarray  # (Z, 4) entries in force, waiting, next; whether some wait
    leave: np.ndarray  # (2, A, G, V, 2) leave ratio and accuracy; in force, next
    request_next: np.ndarray  # (P,) the next one in its lane, its server or the free list
    request_number: np.ndarray  # (P,) where it is needed: noise, cascades, records
    request_app: np.ndarray  # (P,)
    request_stage: np.ndarray  # (P,)
    request_variant: np.ndarray  # (P,)
    request_sequence: np.ndarray  # (P,) order of joining
    request_arrival: np.ndarray  # (P,) seconds
    request_joined: np.ndarray  # (P,) seconds, where batches wait or are chosen
    request_finish: np.ndarray  # (P,) seconds, in pipelines
    request_accuracy: np.ndarray  # (P,) product over the stages so far
    tree_time: np.ndarray  # (leaves,) clocks of servers, timers, replicas, deployment
    tree_node: np.ndarray  # (2 * leaves,) winner of each subtree
    bucket: np.ndarray  # (T, 2) tokens, time
    app_count: np.ndarray  # (A, 7) since the start
    histogram: np.ndarray  # (A, 512) latencies of answers since the start
    service_offered: np.ndarray  # (Z,)
    kind_ns: np.ndarray  # (K, 3)
    load_seen: np.ndarray  # (K,) seconds that the last finished load took
    whole: np.ndarray  # (6,)
    clock: np.ndarray  # (2,)
    app_key: np.ndarray  # (A, 2) keys of SERVICE and CERTAINTY
    replica_key: np.ndarray  # (3,) keys of LOAD, LOAD_FAILURE, FAILURE
    record_i: np.ndarray  # (records, 4) application, number, fate, variant
    record_f: np.ndarray  # (records,) time of settling


class Size(NamedTuple):
    """Dimensions of a state that may grow while it is in use: R, P, and places for records."""

    slots: int
    requests: int
    records: int


def leaves(slots: int, queues: int) -> int:
    """Leaves of the clock tree: servers by slot, queue timers, replicas' own events, the deployment; a power of two."""
    return 1 << (2 * slots + queues).bit_length()


def words(slots: int) -> int:
    """Words that hold a bit for each slot."""
    return -(-slots // int(WORD))
