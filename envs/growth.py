"""Room for more: a running cluster's arrays, laid out anew with more slots, requests, records, or kinds."""

from __future__ import annotations

import numpy as np

from envs import state as st
from envs.kernel import Flags
from envs.kernel.clocks import build_tree
from envs.model import new_state
from envs.state import Model, Size, State


def grown(model: Model, flags: Flags, old: State, size: Size) -> State:
    """The same cluster with room for more slots, requests, records, or kinds.

    Blocks are copied to the lower corner of larger ones; new kinds come after the old ones, so no index changes.
    """
    new = new_state(model, flags, 0, size)

    def blocks(s: State, name: str) -> np.ndarray:
        """A field with its servers slot by slot, its lanes queue by queue."""
        field = getattr(s, name)
        if name.startswith("server_") or name in ("stage_clock", "expected"):
            return field.reshape(*s.idle.shape, -1)
        return field.reshape(len(s.queue_waiting), -1) if name.startswith("lane_") else field

    for name in State._fields:
        if name not in ("tree_time", "tree_node"):
            source = blocks(old, name)
            blocks(new, name)[tuple(slice(0, n) for n in source.shape)] = source
    n_old, n_new = len(old.request_next), len(new.request_next)
    if n_new > n_old:  # new places go to the front of the free list, before the old ones
        new.request_next[n_old:] = np.append(np.arange(n_old + 1, n_new), old.whole[st.FREE_REQUEST])
        new.whole[st.FREE_REQUEST] = n_old
    _copy_clocks(new, old)
    _book_again(new)
    return new


def with_pipelines(state: State) -> None:
    """Notes what only pipelines need, of batches that started when the cluster had none: when they end, and with whom."""
    for line in np.flatnonzero(state.server_due < np.inf):
        state.server_occupied[line] = 1
        state.stage_clock[line, 0] = state.server_due[line]
        r = state.server_first[line]
        while r != st.NONE:
            state.request_finish[r] = state.server_due[line]
            state.server_last[line] = r
            r = state.request_next[r]


def _book_again(state: State) -> None:
    """Makes the calendars of all replicas anew, from when their servers are due."""
    width = state.idle.shape[1]
    lines = np.flatnonzero(state.server_due < np.inf)
    order = lines[np.lexsort((lines, state.server_due[lines], lines // width))]
    ends = np.flatnonzero(np.diff(order // width, prepend=-1, append=-1))  # where another replica's begin
    before, after = np.roll(order, 1), np.roll(order, -1)
    before[ends[:-1]] = after[ends[1:] - 1] = st.NONE
    state.server_before[order], state.server_after[order] = before, after
    state.booked_first[order[ends[:-1]] // width] = order[ends[:-1]]
    state.booked_last[order[ends[1:] - 1] // width] = order[ends[1:] - 1]


def _copy_clocks(new: State, old: State) -> None:
    """Lays the old clocks out on the new tree: servers, timers, replicas, deployment."""

    def parts(s: State) -> list[np.ndarray]:
        slots, queues = len(s.replica_kind), len(s.queue_waiting)
        return np.split(s.tree_time, np.cumsum([slots, queues, slots, 1]))[:4]

    for target, source in zip(parts(new), parts(old)):
        target[: len(source)] = source
    build_tree(new.tree_time, new.tree_node)
