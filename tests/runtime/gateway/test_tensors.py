"""Tensors are judged before anything is made of them."""

import json

import numpy as np
import pytest

from runtime.gateway.json_tensors import read_request
from runtime.gateway.tensors import Given, ProtocolError, judged, to_bytes
from runtime.models.model import TensorSpec

SPECS = (TensorSpec("a", "FP32", (-1, 2)), TensorSpec("b", "UINT8", (-1,)))


def test_they_come_in_the_models_order():
    b, a = Given("b", "UINT8", [1], b"\x07"), Given("a", "FP32", [1, 2], lambda dtype: np.array([1.5, -2], dtype))
    first, second = judged([b, a], SPECS)
    assert (first.tolist(), first.dtype, second.tolist(), second.dtype) == ([[1.5, -2.0]], np.float32, [7], np.uint8)
    assert to_bytes(second, "UINT16") == b"\x07\x00"


@pytest.mark.parametrize("shape", [[1, 0, 2**62], [1, 0, 2**70], [1] * 70, [1, -1], [2, 1], []])
def test_shapes_that_no_array_has(shape):
    """Nothing is known of the model's inputs, so only the shape itself can be at fault."""
    with pytest.raises(ProtocolError, match="input 'x'"):
        judged([Given("x", "FP32", shape, b"" if 0 in shape else b"abcd")], ())


def test_values_are_made_only_of_what_is_right_so_far():
    def unasked(dtype):
        raise AssertionError("asked")

    with pytest.raises(ProtocolError, match="this model takes"):
        judged([Given("a", "FP32", [1, 2**40], unasked), Given("b", "UINT8", [1], b"\x00")], SPECS)


LARGEST = float(np.finfo(np.float32).max)


@pytest.mark.parametrize("datatype, value", [("FP32", 1e300), ("FP32", -LARGEST * 1.001), ("INT8", 128), ("UINT16", -1)])
def test_a_number_that_the_datatype_does_not_hold_is_refused_by_name(datatype, value):
    said = {"inputs": [{"name": "x", "datatype": datatype, "shape": [1, 2], "data": [0, value]}]}
    with pytest.raises(ProtocolError, match=r"input 'x': .*a number beyond"):
        read_request(json.dumps(said).encode(), None, (), ())


@pytest.mark.parametrize("datatype, value", [("FP32", LARGEST), ("FP32", -1e38), ("FP32", 1e-300), ("FP64", 1e300)])
def test_a_number_that_it_holds_stays_finite(datatype, value):
    said = {"inputs": [{"name": "x", "datatype": datatype, "shape": [1, 2], "data": [[0.5, value]]}]}
    [tensor] = read_request(json.dumps(said).encode(), None, (), ()).tensors
    assert tensor.tolist() == [[0.5, np.dtype(np.float32 if datatype == "FP32" else np.float64).type(value)]]
