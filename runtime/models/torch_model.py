"""A `Model` whose part is an `nn.Module`: device, dtype, inference mode and checks, the same for every source of modules."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from runtime.models.model import FREE, Model, ModelError, Placement, TensorSpec

DATATYPES = {
    torch.bool: "BOOL", torch.uint8: "UINT8", torch.int8: "INT8", torch.int16: "INT16", torch.int32: "INT32",
    torch.int64: "INT64", torch.float16: "FP16", torch.bfloat16: "BF16", torch.float32: "FP32", torch.float64: "FP64",
}  # fmt: skip
"""What the Open Inference Protocol calls a dtype."""
DTYPES = {name: getattr(torch, name) for name in ("float32", "float16", "bfloat16")}
Tensors = tuple[torch.Tensor, ...]


class TorchModel(Model):
    """The base of all real models.

    Args:
        name: the variant's description.
        placement: which part, where.

    Raises:
        ModelError: a dtype or device that is not there.
    """

    def __init__(self, name: str, placement: Placement) -> None:
        if placement.dtype not in DTYPES:
            raise ModelError(f"{name}: dtype '{placement.dtype}' is not one of {', '.join(DTYPES)}")
        self.name, self.placement = name, placement
        self.device, self.dtype = _device(name, placement.device), DTYPES[placement.dtype]
        self._module: nn.Module | None = None
        self._request: Tensors = ()
        """What this part is given for one request of full size, on the CPU."""

    @abstractmethod
    def build(self) -> nn.Module:
        """Makes this part with its weights, in `dtype`; sets `inputs`, `outputs` and the request to warm up with."""

    def load(self) -> None:
        """Brings the weights of this part, and only these, onto the device."""
        self._module = self.build().eval().requires_grad_(False).to(self.device)

    def warm_up(self, batch: int) -> None:
        """Runs one made-up batch of this size, so that the first real one is not slow."""
        self.run(tuple(repeated(tensor, batch) for tensor in self._request))
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def run(self, tensors: Sequence[torch.Tensor]) -> Tensors:
        """One batch through this part."""
        if self._module is None:
            raise ModelError(f"{self.name}: not loaded; call load() first")
        self._check(tensors)
        with torch.inference_mode():
            given = [self._cast(tensor.to(self.device), self.dtype) for tensor in tensors]
            answer = as_tensors(self._module(*given), self.name)
            dtype = torch.float32 if self.placement.last else self.dtype
            return tuple([self._cast(tensor, dtype).contiguous() for tensor in answer])

    def unload(self) -> None:
        """Gives the memory back."""
        self._module = None
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    @property
    def memory_bytes(self) -> int:
        """Bytes of parameters and buffers on the device now."""
        if self._module is None:
            return 0
        held = {t.data_ptr(): t.nbytes for t in (*self._module.parameters(), *self._module.buffers())}  # tied weights once
        return sum(held.values())

    def _check(self, tensors: Sequence[torch.Tensor]) -> None:
        if len(tensors) != len(self.inputs):
            wanted = ", ".join(map(str, self.inputs))
            raise ModelError(f"{self.name}: {len(tensors)} input tensor(s) given, {len(self.inputs)} wanted: {wanted}")
        for spec, tensor in zip(self.inputs, tensors):
            datatype = DATATYPES.get(tensor.dtype, str(tensor.dtype))
            if not spec.fits(datatype, tensor.shape):
                raise ModelError(f"{self.name}: input {spec} wanted, {datatype} {list(tensor.shape)} given")
        if len({tensor.shape[0] for tensor in tensors}) > 1:
            raise ModelError(f"{self.name}: the inputs are batches of different sizes: {[t.shape[0] for t in tensors]}")

    @staticmethod
    def _cast(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        return tensor if tensor.dtype is dtype or not tensor.is_floating_point() else tensor.to(dtype)


def as_tensors(output: Any, name: str) -> Tensors:
    """What a module returned as a tuple: a tensor, a sequence of them, or the tensors of a mapping.

    Raises:
        ModelError: it is something else.
    """
    if isinstance(output, torch.Tensor):
        return (output,)
    values = list(output.values()) if isinstance(output, Mapping) else output
    if isinstance(values, (list, tuple)):
        tensors = tuple(value for value in values if isinstance(value, torch.Tensor))
        if tensors and (isinstance(output, Mapping) or len(tensors) == len(values)):
            return tensors
    raise ModelError(f"{name}: its forward returns {type(output).__name__}; return a tensor, or a tuple or dict of tensors")


def specs(names: Sequence[str], small: Tensors, large: Tensors, model: str) -> tuple[TensorSpec, ...]:
    """Specs of tensors seen twice: what differs between the two is free.

    Args:
        names: one for each tensor.
        small: of a batch of one.
        large: of a batch of two; other sizes that are free differ as well.
        model: what messages call the model.

    Raises:
        ModelError: the first dimension is not the batch, or a dtype has no datatype.
    """
    for name, one, two in zip(names, small, large):
        if one.dtype not in DATATYPES:
            raise ModelError(f"{model}: '{name}' is {one.dtype}, which the Open Inference Protocol has no name for")
        if one.ndim == 0 or two.ndim == 0 or (one.shape[0], two.shape[0]) != (1, 2):
            raise ModelError(f"{model}: '{name}' has shape {list(one.shape)} for one request and {list(two.shape)} for two; "
                             "its first dimension must be the batch")
    return tuple(TensorSpec(name, DATATYPES[one.dtype], tuple(a if a == b else FREE for a, b in zip(one.shape, two.shape)))
                 for name, one, two in zip(names, small, large))


def numbered(word: str, count: int) -> list[str]:
    """Names for tensors that have none."""
    return [word] if count == 1 else [f"{word}_{i}" for i in range(count)]


def repeated(tensor: torch.Tensor, batch: int) -> torch.Tensor:
    """A batch of the same request."""
    return tensor[:1].repeat(batch, *[1] * (tensor.ndim - 1))


def _device(name: str, device: str) -> torch.device:
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch has one for each way of not having it
        raise ModelError(f"{name}: no device '{device}' here ({str(error).splitlines()[0]}); give cpu or cuda:N") from error
