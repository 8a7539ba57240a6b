"""Messages over Gloo's send and receive, where no sender may ever send more than the receiver has posted.

Usually a message looks like the one before it. Then its body alone goes out, from where it lies, in one operation. Otherwise a
head goes out, and after it the body where it does not fit in the head.

The receiver posts one buffer for either, and tells them apart by how much of it was written: around the byte at which a body
like the last one ends it has put a mark, random and known to nobody else. If just the half before the end was overwritten, it
was such a body.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.distributed import Work

from ..frames import HEAD_BYTES, Buffers, Layout, pack, read_head, unpack, write_head
from .wire import patience

_SLOT, _BODY_SLOT = 1, 2
HALF = 16  # bytes of the mark on either side of the end


class _Last:
    """What both sides remember of the last message.

    Attributes:
        layout: None at first.
        end: length of a body like the last one; 0 where such a body cannot be told from a head.
        room: bytes that the receiver posts.
    """

    def __init__(self) -> None:
        self.layout: Layout | None = None
        self.end, self.room = 0, HEAD_BYTES

    def becomes(self, layout: Layout) -> None:
        self.layout = layout
        self.end = layout.body_bytes if layout.body_bytes >= HALF else 0
        self.room = max(HEAD_BYTES, self.end + 2 * HALF)


class Outbox:
    """The sending end of one peer and tag.

    Args:
        send: starts sending uint8 data on a slot.
    """

    def __init__(self, send: Callable[[torch.Tensor, int], Work]) -> None:
        self._send, self._last, self._sequence = send, _Last(), 0
        self._head = np.zeros(HEAD_BYTES, np.uint8)

    def send(self, timeout_s: float | None, tensors: Sequence[torch.Tensor], layout: Layout) -> None:
        """Send one message; blocks until the receiver has it."""
        timeout = patience(timeout_s)
        if layout is self._last.layout and self._last.end:
            self._send(self._body(tensors, layout), _SLOT).wait(timeout)
        else:
            self._send(self._whole_head(tensors, layout), _SLOT).wait(timeout)
            if not layout.fits_head:
                self._send(self._body(tensors, layout), _BODY_SLOT).wait(timeout)
            self._last.becomes(layout)
        self._sequence += 1

    @staticmethod
    def _body(tensors: Sequence[torch.Tensor], layout: Layout) -> torch.Tensor:
        if len(tensors) == 1:
            return tensors[0]
        body = torch.empty(layout.body_bytes, dtype=torch.uint8)
        pack(tensors, layout, body)
        return body

    def _whole_head(self, tensors: Sequence[torch.Tensor], layout: Layout) -> torch.Tensor:
        """The head; of a length that the receiver cannot take for a body like the last one."""
        length, end = layout.body_offset + (layout.body_bytes if layout.fits_head else 0), self._last.end
        if end - HALF < length < end + 2 * HALF:
            length = end + 2 * HALF
        if length > len(self._head):
            self._head = np.zeros(length, np.uint8)
        write_head(self._head, layout, self._sequence)
        head = torch.from_numpy(self._head)
        if layout.fits_head:
            pack(tensors, layout, head[layout.body_offset :])
        return head[:length]


class Inbox:
    """The receiving end of one peer and tag.

    Args:
        recv: starts receiving into uint8 data from a slot.
    """

    def __init__(self, recv: Callable[[torch.Tensor, int], Work]) -> None:
        self._recv, self._last, self._sequence = recv, _Last(), 0
        self._buffers = Buffers()
        self._written, self._unwritten = os.urandom(HALF), os.urandom(HALF)
        self._mark = self._written + self._unwritten

    def recv(self, timeout_s: float | None) -> list[torch.Tensor]:
        """The next message; blocks until it is there. The tensors are views that nobody else will write to."""
        last, timeout = self._last, patience(timeout_s)
        end, buffer = last.end, self._buffers.take(last.room)
        data = buffer.data
        if end:
            data[end - HALF : end + HALF] = self._mark
        work = self._recv(buffer.tensor, _SLOT)
        tensors = unpack(buffer.memory, last.layout, 0) if end and last.layout else []  # while the data is on its way
        work.wait(timeout)
        self._sequence += 1
        if end and data[end : end + HALF] == self._unwritten and data[end - HALF : end] != self._written:
            return tensors
        del tensors
        layout = read_head(buffer.memory, self._sequence - 1)
        last.becomes(layout)
        if layout.fits_head:
            return unpack(buffer.memory, layout, layout.body_offset)
        body = self._buffers.take(last.room)
        self._recv(body.tensor[: layout.body_bytes], _BODY_SLOT).wait(timeout)
        return unpack(body.memory, layout, 0)
