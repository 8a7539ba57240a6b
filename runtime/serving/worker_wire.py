"""What the cluster process and its workers say to each other in a world: a head as JSON, and tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import torch

Head = dict[str, Any]
Batch = tuple[Head, list[torch.Tensor]]


def encode(head: Head, tensors: Sequence[torch.Tensor] = ()) -> list[torch.Tensor]:
    """A message for `World.send_message`."""
    return [torch.frombuffer(bytearray(orjson.dumps(head)), dtype=torch.uint8), *tensors]


def decode(message: Sequence[torch.Tensor]) -> tuple[Head, list[torch.Tensor]]:
    """Head and tensors of a message."""
    return orjson.loads(message[0].cpu().numpy().data), list(message[1:])


def encode_arrays(head: Head, arrays: Sequence[np.ndarray] = ()) -> list[np.ndarray]:
    """The same for `AsyncMessages.send`."""
    return [np.frombuffer(orjson.dumps(head), np.uint8), *arrays]


def decode_arrays(message: Sequence[np.ndarray]) -> tuple[Head, list[np.ndarray]]:
    """Head and arrays of such a message."""
    return orjson.loads(message[0].data), list(message[1:])
