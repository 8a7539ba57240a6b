"""Idle replicas of each queue with late binding, as bits: ready, not broken, of the queue's kind, with an idle server."""

import numpy as np

from envs.kernel.compiled import inlined, trailing_zeros
from envs.state import NONE, WORD

ONE = np.uint64(1)


@inlined
def bit_of(slot):
    """A slot's bit in its word."""
    return ONE << np.uint64(np.uint32(slot) % WORD)


@inlined
def add_idle(s, q, slot):
    """The slot can take the queue's next batch."""
    s.queue_idle[q, np.uint32(slot) // WORD] |= bit_of(slot)


@inlined
def remove_idle(s, q, slot):
    """It cannot any more."""
    s.queue_idle[q, np.uint32(slot) // WORD] &= ~bit_of(slot)


@inlined
def lowest_idle(s, q):
    """The lowest slot that can take the queue's next batch, NONE where there is none."""
    for i in range(s.queue_idle.shape[1]):
        word = np.uint32(i)
        bits = s.queue_idle[q, word]
        if bits != 0:
            return word * WORD + np.uint32(trailing_zeros(bits))
    return NONE
