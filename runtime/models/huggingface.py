"""Hugging Face models from the disk, by ``hf:PATH``: a folder with weights, or a config.json alone (weights by seed).

Needs `pip install transformers` (the extra `hf`). Nothing is downloaded and no code of the folder is run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from runtime.models.model import ModelError, Placement
from runtime.models.torch_model import TorchModel, as_tensors, specs

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
TOKENS = 16


class HuggingFaceModel(TorchModel):
    """A model of `transformers` whose input is tokens, a picture or sound.

    Its class is what the config's `architectures` says, else `AutoModel`.

    Args:
        path: a folder, or a config file.
        placement: where; one stage, one rank.
        seed: of the weights, where the folder has none.

    Raises:
        ModelError: nothing usable at the path, more than one stage or rank, or transformers is not installed.
    """

    def __init__(self, path: str | Path, placement: Placement, *, seed: int = 0) -> None:
        super().__init__(f"hf:{path}", placement)
        if placement.inter_op * placement.intra_op > 1:
            raise ModelError(f"{self.name}: it runs whole; use inter_op 1 and intra_op 1")
        self.path, self.seed = Path(path), seed
        file = self.path / CONFIG if self.path.is_dir() else self.path
        if not file.is_file():
            raise ModelError(f"{self.name}: no {CONFIG} there; give a folder that save_pretrained wrote, or a config file")
        try:
            self._settings = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ModelError(f"{self.name}: {file.name} is not JSON ({error})") from error
        if not isinstance(self._settings, dict) or "model_type" not in self._settings:
            raise ModelError(f"{self.name}: {file.name} has no 'model_type', so it is not a config of transformers")

    def build(self) -> nn.Module:
        """Makes the model, and finds its inputs and outputs by running it twice."""
        module = self._made(_transformers(self.name)).to(self.dtype).eval()
        requests = [_requests(module.config, module.main_input_name, batch, self.name) for batch in (1, 2)]
        answers = [self._answer(module, request) for request in requests]
        self.inputs, self.outputs = (
            specs(list(small), tuple(small.values()), tuple(large.values()), self.name)
            for small, large in (requests, answers)
        )
        self._request = tuple(requests[0].values())
        return _ByPosition(module, list(requests[0]), list(answers[0]))

    def _made(self, transformers: Any) -> Any:
        """The module with its weights."""
        try:
            config = transformers.AutoConfig.for_model(**self._settings)
            kind = getattr(transformers, (config.architectures or ["AutoModel"])[0], None)
            if kind is None:
                raise ModelError(f"{self.name}: transformers {transformers.__version__} has no {config.architectures[0]}; "
                                 "give `architectures` of the config another class")
            if self._has(WEIGHTS):
                return self._read(kind)
            if self._has(PICKLES):
                raise ModelError(f"{self.name}: its weights are pickles, which may hold code; save it again as safetensors")
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                return kind.from_config(config) if kind is transformers.AutoModel else kind(config)
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            raise error if isinstance(error, ModelError) else ModelError(f"{self.name}: {error}") from error

    def _has(self, files: Sequence[str]) -> bool:
        return self.path.is_dir() and any((self.path / file).is_file() for file in files)

    def _read(self, kind: Any) -> Any:
        """The module with the weights of the folder, all of them."""
        module, told = kind.from_pretrained(self.path, local_files_only=True, use_safetensors=True, output_loading_info=True)
        if missing := sorted(told["missing_keys"]):
            raise ModelError(f"{self.name}: its files have no weights for {', '.join(missing[:3])}; "
                             "set `architectures` of the config to the class that was saved")
        return module

    def _answer(self, module: nn.Module, request: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What the model says to a batch, by names."""
        try:
            with torch.inference_mode():
                answer = module(**{name: self._cast(tensor, self.dtype) for name, tensor in request.items()})
        except Exception as error:
            raise ModelError(f"{self.name}: it does not run on {', '.join(request)} alone ({type(error).__name__}: {error}); "
                             "write a factory for it") from error
        return {name: self._cast(tensor, torch.float32) for name, tensor in _tensors(answer).items()}


class _ByPosition(nn.Module):
    """Tensors in, tensors out, in the order of the names that transformers uses."""

    def __init__(self, module: nn.Module, inputs: list[str], outputs: list[str]) -> None:
        super().__init__()
        self.module, self.inputs, self.outputs = module, inputs, outputs

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        answer = _tensors(self.module(**dict(zip(self.inputs, tensors))))
        return as_tensors({name: answer[name] for name in self.outputs}, "")


def _tensors(answer: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The tensors of an answer, without caches and other state."""
    return {name: value for name, value in answer.items() if isinstance(value, torch.Tensor)}


def _requests(config: Any, main: str, batch: int, name: str) -> dict[str, torch.Tensor]:
    """A made-up batch; what may differ from request to request, differs with its size."""
    if main == "input_ids":
        tokens = torch.ones(batch, TOKENS * batch, dtype=torch.int64)
        return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    if main == "pixel_values":
        side = getattr(config, "image_size", 224)
        height, width = (side, side) if isinstance(side, int) else side
        return {"pixel_values": torch.ones(batch, getattr(config, "num_channels", 3), height, width)}
    if main == "input_values":
        return {"input_values": torch.ones(batch, 16_000 * batch)}
    raise ModelError(f"{name}: its input '{main}' is neither tokens, a picture nor sound; write a factory for it")


def _transformers(name: str) -> Any:
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise ModelError(f"{name}: transformers is not installed; pip install transformers (the extra `hf`)") from error
    return transformers
