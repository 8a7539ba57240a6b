"""Tensors of the Open Inference Protocol v2, judged alike in whatever form they come."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from runtime.models.model import TensorSpec
from runtime.serving.replica import Tensors

DTYPES = {name: np.dtype(kind) for name, kind in {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64, "INT8": np.int8,
    "INT16": np.int16, "INT32": np.int32, "INT64": np.int64, "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
}.items()}  # fmt: skip
MAX_DIMENSIONS = 16  # that a message to a worker holds


class ProtocolError(ValueError):
    """A request that is not of the protocol, or not what the model takes; the text says what to change."""


class Given(NamedTuple):
    """An input as it came.

    Attributes:
        name, datatype: as the request says.
        shape: whole numbers.
        data: its bytes, or what makes its values: called with the dtype once all else is right; a ValueError, TypeError or
            OverflowError from there is the request's mistake.
    """

    name: str
    datatype: str
    shape: Sequence[int]
    data: bytes | Callable[[np.dtype], np.ndarray]


def judged(given: Sequence[Given], inputs: Sequence[TensorSpec]) -> Tensors:
    """The tensors of a request, in the order of the model's inputs.

    Args:
        given: in any order.
        inputs: of the model; empty where they are not known yet: then tensors are taken as they come.

    Raises:
        ProtocolError: see there.
    """
    by_name = {tensor.name: tensor for tensor in given}
    inputs = inputs or [TensorSpec(tensor.name, tensor.datatype, ()) for tensor in given]
    if len(by_name) != len(given) or by_name.keys() != {spec.name for spec in inputs}:
        raise ProtocolError(_mismatch([tensor.name for tensor in given], inputs))
    return tuple([_tensor(by_name[spec.name], spec) for spec in inputs])


def _mismatch(names: Sequence[str], inputs: Sequence[TensorSpec]) -> str:
    """Why inputs of these names are not the model's."""
    twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
    if twice is not None:
        return f"input '{twice}' is given twice"
    return f"inputs are {', '.join(names) or 'none'}; this model takes {', '.join(map(str, inputs))}"


def check_wanted(names: Sequence[str], outputs: Sequence[TensorSpec]) -> None:
    """Whether a model gives the outputs that a request asks for; `outputs` is empty where they are not known yet.

    Raises:
        ProtocolError: it does not.
    """
    missing = set(names) - {spec.name for spec in outputs}
    if outputs and missing:
        raise ProtocolError(f"no output '{min(missing)}'; this model gives {', '.join(map(str, outputs))}")


def within(values: np.ndarray, dtype: np.dtype) -> bool:
    """Whether a whole-number dtype holds all of these whole numbers; at least one."""
    limits = np.iinfo(dtype)
    return int(values.min()) >= limits.min and int(values.max()) <= limits.max


def to_bytes(tensor: np.ndarray, datatype: str) -> bytes:
    """Row-major, little-endian, as the binary forms have it."""
    return np.ascontiguousarray(tensor.astype(DTYPES[datatype], copy=False)).tobytes()


def _tensor(given: Given, spec: TensorSpec) -> np.ndarray:
    """One input, checked against what the model takes."""
    try:
        shape = tuple(given.shape)
        dtype, count = form_of(given.datatype, shape, spec)
        return _values(given.data, dtype, count).reshape(shape)
    except ValueError as error:  # of reshape: no values, and dimensions beyond all memory
        raise ProtocolError(f"input '{spec.name}': {error}") from error


@lru_cache(1024)
def form_of(datatype: str, shape: tuple[int, ...], spec: TensorSpec) -> tuple[np.dtype, int]:
    """The dtype of an input that says so of itself, and its number of values. What is refused is not kept.

    Args:
        datatype: as the request says.
        shape: as the request says.
        spec: what the model takes; without a shape: not known yet.

    Raises:
        ValueError: see there.
    """
    if shape and min(shape) < 0:
        raise ValueError("'shape' must be a list of whole numbers, at least 0")
    if datatype not in DTYPES:
        raise ValueError(f"datatype {datatype}; there are {', '.join(DTYPES)}")
    if spec.shape and not spec.fits(datatype, shape):
        raise ValueError(f"it is {datatype} {list(shape)}; this model takes {spec}")
    if not shape or shape[0] != 1:
        raise ValueError(f"shape {list(shape)} must begin with 1; the gateway makes the batches")
    if len(shape) > MAX_DIMENSIONS:
        raise ValueError(f"shape has {len(shape)} dimensions; at most {MAX_DIMENSIONS} are taken")
    return DTYPES[datatype], math.prod(shape)


def _values(data: bytes | Callable[[np.dtype], np.ndarray], dtype: np.dtype, count: int) -> np.ndarray:
    """So many, in one dimension."""
    if isinstance(data, bytes):
        if len(data) != count * dtype.itemsize:
            raise ValueError(f"{len(data)} bytes; so many values of this datatype have {count * dtype.itemsize}")
        return np.frombuffer(data, dtype)
    try:
        flat = data(dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"'data' does not fit: {error}") from error
    if flat.size != count:
        raise ValueError(f"{flat.size} values in 'data'; its shape says {count}")
    return flat
