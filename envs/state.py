"""The arrays that the kernel works on: `Model` (a scenario's constants) and `State` (one cluster at one time).

Both are NamedTuples of arrays, so a snapshot of a cluster is a copy of its arrays. Small tables have named columns.
Dimensions: A applications, G stages of the longest chain, V services' variants, Z services, T tenants, K replica kinds,
B largest batch, S most pipeline stages, R slots, C most servers of a replica, L = R*C servers, Q queues (K with late
binding, R with early), P requests outstanding.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Model.kind_i / kind_f
SERVERS, STAGES, BATCH, LIMIT, RESIZE_GROUP = range(5)
MAX_WAIT, LOAD_S = range(2)
# Model.app_i / app_f
LENGTH, CASCADE = range(2)
SLO, HISTOGRAM_SCALE = range(2)
# Model.tenant_f
SHARE, QUOTA, BURST = range(3)
# Model.constants
OVERHEAD, DROP_AFTER, DETECTION, LOAD_FAILURE_RATIO, MEAN_TIME, RESIZE_S = range(6)
# Model.choices
RULE, DEADLINE, REQUEUE = range(3)

# State.replica_i / replica_f
STATUS, KIND, ID, OUTSTANDING, IDLE, BROKEN, ACTIVE = range(7)  # ACTIVE: servers that take batches
FREE, PENDING, READY, DRAINING = range(4)
BORN, HELD_FROM, READY_FROM, DUE, FAILS_AT, RESIZED_AT = range(6)
# State.server_i
OCCUPIED, FIRST, LAST = range(3)
# State.lane_i
HEAD, TAIL, COUNT = range(3)
# State.queue_i
WAITING, IDLE_SERVERS, TOUCHED = range(3)
# State.kind_count: columns PENDING, READY, DRAINING as above, and
WANTED, NEXT_WANTED = 0, 4
# State.request_i / request_f
NEXT, NUMBER, APP, STAGE, VARIANT, SEQUENCE = range(6)
ARRIVAL, JOINED, FINISH, ACCURACY = range(4)
# State.app_count, and fates as recorded
OFFERED, GOOD, LATE, REJECTED, DROPPED, FAILED, ACCURACY_PPB = range(7)
# State.route_i and route_f, second axis; State.route_count
IN_FORCE, WAITING_ROUTES, NEXT_ROUTES, ROUTES_WAIT = range(4)
FATES = ("", "good", "late", "rejected", "dropped", "failed")
# State.kind_ns
HELD, READY_SERVERS, BUSY = range(3)
# State.whole, State.clock
NEXT_ID, HIGH, FREE_REQUEST, IN_SYSTEM, NEXT_SEQUENCE, TOUCHED_COUNT, RECORDED = range(7)
NOW, CHANGE_LOAD = range(2)
HISTOGRAM_BINS = 512
BINS_PER_SLO = 64


class Model(NamedTuple):
    """A scenario in arrays; read-only and shared by all clusters."""

    latency: np.ndarray  # (K, V, B+1, S) seconds of a batch in each stage
    work: np.ndarray  # (K, V, S) seconds of a full batch per request
    kind_i: np.ndarray  # (K, 5)
    kind_f: np.ndarray  # (K, 2)
    serve: np.ndarray  # (K, Z) variant that the kind gives to the service without a route, -1: none
    successor: np.ndarray  # (K, K) whether two kinds share a service
    app_i: np.ndarray  # (A, 2)
    app_f: np.ndarray  # (A, 2)
    chain: np.ndarray  # (A, G) service of each stage
    service_tenant: np.ndarray  # (Z,)
    tenant_f: np.ndarray  # (T, 3); quota 0: none
    accuracy: np.ndarray  # (V,)
    service_table: np.ndarray  # (4096,)
    load_table: np.ndarray  # (4096,)
    failure_table: np.ndarray  # (4096,)
    constants: np.ndarray  # (6,)
    choices: np.ndarray  # (3,) dispatch rule, admission by deadline, requests of failed replicas placed again


class State(NamedTuple):
    """One cluster at one time (for many clusters every array has one more leading dimension)."""

    replica_i: np.ndarray  # (R, 7)
    replica_f: np.ndarray  # (R, 6)
    idle: np.ndarray  # (R, C) stack of idle servers
    server_i: np.ndarray  # (L, 3)
    stage_clock: np.ndarray  # (L, S)
    expected: np.ndarray  # (L, S)
    lane_i: np.ndarray  # (Q*T*V or Q, 3)
    queue_i: np.ndarray  # (Q, 3)
    touched: np.ndarray  # (Q,)
    virtual_time: np.ndarray  # (Q, T)
    taken: np.ndarray  # (T,) scratch while a batch fills
    kind_count: np.ndarray  # (K, 5)
    service_ready: np.ndarray  # (Z,) ready replicas that host the service
    route_i: np.ndarray  # (Z, 3, E, 2) kind and variant of each entry; in force, waiting for ready kinds, of the next deployment
    route_f: np.ndarray  # (Z, 3, E, 2) share, credit
    route_count: np.ndarray  # (Z, 4) entries in force, waiting, next; whether some wait
    leave: np.ndarray  # (2, A, G, V, 2) leave ratio and accuracy; in force, next
    request_i: np.ndarray  # (P, 6)
    request_f: np.ndarray  # (P, 4)
    tree_time: np.ndarray  # (leaves,) clocks of servers, timers, replicas, deployment
    tree_node: np.ndarray  # (2 * leaves,) winner of each subtree
    bucket: np.ndarray  # (T, 2) tokens, time
    app_count: np.ndarray  # (A, 7) since the start
    histogram: np.ndarray  # (A, 512) latencies of answers since the start
    service_offered: np.ndarray  # (Z,)
    kind_ns: np.ndarray  # (K, 3)
    load_seen: np.ndarray  # (K,) seconds that the last finished load took
    arrivals: np.ndarray  # (A,) requests so far
    whole: np.ndarray  # (7,)
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


def leaves(slots: int, servers: int, queues: int) -> int:
    """Leaves of the clock tree: servers, queue timers, replicas' own events, the deployment; a power of two."""
    return 1 << max(1, (slots * servers + queues + slots + 1 - 1).bit_length())
