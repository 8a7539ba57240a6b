"""Tensors that both sides know, on streams: bytes go from where one lies to where the other lies, nothing beside them."""

from __future__ import annotations

import ctypes
import select
import socket
from functools import cached_property

import torch

from .streams import Streams, Way
from .traffic import Traffic, Transit


class Sender:
    """The sending end of one peer and tag; see `End`."""

    event = select.POLLOUT

    def __init__(self, traffic: Traffic, streams: Streams, peer: int, tag: int) -> None:
        self._traffic, self._streams, self._peer, self._way = traffic, streams, peer, Way("tensors", tag)

    def start(self, tensor: torch.Tensor) -> Transit:
        """See `Start`."""
        return Transit(self, tensor, bytes_of(tensor), self._traffic)

    @cached_property
    def _stream(self) -> socket.socket:
        return self._streams.to(self._peer, self._way)

    def ready(self) -> socket.socket:
        return self._stream

    def stream(self, timeout_s: float | None) -> socket.socket:
        return self._stream

    def move(self, stream: socket.socket, data: memoryview, flags: int) -> int:
        return stream.send(data, flags)


class Receiver:
    """The receiving end of one peer and tag; see `End`."""

    event = select.POLLIN

    def __init__(self, traffic: Traffic, streams: Streams, peer: int, tag: int) -> None:
        self._traffic, self._streams, self._peer, self._way = traffic, streams, peer, Way("tensors", tag)
        self._come: socket.socket | None = None

    def start(self, tensor: torch.Tensor) -> Transit:
        """See `Start`."""
        return Transit(self, tensor, bytes_of(tensor), self._traffic)

    def ready(self) -> socket.socket | None:
        self._come = self._come or self._streams.come(self._peer, self._way)
        return self._come

    def stream(self, timeout_s: float | None) -> socket.socket:
        self._come = self._come or self._streams.of(self._peer, self._way, timeout_s)
        return self._come

    def move(self, stream: socket.socket, data: memoryview, flags: int) -> int:
        return stream.recv_into(data, len(data), flags | socket.MSG_WAITALL)


def bytes_of(tensor: torch.Tensor) -> memoryview:
    """The memory of a contiguous tensor, which must live as long; one byte for an empty one, so that it arrives too."""
    size = tensor.nbytes
    return memoryview((ctypes.c_ubyte * size).from_address(tensor.data_ptr()) if size else bytearray(1))
