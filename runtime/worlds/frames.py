"""Messages: several tensors whose dtypes and shapes the receiver does not know.

A message has a description (dtype and shape of each tensor) and a body (the tensors one after the other, aligned). On a
connection a head goes before both; it leaves the description out where that is the last message's.
"""

from __future__ import annotations

import ctypes
import math
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from .fate import TensorMismatch

ALIGN = 64
MAX_TENSORS, MAX_DIMENSIONS = 256, 16
MAX_MESSAGE_BYTES = 1 << 31
DTYPES = (
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64, torch.bool),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128),
    *(torch.float8_e4m3fn, torch.float8_e5m2),
)
_CODES = {dtype: code for code, dtype in enumerate(DTYPES)}
_UNKNOWN = {torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2}  # to numpy
NUMPY = {dtype: torch.empty(0, dtype=dtype).numpy().dtype for dtype in DTYPES if dtype not in _UNKNOWN}
COPIED_BYTES = 1 << 15  # a smaller body is copied sooner than it is shown or received in its place
HEAD = struct.Struct("<IIQ")  # magic, bytes of the description, which message it is
_MAGIC, _AS_BEFORE = 0x71DA1, 0xFFFFFFFF
_PADDING = bytes(ALIGN)
_DESCRIPTION_BYTES = MAX_TENSORS * (2 + 8 * MAX_DIMENSIONS)


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
    """

    description: bytes
    places: tuple[Place, ...]
    body_bytes: int


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
    for _, shape in forms:
        if math.prod(size or 1 for size in shape) > MAX_MESSAGE_BYTES:  # beside a 0, sizes that no tensor has
            raise TensorMismatch(f"a message cannot hold a tensor of shape {shape}")
    return Layout(description, tuple(places), end)


def _aligned(size: int) -> int:
    return -(-size // ALIGN) * ALIGN


@lru_cache(1024)
def read_layout(description: bytes) -> Layout:
    """The layout that a description tells of.

    Raises:
        RuntimeError: it is none, or one of a message that is too large.
    """
    at, forms = 0, []
    try:
        while at < len(description):
            code, dimensions = struct.unpack_from("<BB", description, at)
            forms.append((DTYPES[code], struct.unpack_from(f"<{dimensions}Q", description, at + 2)))
            at += 2 + 8 * dimensions
        return lay_out(tuple(forms))
    except (struct.error, IndexError, TensorMismatch) as error:
        raise RuntimeError(f"what arrived is no message ({error})") from None


def head_of(layout: Layout, last: Layout | None, number: int) -> bytes:
    """What goes before the body of the `number`-th message on a connection: head and, where it is not the last one's, the
    description.
    """
    if layout is last:
        return HEAD.pack(_MAGIC, _AS_BEFORE, number)
    return HEAD.pack(_MAGIC, len(layout.description), number) + layout.description


def read_head(head: bytes | bytearray | memoryview, number: int) -> int | None:
    """How long the description is that follows; None: it is the last message's.

    Raises:
        RuntimeError: it is no head, or not that of the next message.
    """
    magic, size, said = HEAD.unpack_from(head)
    if magic != _MAGIC or (size > _DESCRIPTION_BYTES and size != _AS_BEFORE):
        raise RuntimeError("what arrived is no message")
    if said != number:
        raise RuntimeError(f"message {said} arrived where {number} was due")
    return None if size == _AS_BEFORE else size


def pieces(layout: Layout, tensors: Sequence[memoryview | bytes]) -> list[memoryview | bytes]:
    """The body, piece by piece: each tensor's bytes, and what aligns the next."""
    out: list[memoryview | bytes] = []
    end = 0
    for place, tensor in zip(layout.places, tensors):
        if place.offset > end:
            out.append(_PADDING[: place.offset - end])
        out.append(tensor)
        end = place.offset + place.nbytes
    return out


def unpack(buffer: np.ndarray, layout: Layout) -> list[torch.Tensor]:
    """The tensors of a body, as views that keep the buffer."""
    return [_view(buffer, place) for place in layout.places]


def _view(buffer: np.ndarray, place: Place) -> torch.Tensor:
    if not place.nbytes:
        return torch.empty(place.shape, dtype=place.dtype)
    if dtype := NUMPY.get(place.dtype):  # quicker by way of numpy
        return torch.from_numpy(np.ndarray(place.shape, dtype, buffer, place.offset))
    flat = torch.frombuffer(buffer, dtype=place.dtype, count=place.numel, offset=place.offset)
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


def body_of(tensor: torch.Tensor) -> memoryview | bytes:
    """The bytes of a contiguous tensor on the CPU; where they are few, a copy is made sooner than a view."""
    if tensor.nbytes <= COPIED_BYTES:
        return ctypes.string_at(tensor.data_ptr(), tensor.nbytes)
    return as_bytes(tensor.detach()).numpy().data


class Buffer:
    """Memory for one message, in the two forms in which it is used.

    Attributes:
        memory: uint8, aligned to `ALIGN`; the tensors of a message keep it.
        data: the same, to receive into.
    """

    __slots__ = ("_unused", "_whole", "data", "memory")

    def __init__(self, size: int) -> None:
        self._whole = np.empty(size + ALIGN, np.uint8)
        start = -self._whole.ctypes.data % ALIGN
        self.memory = self._whole[start : start + size]
        self.data = self.memory.data
        self._unused = self._users()

    def _users(self) -> int:
        """A view keeps what it was made from: torch's the memory, numpy's the whole."""
        return sys.getrefcount(self.memory) + sys.getrefcount(self._whole)

    @property
    def unused(self) -> bool:
        """Whether no tensor of a message is in it any more."""
        return self._users() == self._unused


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
