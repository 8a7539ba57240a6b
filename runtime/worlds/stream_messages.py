"""Messages on streams: a head and a body, in as few calls of the operating system as there are parts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from socket import socket

import torch

from .frames import HEAD, Buffers, Layout, body_of, head_of, pieces, read_head, read_layout, unpack
from .streams import Streams, Way, read, write


class Outbox:
    """The sending end of one peer and tag."""

    def __init__(self, streams: Streams, peer: int, tag: int) -> None:
        self._streams, self._peer, self._way = streams, peer, Way("messages", tag)
        self._last: Layout | None = None
        self._number = 0

    @cached_property
    def _stream(self) -> socket:
        return self._streams.to(self._peer, self._way)

    def send(self, timeout_s: float | None, tensors: Sequence[torch.Tensor], layout: Layout) -> None:
        """Send one message; blocks while more is on its way than the stream holds."""
        bodies = pieces(layout, [body_of(tensor) for tensor in tensors])
        write(self._stream, [head_of(layout, self._last, self._number), *bodies], timeout_s)
        self._last = layout
        self._number += 1


class Inbox:
    """The receiving end of one peer and tag."""

    def __init__(self, streams: Streams, peer: int, tag: int) -> None:
        self._streams, self._peer, self._way = streams, peer, Way("messages", tag)
        self._stream: socket | None = None
        self._head = memoryview(bytearray(HEAD.size))
        self._last: Layout | None = None
        self._number = 0
        self._buffers = Buffers()

    def recv(self, timeout_s: float | None) -> list[torch.Tensor]:
        """The next message; blocks until it is there. The tensors are views that nobody else will write to."""
        stream = self._stream = self._stream or self._streams.of(self._peer, self._way, timeout_s)
        read(stream, self._head, timeout_s)
        size = read_head(self._head, self._number)
        if size is not None:
            description = bytearray(size)
            read(stream, memoryview(description), timeout_s)
            self._last = read_layout(bytes(description))
        layout = self._last
        if layout is None:
            raise RuntimeError("what arrived is like no message before it")
        buffer = self._buffers.take(layout.body_bytes)
        read(stream, buffer.data[: layout.body_bytes], timeout_s)
        self._number += 1
        return unpack(buffer.memory, layout)
