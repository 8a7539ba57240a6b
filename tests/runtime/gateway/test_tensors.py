"""Tensors are judged before anything is made of them."""

import json
from unittest import mock

import numpy as np
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runtime.gateway import json_tensors
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


NUMBER = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**65), 2**65), st.integers(-9, 9),
                   st.sampled_from([np.finfo(np.float32).max.item(), 3.4028235677973366e38, 2**53 + 1, 16777217, -0.0, 1e-46]))
ODD = st.sampled_from([True, None, "1", [1.0], {}])
SHAPES = [[1, 2], [1, 2.0], [True, 2], [2], [1, 3], [2, 1], "12", [1, 1, 2], [1, -2], [[1], 2], None]
ROW = st.fixed_dictionaries(
    {"name": st.sampled_from(["x", "x", "y", 1]), "datatype": st.sampled_from(["FP32", "FP32", "FP64", "INT32", None]),
     "shape": st.sampled_from(SHAPES), "data": st.lists(st.one_of(NUMBER, ODD), min_size=1, max_size=3)},
    optional={"parameters": st.sampled_from([{}, {"binary_data_size": 8}]), "more": st.none()})
ANY = st.fixed_dictionaries({"inputs": st.one_of(st.lists(ROW, max_size=2), ODD)},
                            optional={"id": st.sampled_from(["", "a", 1, None]), "outputs": st.just([{"name": "y"}])})


def usual(data, shape=(1, 2)):
    return {"id": "a", "inputs": [{"name": "x", "datatype": "FP32", "shape": shape, "data": data}]}


USUAL = st.builds(usual, st.lists(NUMBER, min_size=2, max_size=2) | st.lists(NUMBER | ODD, max_size=3),
                  st.sampled_from([[1, 2], *SHAPES]))


@settings(max_examples=300)
@given(USUAL | USUAL | ANY, st.sampled_from([(1, 2), (-1, 2), (-1, -1), ()]))
@example(usual([1e39, 0]), (-1, 2))
@example(usual([2**53 + 1, 1]), (-1, 2))
def test_the_short_way_of_usual_bodies_reads_what_the_general_way_reads(said, shape):
    spec = TensorSpec("x", "FP32", shape)
    try:
        body = orjson.dumps(said)
    except TypeError:  # of whole numbers beyond 64 bits
        body = json.dumps(said).encode()

    def read():
        try:
            said = read_request(body, None, [spec], [])
        except ProtocolError as error:
            return str(error)
        return said._replace(tensors=[(t.dtype, t.shape, t.tobytes()) for t in said.tensors])

    with mock.patch.object(json_tensors, "_usual", return_value=None):
        general = read()
    assert read() == general


def test_usual_bodies_go_the_short_way():
    body = b'{"id":"7","inputs":[{"name":"x","datatype":"FP32","shape":[1,3],"data":[7,0.5,-1]}]}'
    with mock.patch.object(json_tensors, "_given", side_effect=AssertionError):
        said = read_request(body, None, [TensorSpec("x", "FP32", (-1, 3))], [])
    assert said.id == "7" and said.tensors[0].tolist() == [[7.0, 0.5, -1.0]] and said.tensors[0].dtype == np.float32
