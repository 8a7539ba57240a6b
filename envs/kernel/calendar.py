"""Calendars: the servers of each replica in the order of their next events, and the replica's leaf of the clock tree."""
# ruff: noqa: F821  (flags and names of earlier parts are given by `envs.kernel.specialise`)

import numpy as np

from envs.kernel.clocks import set_clock
from envs.kernel.compiled import inlined
from envs.state import NONE

PIPELINE: bool
SERVERS: bool


@inlined
def first_line(s, slot):
    """The server of a replica with the next event, NONE where there is none."""
    return s.booked_first[slot] if SERVERS else slot


@inlined
def strike(s, slot, line):
    """Takes a server out of its replica's calendar."""
    s.server_due[line] = np.inf
    if SERVERS:
        before = s.server_before[line]
        after = s.server_after[line]
        if before != NONE:
            s.server_after[before] = after
        else:
            s.booked_first[slot] = after
        if after != NONE:
            s.server_before[after] = before
        else:
            s.booked_last[slot] = before


@inlined
def book(s, slot, line, due):
    """Puts a server where it belongs in its replica's calendar, a list ordered by time, then server; at inf nowhere.

    A new batch mostly ends after those already on the way, so the list is searched from its end.
    """
    if PIPELINE and s.server_due[line] < np.inf:
        if s.server_due[line] == due:
            return
        strike(s, slot, line)
    if due < np.inf:
        s.server_due[line] = due
        if SERVERS:
            before = s.booked_last[slot]
            after = NONE
            while before != NONE and (s.server_due[before] > due or (s.server_due[before] == due and before > line)):
                after = before
                before = s.server_before[before]
            s.server_before[line] = before
            s.server_after[line] = after
            if after != NONE:
                s.server_before[after] = line
            else:
                s.booked_last[slot] = line
            if before != NONE:
                s.server_after[before] = line
            else:
                s.booked_first[slot] = line
                set_clock(s.tree_time, s.tree_node, slot, due)
        else:
            set_clock(s.tree_time, s.tree_node, slot, due)


@inlined
def set_slot_clock(s, slot):
    """Sets the clock of a replica's servers to the first in its calendar."""
    line = first_line(s, slot)
    due = np.inf
    if line != NONE:
        due = s.server_due[line]
    if s.tree_time[slot] != due:
        set_clock(s.tree_time, s.tree_node, slot, due)
