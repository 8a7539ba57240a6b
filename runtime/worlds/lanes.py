"""Lanes: what goes from one member to another under one tag, in order.

A plain lane carries tensors of one dtype and size, which the receiver tells the sender over the control link with its first
`recv`. The sender needs no message for that later on, and can refuse what would not fit before anything is on the wire.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import torch

from .fate import TensorMismatch


@dataclass(frozen=True, slots=True)
class Form:
    """What a lane carries: dtype and number of elements."""

    dtype: torch.dtype
    numel: int

    @classmethod
    def of(cls, tensor: torch.Tensor) -> Form:
        """The form of a tensor."""
        return cls(tensor.dtype, tensor.numel())

    @classmethod
    def decode(cls, note: bytes) -> Form:
        """From a note on the board."""
        name, numel = json.loads(note)
        return cls(getattr(torch, name), numel)

    def encode(self) -> bytes:
        """As a note for the board."""
        return json.dumps([str(self.dtype).removeprefix("torch."), self.numel]).encode()

    def __str__(self) -> str:
        return f"{self.numel} x {str(self.dtype).removeprefix('torch.')}"


ANYTHING = Form(torch.uint8, 0)


class Lane:
    """One direction, one peer, one tag; one operation at a time.

    Attributes:
        peer: the other member; None for collectives.
        busy: an operation is under way.
        passed: how many tensors or messages have passed.
        form: what a plain lane carries.
        start: starts a transfer on a plain lane; sends or receives a message on a lane of messages.
    """

    __slots__ = ("busy", "form", "lock", "passed", "peer", "start")

    def __init__(self, peer: int | None, form: Form = ANYTHING, start: Callable[..., Any] | None = None) -> None:
        self.peer, self.form = peer, form
        self.start: Callable[..., Any] = start  # type: ignore[assignment]  # the lane of collectives has none, nor uses it
        self.lock = threading.Lock()
        self.busy, self.passed = False, 0


def carries(lane: Lane, tensor: torch.Tensor, device: torch.device) -> bool:
    """Whether a tensor may go on a plain lane as it is; `refuse` says why not. Quick: it comes before every transfer."""
    form = lane.form
    return (
        tensor.dtype is form.dtype
        and tensor.numel() == form.numel
        and tensor.layout is torch.strided
        and tensor.is_contiguous()
        and tensor.device == device
        and not (tensor.is_conj() or tensor.is_neg())
    )


def refuse(lane: Lane, tensor: torch.Tensor, device: torch.device) -> NoReturn:
    """Raises `TensorMismatch` for a tensor that a lane does not carry."""
    check_layout(tensor, device)
    check_form(tensor, lane.form, f"what goes to or comes from rank {lane.peer} under this tag is")
    raise AssertionError("it does carry it")


def check_layout(tensor: torch.Tensor, device: torch.device) -> None:
    """Whether a tensor can go on the wire as it lies in memory.

    Raises:
        TensorMismatch: it is on another device, sparse, not contiguous, or its memory does not hold its values.
    """
    if tensor.device != device:
        raise TensorMismatch(f"the tensor is on {tensor.device}, the world is on {device}: move it with .to({str(device)!r})")
    if tensor.layout != torch.strided:
        raise TensorMismatch(f"the tensor is {tensor.layout}; worlds carry dense ones: use .to_dense()")
    if not tensor.is_contiguous():
        raise TensorMismatch(f"the tensor of strides {tensor.stride()} is not contiguous: use .contiguous()")
    if tensor.is_conj() or tensor.is_neg():
        raise TensorMismatch("the tensor is a view with another sign: use .resolve_conj() and .resolve_neg()")


def check_form(tensor: torch.Tensor, form: Form, who: str) -> None:
    """Whether a tensor is what a lane carries.

    Raises:
        TensorMismatch: another dtype or size.
    """
    if tensor.dtype != form.dtype or tensor.numel() != form.numel:
        raise TensorMismatch(
            f"the tensor holds {Form.of(tensor)}, {who} {form}: use another tag, or send_message() and recv_message()"
        )
