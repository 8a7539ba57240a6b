"""Messages: several tensors whose dtypes and shapes the receiver does not know.

A message has a description (dtype and shape of each tensor) and a body (the tensors one after the other, aligned). A head
carries the description, and the body too where both fit in `HEAD_BYTES`.
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from .fate import TensorMismatch

HEAD_BYTES = 1 << 16
ALIGN = 64
MAX_TENSORS, MAX_DIMENSIONS = 256, 16
MAX_MESSAGE_BYTES = 1 << 31
DTYPES = (
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64, torch.bool),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128),
    *(torch.float8_e4m3fn, torch.float8_e5m2),
)
_CODES = {dtype: code for code, dtype in enumerate(DTYPES)}
_HEAD = struct.Struct("<IIQ")  # magic, bytes of the description, sequence number
_MAGIC = 0x71DA1


@dataclass(frozen=True, slots=True)
class Place:
    """Where one tensor lies in the body: dtype, shape, its elements and bytes, and from which byte."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    numel: int
    nbytes: int
    offset: int


@dataclass(frozen=True, slots=True)
class Layout:
    """What a message holds; equal forms give one object.

    Attributes:
        description: for the receiver.
        places: of the tensors in the body.
        body_bytes: length of the body.
        body_offset: where it starts in a head that holds it.
    """

    description: bytes
    places: tuple[Place, ...]
    body_bytes: int
    body_offset: int

    @property
    def fits_head(self) -> bool:
        """Whether head and body go out as one."""
        return self.body_offset + self.body_bytes <= HEAD_BYTES


@lru_cache(1024)
def lay_out(forms: tuple[tuple[torch.dtype, tuple[int, ...]], ...]) -> Layout:
    """The layout of a message of tensors of these dtypes and shapes; one object for equal forms.

    Raises:
        TensorMismatch: a message cannot hold them.
    """
    if len(forms) > MAX_TENSORS:
        raise TensorMismatch(f"{len(forms)} tensors in one message; at most {MAX_TENSORS} fit")
    description, places, end = b"", [], 0
    for dtype, shape in forms:
        if dtype not in _CODES or len(shape) > MAX_DIMENSIONS:
            raise TensorMismatch(f"a message cannot hold {dtype} of {len(shape)} dimensions")
        description += struct.pack(f"<BB{len(shape)}Q", _CODES[dtype], len(shape), *shape)
        numel = math.prod(shape)
        places.append(Place(dtype, shape, numel, numel * dtype.itemsize, _aligned(end)))
        end = places[-1].offset + places[-1].nbytes
    if end > MAX_MESSAGE_BYTES:
        raise TensorMismatch(f"a message of {end} bytes; at most {MAX_MESSAGE_BYTES} fit: split it")
    return Layout(description, tuple(places), end, _aligned(_HEAD.size + len(description)))


def _aligned(size: int) -> int:
    return -(-size // ALIGN) * ALIGN


@lru_cache(1024)
def read_layout(description: bytes) -> Layout:
    """The layout that a description tells of."""
    at, forms = 0, []
    while at < len(description):
        code, dimensions = struct.unpack_from("<BB", description, at)
        forms.append((DTYPES[code], struct.unpack_from(f"<{dimensions}Q", description, at + 2)))
        at += 2 + 8 * dimensions
    return lay_out(tuple(forms))


def write_head(head: np.ndarray, layout: Layout, sequence: int) -> None:
    """Write the start of a message's head: who it is, and what is in it."""
    _HEAD.pack_into(head.data, 0, _MAGIC, len(layout.description), sequence)
    head[_HEAD.size : _HEAD.size + len(layout.description)] = np.frombuffer(layout.description, np.uint8)


def read_head(head: np.ndarray, sequence: int) -> Layout:
    """The layout of a message that has arrived.

    Raises:
        RuntimeError: it is no message, or not the next one.
    """
    magic, size, number = _HEAD.unpack_from(head.data, 0)
    if magic != _MAGIC or size > HEAD_BYTES:
        raise RuntimeError("what arrived is no message: did the other side call send() on this tag?")
    if number != sequence:
        raise RuntimeError(f"message {number} arrived where {sequence} was due")
    return read_layout(head[_HEAD.size : _HEAD.size + size].tobytes())


def unpack(buffer: np.ndarray, layout: Layout, body_offset: int) -> list[torch.Tensor]:
    """The tensors of a body that starts at `body_offset`, as views that keep the buffer."""
    return [_view(buffer, place, body_offset + place.offset) for place in layout.places]


def _view(buffer: np.ndarray, place: Place, offset: int) -> torch.Tensor:
    if not place.nbytes:
        return torch.empty(place.shape, dtype=place.dtype)
    flat = torch.frombuffer(buffer, dtype=place.dtype, count=place.numel, offset=offset)
    return flat if len(place.shape) == 1 else flat.view(place.shape)


def unpack_tensor(body: torch.Tensor, place: Place) -> torch.Tensor:
    """One tensor of a body that is itself a tensor, uint8[body_bytes], as a view."""
    return body[place.offset : place.offset + place.nbytes].view(place.dtype).view(place.shape)


def pack(tensors: Sequence[torch.Tensor], layout: Layout, into: torch.Tensor) -> None:
    """Copy tensors into a body, uint8[body_bytes]."""
    for place, tensor in zip(layout.places, tensors):
        into[place.offset : place.offset + place.nbytes] = as_bytes(tensor)


def as_bytes(tensor: torch.Tensor) -> torch.Tensor:
    """A contiguous tensor as uint8[nbytes], without a copy."""
    return tensor.reshape(-1).view(torch.uint8)


class Buffer:
    """Memory for one message, in the three forms in which it is used.

    Attributes:
        memory: uint8, aligned to `ALIGN`; the tensors of a message keep it.
        data: the same, quick to compare and to write a few bytes.
        tensor: the same, to receive into.
    """

    __slots__ = ("_unused", "data", "memory", "tensor")

    def __init__(self, size: int) -> None:
        memory = np.empty(size + ALIGN, np.uint8)
        start = -memory.ctypes.data % ALIGN
        self.memory = memory[start : start + size]
        self.data, self.tensor = self.memory.data, torch.from_numpy(self.memory)
        self._unused = sys.getrefcount(self.memory)

    @property
    def unused(self) -> bool:
        """Whether no tensor of a message is in it any more."""
        return sys.getrefcount(self.memory) == self._unused


class Buffers:
    """Receive buffers that are used again once nobody holds a tensor in them.

    Fresh memory costs a page fault every 4 KB, which at 4 MB is a third of the transfer.
    """

    KEPT = 4

    def __init__(self) -> None:
        self._kept: list[Buffer] = []

    def take(self, size: int) -> Buffer:
        """A buffer of at least `size` bytes that nobody else sees."""
        for buffer in self._kept:
            if len(buffer.data) >= size and buffer.unused:
                return buffer
        buffer = Buffer(size)
        self._kept = [buffer, *self._kept[: self.KEPT - 1]]
        return buffer
