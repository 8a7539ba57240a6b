"""Tensors over HTTP, both ways: in JSON, and as bytes after it (the binary tensor data extension)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import orjson

from runtime.gateway.tensors import Given, ProtocolError, check_wanted, form_of, judged, to_bytes, within
from runtime.models.model import TensorSpec
from runtime.serving.replica import Tensors

_DICT, _INT = frozenset([dict]), frozenset([int])  # types of what JSON holds; a truth value is no whole number
_NUMBERS = frozenset([int, float])
_NONE: frozenset[str] = frozenset()
FEW = 256  # values, of which lists know the largest sooner than arrays do
SINGLE = float(np.finfo(np.float32).max)  # a number beyond it would silently become infinite


class InferRequest(NamedTuple):
    """What a body asks for.

    Attributes:
        id: to be echoed, "" where there is none.
        tensors: in the order of the model's inputs.
        outputs: names of those wanted, all where empty.
        binary: outputs whose data is wanted as bytes.
    """

    id: str
    tensors: Tensors
    outputs: tuple[str, ...]
    binary: frozenset[str]


def read_request(body: bytes, json_bytes: int | None, inputs: Sequence[TensorSpec],
                 outputs: Sequence[TensorSpec]) -> InferRequest:
    """Reads the body of an infer request.

    Args:
        body: JSON, and after it the bytes of binary tensors in the order of the inputs.
        json_bytes: length of the JSON (`Inference-Header-Content-Length`); None: all of the body.
        inputs: of the model; empty where they are not known yet: then tensors are taken as they come.
        outputs: of the model, or empty.

    Raises:
        ProtocolError: see there.
    """
    if json_bytes is not None and not 0 <= json_bytes <= len(body):
        raise ProtocolError(f"Inference-Header-Content-Length is {json_bytes}; the body has {len(body)} bytes")
    said = _json(body if json_bytes is None else body[:json_bytes])
    if json_bytes is None and len(inputs) == 1 and (usual := _usual(said, inputs[0])):
        return usual
    tensors = judged(_given(_objects(said, "inputs"), b"" if json_bytes is None else body[json_bytes:]), inputs)
    names, binary = _wanted(said, outputs) if "outputs" in said or "parameters" in said else ((), _NONE)
    id_ = said.get("id", "")
    if not isinstance(id_, str):
        raise ProtocolError("id must be a string")
    return InferRequest(id_, tensors, names, binary)


def _usual(said: dict[str, Any], spec: TensorSpec) -> InferRequest | None:
    """A request of the form that most have: an id, and one tensor of a few floats as the model takes it. None: any other,
    right or wrong; what is read here, the general way reads alike.
    """
    try:
        id_, (row,) = said["id"], said["inputs"]
        name, datatype, shape, data = row["name"], row["datatype"], row["shape"], row["data"]
        if len(said) > 2 or len(row) > 4 or type(id_) is not str or name != spec.name or datatype != "FP32":
            return None
        if type(shape) is not list or type(data) is not list or not _INT.issuperset(map(type, shape)):
            return None
        dtype, count = form_of(datatype, tuple(shape), spec)
    except (KeyError, TypeError, ValueError):
        return None
    if not 0 < len(data) == count <= FEW or not _NUMBERS.issuperset(map(type, data)):
        return None
    if max(data) > SINGLE or min(data) < -SINGLE:
        return None
    return InferRequest(id_, (np.array(data).astype(dtype).reshape(shape),), (), _NONE)


def _wanted(said: dict[str, Any], outputs: Sequence[TensorSpec]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Names of the outputs that are wanted, and which of them as bytes."""
    wanted = _objects(said, "outputs") if "outputs" in said else []
    names = tuple(_text(output, "name") for output in wanted)
    check_wanted(names, outputs)
    every = bool(_parameters(said).get("binary_data_output", False))
    binary = {spec.name for spec in outputs} if every and not names else set()
    binary |= {name for name, output in zip(names, wanted) if _parameters(output).get("binary_data", every)}
    return names, frozenset(binary)


