"""Tensors are judged before anything is made of them."""

import numpy as np
import pytest

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
