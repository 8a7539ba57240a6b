"""Tensors of the Open Inference Protocol v2, both ways: in JSON, and as bytes after it (the binary tensor data extension)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson

from runtime.models.model import TensorSpec
from runtime.serving.replica import Tensors

DTYPES = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64, "INT8": np.int8,
    "INT16": np.int16, "INT32": np.int32, "INT64": np.int64, "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
}  # fmt: skip


class ProtocolError(ValueError):
    """A request that is not of the protocol, or not what the model takes; the text says what to change."""


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
    given = _binary_parts(_objects(said, "inputs"), b"" if json_bytes is None else body[json_bytes:])
    inputs = inputs or [TensorSpec(name, str(row.get("datatype")), ()) for name, (row, _) in given.items()]
    known = {spec.name: spec for spec in inputs}
    if set(given) != set(known):
        raise ProtocolError(f"inputs are {', '.join(given) or 'none'}; this model takes {', '.join(map(str, inputs))}")
    wanted = _objects(said, "outputs") if "outputs" in said else []
    names = [_text(output, "name") for output in wanted]
    missing = set(names) - {spec.name for spec in outputs}
    if outputs and missing:
        raise ProtocolError(f"no output '{min(missing)}'; this model gives {', '.join(map(str, outputs))}")
    every = bool(_parameters(said).get("binary_data_output", False))
    binary = {spec.name for spec in outputs} if every and not names else set()
    binary |= {name for name, output in zip(names, wanted) if _parameters(output).get("binary_data", every)}
    id_ = said.get("id", "")
    if not isinstance(id_, str):
        raise ProtocolError("id must be a string")
    return InferRequest(id_, tuple(_tensor(*given[spec.name], spec) for spec in inputs), tuple(names), frozenset(binary))


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
        row: dict[str, Any] = {"name": spec.name, "datatype": spec.datatype, "shape": list(tensor.shape)}
        # JSON has neither half precision nor NaN and infinity.
        if spec.name in request.binary or (tensor.dtype.kind == "f" and not np.isfinite(tensor).all()):
            data = np.ascontiguousarray(tensor.astype(DTYPES[spec.datatype], copy=False)).tobytes()
            row["parameters"] = {"binary_data_size": len(data)}
            tail.append(data)
        else:
            row["data"] = tensor.ravel().tolist()
        said.append(row)
    json = orjson.dumps(head | {"outputs": said})
    return json + b"".join(tail), len(json) if tail else None


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
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
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


def _binary_parts(rows: list[dict[str, Any]], tail: bytes) -> dict[str, tuple[dict[str, Any], bytes | None]]:
    """Inputs by name, each with its bytes where it has no data in the JSON."""
    parts: dict[str, tuple[dict[str, Any], bytes | None]] = {}
    at = 0
    for row in rows:
        name, size = _text(row, "name"), _parameters(row).get("binary_data_size")
        if name in parts:
            raise ProtocolError(f"input '{name}' is given twice")
        if size is None:
            parts[name] = row, None
            continue
        if type(size) is not int or not 0 <= size <= len(tail) - at:
            raise ProtocolError(f"input '{name}': binary_data_size {size}; {len(tail) - at} bytes are left after the JSON")
        parts[name] = row, tail[at : at + size]
        at += size
    if at != len(tail):
        raise ProtocolError(f"{len(tail) - at} bytes after the JSON belong to no input")
    return parts


def _tensor(row: dict[str, Any], data: bytes | None, spec: TensorSpec) -> np.ndarray:
    """One input, checked against what the model takes."""
    datatype, shape = _text(row, "datatype"), row.get("shape")
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise ProtocolError(f"input '{spec.name}': 'shape' must be a list of whole numbers, at least 0")
    if datatype not in DTYPES:
        raise ProtocolError(f"input '{spec.name}': datatype {datatype}; there are {', '.join(DTYPES)}")
    if spec.shape and not spec.fits(datatype, shape):
        raise ProtocolError(f"input '{spec.name}' is {datatype} {shape}; this model takes {spec}")
    if not shape or shape[0] != 1:
        raise ProtocolError(f"input '{spec.name}' has shape {shape}: it must begin with 1; the gateway makes the batches")
    dtype, count = np.dtype(DTYPES[datatype]), math.prod(shape)
    if data is not None:
        if len(data) != count * dtype.itemsize:
            raise ProtocolError(f"input '{spec.name}': {len(data)} bytes; {datatype} {shape} has {count * dtype.itemsize}")
        return np.frombuffer(data, dtype).reshape(shape)
    return _from_json(row.get("data"), dtype, count, spec.name).reshape(shape)


def _from_json(data: Any, dtype: np.dtype, count: int, name: str) -> np.ndarray:
    """Data of the JSON, flat or nested, in row-major order."""
    if not isinstance(data, list):
        raise ProtocolError(f"input '{name}' needs 'data', a list, or 'binary_data_size' in its parameters")
    if dtype == np.float16:
        raise ProtocolError(f"input '{name}': FP16 has no form in JSON; send it as binary tensor data")
    try:
        values = np.array(data)
        # Rounding of floats is meant; a fraction, a truth value or text for a whole number is not.
        if values.size and not np.can_cast(values.dtype, dtype, "same_kind" if dtype.kind != "u" else "unsafe"):
            raise ValueError(f"{values.dtype} for {dtype}")
        if values.size and (values.dtype.kind == "b") != (dtype.kind == "b"):
            raise ValueError(f"{values.dtype} for {dtype}")
        flat = values.ravel()
        if dtype.kind in "iu" and values.size and (flat.dtype.kind not in "iu" or not _within(flat, dtype)):
            raise ValueError(f"a number beyond {dtype}")
        flat = flat.astype(dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise ProtocolError(f"input '{name}': 'data' does not fit: {error}") from error
    if flat.size != count:
        raise ProtocolError(f"input '{name}': {flat.size} values in 'data'; its shape says {count}")
    return flat


def _within(values: np.ndarray, dtype: np.dtype) -> bool:
    limits = np.iinfo(dtype)
    return int(values.min()) >= limits.min and int(values.max()) <= limits.max
