"""Tensors over gRPC, both ways: raw bytes beside the inputs, or contents typed by their datatype."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from runtime.gateway import grpc_predict_v2_pb2 as pb
from runtime.gateway.tensors import DTYPES, Given, ProtocolError, check_wanted, judged, to_bytes, within
from runtime.models.model import TensorSpec
from runtime.serving.replica import Tensors

CONTENTS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents",
}  # fmt: skip  (FP16 has none)
CARRIED = {"int_contents": np.dtype(np.int32), "uint_contents": np.dtype(np.uint32)}  # wider than what they may be for


def read_request(request: pb.ModelInferRequest, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Tensors:
    """The tensors of a request, in the order of the model's inputs.

    Args:
        request: what came.
        inputs: of the model; empty where they are not known yet: then tensors are taken as they come.
        outputs: of the model, or empty.

    Raises:
        ProtocolError: what does not fit.
    """
    check_wanted([output.name for output in request.outputs], outputs)
    raw = request.raw_input_contents
    if not raw:
        return judged([Given(t.name, t.datatype, t.shape, partial(_values, t.contents, t.datatype)) for t in request.inputs],
                      inputs)
    if len(raw) != len(request.inputs):
        raise ProtocolError(f"{len(raw)} parts in raw_input_contents; there are {len(request.inputs)} inputs")
    for tensor in request.inputs:
        if tensor.HasField("contents"):
            raise ProtocolError(f"input '{tensor.name}' has contents; with raw_input_contents no input may")
    return judged([Given(t.name, t.datatype, t.shape, data) for t, data in zip(request.inputs, raw)], inputs)


def write_answer(response: pb.ModelInferResponse, outputs: Sequence[TensorSpec], answer: Tensors,
                 request: pb.ModelInferRequest) -> None:
    """Adds an answer's tensors, in the form that the request's had; raw where one of them has no other form.

    Args:
        response: to be completed.
        outputs: of the model, one for each tensor of the answer.
        answer: tensors.
        request: which of them are wanted.
    """
    names = {output.name for output in request.outputs}
    wanted = [(spec, tensor) for spec, tensor in zip(outputs, answer) if not names or spec.name in names]
    raw = bool(request.raw_input_contents) or any(spec.datatype not in CONTENTS for spec, _ in wanted)
    for spec, tensor in wanted:
        row = response.outputs.add(name=spec.name, datatype=spec.datatype, shape=tensor.shape)
        if raw:
            response.raw_output_contents.append(to_bytes(tensor, spec.datatype))
        else:
            getattr(row.contents, CONTENTS[spec.datatype]).extend(tensor.astype(DTYPES[spec.datatype], copy=False).flat)


def _values(contents: pb.InferTensorContents, datatype: str, dtype: np.dtype) -> np.ndarray:
    if datatype not in CONTENTS:
        raise ValueError(f"{datatype} has no typed contents; send it in raw_input_contents")
    field = CONTENTS[datatype]
    for other, _ in contents.ListFields():
        if other.name != field:
            raise ValueError(f"it is in {other.name}; for {datatype} that is {field}")
    values: np.ndarray = np.array(getattr(contents, field), CARRIED.get(field, dtype))
    if values.size and field in CARRIED and not within(values, dtype):
        raise ValueError(f"a number beyond {dtype}")
    return values.astype(dtype, copy=False)
