"""What comes over gRPC is judged as what comes over HTTP is, and goes back as it came."""

import json

import numpy as np
import pytest

pytest.importorskip("google.protobuf", reason="the extra grpc is not installed")

from runtime.gateway import grpc_predict_v2_pb2 as pb
from runtime.gateway import grpc_tensors, json_tensors
from runtime.gateway.tensors import DTYPES, ProtocolError
from runtime.models.model import TensorSpec

FORMS = {"BOOL": "bool_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "INT64": "int64_contents",
         "UINT64": "uint64_contents", **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
         **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents")}  # fmt: skip  (of the specification)


def values_of(datatype):
    """The extremes of a datatype."""
    dtype = np.dtype(DTYPES[datatype])
    if dtype.kind == "b":
        return np.array([[True, False, True]])
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return np.array([[limits.min, 0, limits.max]], dtype)


def asked(*, raw=None, outputs=(), **tensor):
    """A request of one input."""
    contents = {name: tensor.pop(name) for name in [*tensor] if name.endswith("_contents")}
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1], **tensor}
    row = pb.ModelInferRequest.InferInputTensor(**tensor)
    if contents or raw is None:
        row.contents.CopyFrom(pb.InferTensorContents(**contents))
    return pb.ModelInferRequest(inputs=[row], raw_input_contents=raw or [], outputs=[
        pb.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in outputs])


@pytest.mark.parametrize("datatype", DTYPES)
def test_every_datatype_raw_both_ways(datatype):
    values, spec = values_of(datatype), TensorSpec("x", datatype, (-1, 3))
    request = asked(datatype=datatype, shape=[1, 3], raw=[values.tobytes()])
    (read,) = grpc_tensors.read_request(request, [spec], [])
    assert read.dtype == values.dtype and (read == values).all()
    response = pb.ModelInferResponse()
    grpc_tensors.write_answer(response, [spec], [read], request)
    assert [*response.raw_output_contents] == [values.tobytes()] and not response.outputs[0].HasField("contents")
    assert (response.outputs[0].name, response.outputs[0].datatype, [*response.outputs[0].shape]) == ("x", datatype, [1, 3])


@pytest.mark.parametrize("datatype", FORMS)
def test_every_datatype_typed_both_ways(datatype):
    values, spec = values_of(datatype), TensorSpec("x", datatype, (-1, 3))
    request = asked(datatype=datatype, shape=[1, 3], **{FORMS[datatype]: values.ravel().tolist()})
    (read,) = grpc_tensors.read_request(request, [spec], [])
    assert read.dtype == values.dtype and (read == values).all()
    response = pb.ModelInferResponse()
    grpc_tensors.write_answer(response, [spec], [read], request)
    assert not response.raw_output_contents
    assert response.outputs[0].contents == pb.InferTensorContents(**{FORMS[datatype]: values.ravel().tolist()})


def test_half_precision_has_no_typed_form():
    half = TensorSpec("x", "FP16", (-1, 1))
    with pytest.raises(ProtocolError, match="raw_input_contents"):
        grpc_tensors.read_request(asked(datatype="FP16", fp32_contents=[1.0]), [half], [])
    response, typed = pb.ModelInferResponse(), asked(fp32_contents=[1.0])
    outputs = [TensorSpec("y", "FP32", (-1, 1)), half]
    grpc_tensors.write_answer(response, outputs, [np.ones((1, 1), np.float32), np.ones((1, 1), np.float16)], typed)
    assert [len(part) for part in response.raw_output_contents] == [4, 2]  # one must be raw, so all are
    assert not any(row.HasField("contents") for row in response.outputs)


def test_only_the_outputs_that_are_wanted():
    outputs = [TensorSpec(name, "INT64", (-1,)) for name in ("a", "b", "c")]
    response = pb.ModelInferResponse()
    request = asked(raw=[b"abcd"], outputs=["c", "a"])
    grpc_tensors.write_answer(response, outputs, [np.array([i]) for i in range(3)], request)
    assert [row.name for row in response.outputs] == ["a", "c"]
    assert [int.from_bytes(part, "little") for part in response.raw_output_contents] == [0, 2]


SPEC = [TensorSpec("x", "FP32", (-1, 1))]
WRONG = {  # over gRPC, and the same mistake over HTTP
    "name": (asked(name="z", fp32_contents=[1]), {"name": "z"}),
    "datatype": (asked(datatype="FP99"), {"datatype": "FP99"}),
    "another datatype": (asked(datatype="INT64", int64_contents=[1]), {"datatype": "INT64", "data": [1]}),
    "dimensions": (asked(shape=[1], fp32_contents=[1]), {"shape": [1]}),
    "a batch": (asked(shape=[2, 1], fp32_contents=[1, 2]), {"shape": [2, 1], "data": [1, 2]}),
    "below 0": (asked(shape=[1, -1], fp32_contents=[1]), {"shape": [1, -1]}),
    "too many values": (asked(fp32_contents=[1, 2]), {"data": [1, 2]}),
    "no values": (asked(), {"data": []}),
    "no such output": (asked(fp32_contents=[1], outputs=["y"]), {"outputs": [{"name": "y"}]}),
    "bytes": (asked(raw=[b"abc"]), {"binary": b"abc"}),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_the_same_mistake_is_told_in_the_same_words(mistake):
    request, changes = WRONG[mistake]
    row, tail = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1], **changes}, changes.get("binary", b"")
    outputs = {"outputs": row.pop("outputs")} if "outputs" in row else {}
    if row.pop("binary", None):
        row["parameters"] = {"binary_data_size": len(tail)}
    body = json.dumps({"inputs": [row], **outputs}).encode()
    with pytest.raises(ProtocolError) as over_http:
        json_tensors.read_request(body + tail, len(body), SPEC, SPEC)
    with pytest.raises(ProtocolError) as over_grpc:
        grpc_tensors.read_request(request, SPEC, SPEC)
    assert str(over_grpc.value) == str(over_http.value)


def two(first, second, raw=()):
    rows = [pb.ModelInferRequest.InferInputTensor(name=name, datatype="FP32", shape=[1, 1]) for name in (first, second)]
    return pb.ModelInferRequest(inputs=rows, raw_input_contents=raw)


@pytest.mark.parametrize("request_, says", [
    (two("x", "x", [b"abcd"] * 2), "'x' is given twice"), (two("x", "y", [b"abcd"]), "1 parts in raw_input_contents"),
    (asked(raw=[b"abcd", b"abcd"]), "there are 1 inputs"), (asked(raw=[b"abcd"], fp32_contents=[1]), "no input may"),
    (asked(fp64_contents=[1]), "it is in fp64_contents; for FP32 that is fp32_contents"),
    (asked(datatype="INT8", int_contents=[128]), "a number beyond int8"),
    (asked(datatype="UINT16", uint_contents=[70000]), "a number beyond uint16"),
    (asked(datatype="BYTES", bytes_contents=[b"a"]), "datatype BYTES; there are BOOL")])
def test_mistakes_of_this_form_only(request_, says):
    with pytest.raises(ProtocolError) as error:
        grpc_tensors.read_request(request_, [], [])
    assert says in str(error.value)