def write_answer(head: dict[str, Any], outputs: Sequence[TensorSpec], answer: Tensors,
                 request: InferRequest) -> tuple[bytes, int | None]:
    """The body of an answer, and the length of its JSON where bytes follow it.

    Args:
        head: what the answer says beside its outputs.
        outputs: of the model, one for each tensor of the answer.
        answer: tensors.
        request: which of them are wanted, and how.
    """
    said, tail = [], []
    for spec, tensor in zip(outputs, answer):
        if request.outputs and spec.name not in request.outputs:
            continue
        row: dict[str, Any] = {"name": spec.name, "datatype": spec.datatype, "shape": tensor.shape}
        if spec.name in request.binary or not _finite(data := tensor.ravel().tolist(), tensor):  # JSON has no NaN, no infinity
            bytes_ = to_bytes(tensor, spec.datatype)
            row["parameters"] = {"binary_data_size": len(bytes_)}
            tail.append(bytes_)
        else:
            row["data"] = data
        said.append(row)
    json = orjson.dumps(head | {"outputs": said})
    return json + b"".join(tail), len(json) if tail else None


def _finite(values: list[Any], tensor: np.ndarray) -> bool:
    """Whether all values of a tensor are finite: as their sum is, unless that is too large."""
    return math.isfinite(sum(values)) or bool(np.isfinite(tensor).all())


def _json(text: bytes) -> dict[str, Any]:
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(f"the body is not JSON: {error}") from error
    if not isinstance(said, dict):
        raise ProtocolError("the body must be a JSON object")
    return said


def _objects(said: dict[str, Any], name: str) -> list[dict[str, Any]]:
    rows = said.get(name)
    if not isinstance(rows, list) or not _DICT.issuperset(map(type, rows)):
        raise ProtocolError(f"'{name}' must be a list of objects")
    return rows


def _text(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise ProtocolError(f"each tensor needs a '{name}', a string")
    return value


def _parameters(row: dict[str, Any]) -> dict[str, Any]:
    parameters = row.get("parameters", {})
    if not isinstance(parameters, dict):
        raise ProtocolError("'parameters' must be an object")
    return parameters


def _given(rows: list[dict[str, Any]], tail: bytes) -> list[Given]:
    """Inputs, each with its bytes where it has no data in the JSON."""
    given: list[Given] = []
    at = 0
    for row in rows:
        name, datatype, shape = _text(row, "name"), _text(row, "datatype"), row.get("shape")
        size = _parameters(row).get("binary_data_size") if "parameters" in row else None
        if not isinstance(shape, list) or not _INT.issuperset(map(type, shape)):
            raise ProtocolError(f"input '{name}': 'shape' must be a list of whole numbers, at least 0")
        if size is None:
            if not isinstance(row.get("data"), list):
                raise ProtocolError(f"input '{name}' needs 'data', a list, or 'binary_data_size' in its parameters")
            given.append(Given(name, datatype, shape, partial(_values, row["data"])))
            continue
        if type(size) is not int or not 0 <= size <= len(tail) - at:
            raise ProtocolError(f"input '{name}': binary_data_size {size}; {len(tail) - at} bytes are left after the JSON")
        given.append(Given(name, datatype, shape, tail[at : at + size]))
        at += size
    if at != len(tail):
        raise ProtocolError(f"{len(tail) - at} bytes after the JSON belong to no input")
    return given


def _values(data: list[Any], dtype: np.dtype) -> np.ndarray:
    """Data of the JSON, flat or nested, in row-major order."""
    if dtype == np.float16:
        raise ValueError("FP16 has no form in JSON; send it as binary tensor data")
    flat = np.array(data)
    if flat.ndim > 1:
        flat = flat.ravel()
    if flat.size:
        if not _takes(dtype.char, flat.dtype.char):
            raise ValueError(f"{flat.dtype} for {dtype}")
        if dtype.kind in "iu" and (flat.dtype.kind not in "iu" or not within(flat, dtype)):
            raise ValueError(f"a number beyond {dtype}")
        if dtype.char == "f" and np.maximum.reduce(np.abs(flat)) > SINGLE:
            raise ValueError(f"a number beyond {dtype}")
    return flat.astype(dtype)


@lru_cache(256)
def _takes(char: str, of_values: str) -> bool:
    """Whether values may become of a dtype; both by their characters. Rounding of floats is meant; a fraction, a truth value
    or text for a whole number is not.
    """
    dtype, values = np.dtype(char), np.dtype(of_values)
    return (dtype.kind == "u" or np.can_cast(values, dtype, "same_kind")) and (values.kind == "b") == (dtype.kind == "b")
