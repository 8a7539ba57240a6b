"""Lanes: what goes from one member to another under one tag, in order.

A plain lane carries tensors of one dtype and size, which the receiver tells the sender over the control link with its first
`recv`. The sender needs no message for that later on, and can refuse what would not fit before anything is on the wire.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass

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


class Lane:
    """One direction, one peer, one tag; one operation at a time.

    Attributes:
        busy: an operation is under way.
        passed: how many tensors or messages have passed.
        form: of a plain lane; None of one for messages.
    """

    __slots__ = ("busy", "form", "lock", "passed", "peer")

    def __init__(self, peer: int, form: Form | None = None) -> None:
        self.peer, self.form = peer, form
        self.lock = threading.Lock()
        self.busy, self.passed = False, 0


def check_layout(tensor: torch.Tensor, device: torch.device) -> None:
    """Whether a tensor can go on the wire as it lies in memory.

    Raises:
        TensorMismatch: it is on another device, sparse, or not contiguous.
    """
    if tensor.device != device:
        raise TensorMismatch(f"the tensor is on {tensor.device}, the world is on {device}: move it with .to({str(device)!r})")
    if tensor.layout != torch.strided:
        raise TensorMismatch(f"the tensor is {tensor.layout}; worlds carry dense ones: use .to_dense()")
    if not tensor.is_contiguous():
        raise TensorMismatch(f"the tensor of strides {tensor.stride()} is not contiguous: use .contiguous()")


def check_form(tensor: torch.Tensor, form: Form, who: str) -> None:
    """Whether a tensor is what a lane carries.

    Raises:
        TensorMismatch: another dtype or size.
    """
    if tensor.dtype != form.dtype or tensor.numel() != form.numel:
        raise TensorMismatch(
            f"the tensor holds {Form.of(tensor)}, {who} {form}: use another tag, or send_message() and recv_message()"
        )
