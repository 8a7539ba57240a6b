"""Settling: the fate of each request, counted once, in whole numbers."""
# ruff: noqa: F821  (flags and names of earlier parts are given by `envs.kernel.specialise`)

import numpy as np

from envs import state as st
from envs.kernel.compiled import inlined
from envs.rules import in_time

RECORD: bool
APPS: bool


@inlined
def application(s, r):
    """A request's application."""
    return s.request_app[r] if APPS else np.uint32(0)


@inlined
def free_request(s, r):
    """Gives a request's place back."""
    s.request_next[r] = s.whole[st.FREE_REQUEST]
    s.whole[st.FREE_REQUEST] = r


@inlined
def record(s, r, a, t, fate, variant):
    """Writes down one fate (only where records are kept)."""
    n = s.whole[st.RECORDED]
    s.record_i[n, 0] = a
    s.record_i[n, 1] = s.request_number[r]
    s.record_i[n, 2] = fate
    s.record_i[n, 3] = variant
    s.record_f[n] = t
    s.whole[st.RECORDED] = n + 1


@inlined
def settle_unanswered(s, r, t, fate):
    """A request that gets no answer: rejected, dropped or failed."""
    a = application(s, r)
    s.app_count[a, fate] += 1
    if RECORD:
        record(s, r, a, t, fate, -1)
    free_request(s, r)


@inlined
def settle_answered(m, s, r, t, variant, accuracy_ppb):
    """A final answer at t: good or late, with its accuracy (in billionths) and latency."""
    a = application(s, r)
    arrival = s.request_arrival[r]
    fate = st.LATE
    if in_time(t, arrival, m.app_slo[a]):
        fate = st.GOOD
        s.app_count[a, st.ACCURACY_PPB] += accuracy_ppb
    s.app_count[a, fate] += 1
    bin_ = int((t - arrival) * m.app_histogram_scale[a])
    s.histogram[a, np.uint32(min(bin_, st.HISTOGRAM_BINS - 1))] += 1
    if RECORD:
        record(s, r, a, t, fate, variant)
    free_request(s, r)
