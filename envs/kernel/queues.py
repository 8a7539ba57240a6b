"""Whole queues: emptied, placed again, counted, given up."""
# ruff: noqa: F821  (flags and names of earlier parts are given by `envs.kernel.specialise`)

import numpy as np

from envs import state as st
from envs.kernel.clocks import set_clock
from envs.kernel.compiled import entry, internal
from envs.state import NONE

EARLY: bool


@internal
def take_queue(m, s, q):
    """Takes all requests out of a queue, in the order in which they joined.

    Returns:
        the first of them, linked; NONE where there is none.
    """
    first = NONE
    last = NONE
    n_lanes = s.lane_head.shape[0] // s.queue_waiting.shape[0]
    while s.queue_waiting[q] > 0:
        oldest = -1
        for lane in range(q * n_lanes, (q + 1) * n_lanes):
            if lane_size(s, q, lane) > 0 and (
                oldest < 0 or s.request_sequence[s.lane_head[lane]] < s.request_sequence[s.lane_head[oldest]]
            ):
                oldest = lane
        r = pop(s, q, oldest)
        s.request_next[r] = NONE
        if first == NONE:
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
    while r != NONE:
        following = s.request_next[r]
        q = place(m, s, r, service_of(m, s, r), t, AGAIN)
        if q != NONE:
            touch(s, q)
        r = following


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
            for _ in range(lane_size(s, q, lane)):
                by_service[service_of(m, s, r)] += 1
                r = s.request_next[r]


@entry
def give_up(m, s, t):
    """Everything still in the system fails, at the end of an episode."""
    for q in range(s.queue_waiting.shape[0]):
        r = take_queue(m, s, q)
        while r != NONE:
            following = s.request_next[r]
            settle_unanswered(s, r, t, st.FAILED)
            r = following
    for line in range(s.server_first.shape[0]):
        r = s.server_first[line]
        while r != NONE:
            following = s.request_next[r]
            settle_unanswered(s, r, t, st.FAILED)
            r = following
        s.server_first[line] = NONE
