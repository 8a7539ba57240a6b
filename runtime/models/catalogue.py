"""From a variant's description to its model.

| description | model |
|---|---|
| ``resnet50``, ``bert-1.3b``, ... (`names()`) | built in, weights by seed or from a file |
| ``resnet50@64`` | the same for pictures of 64 x 64: another cost, the same weights |
| ``hf:PATH`` | Hugging Face, from a folder or a config |
| ``package.module:callable`` | whatever `nn.Module` that makes |
| ``emulated`` | no model: see `runtime.models.emulated` |
"""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import TYPE_CHECKING

from runtime.models.model import Alone, Group, Model, ModelError, Placement

if TYPE_CHECKING:
    from runtime.models.network import Network

EMULATED = "emulated"
HUGGING_FACE = "hf:"


def make(
    description: str,
    placement: Placement = Placement(),  # noqa: B008 - immutable
    *,
    group: Group | None = None,
    seed: int = 0,
    weights: str | None = None,
) -> Model:
    """The model that a description names, not yet loaded.

    Args:
        description: see above.
        placement: which part of it, where.
        group: what the ranks of the stage share; needed where there are several.
        seed: of weights that are drawn.
        weights: a file of weights for a built-in model, of safetensors or a saved state dict.

    Raises:
        ModelError: unknown, or not to be had in this form.
    """
    if placement.intra_op > 1 and group is None:
        raise ModelError(f"{description}: {placement.intra_op} ranks need a group that sums over them")
    if description == EMULATED:
        raise ModelError(f"'{EMULATED}' computes nothing: a replica of its kind is a runtime.models.emulated.EmulatedReplica")
    network = _builtin(description)
    if network is not None:
        from runtime.models.network import NetworkModel

        return NetworkModel(network, placement, group or Alone(), seed=seed, weights=weights)
    if weights is not None:
        raise ModelError(f"{description}: weights from a file are for built-in models: {', '.join(names())}")
    if description.startswith(HUGGING_FACE):
        from runtime.models.huggingface import HuggingFaceModel

        return HuggingFaceModel(description.removeprefix(HUGGING_FACE), placement, seed=seed)
    module, colon, name = description.partition(":")
    if colon and name.isidentifier() and all(part.isidentifier() for part in module.split(".")):
        from runtime.models.factory import FactoryModel

        return FactoryModel(description, placement, seed=seed)
    raise ModelError(_unknown(description))


def names() -> list[str]:
    """The built-in models."""
    from runtime.models.bert import BERTS
    from runtime.models.resnet import RESNETS

    return [*RESNETS, *BERTS]


def _builtin(name: str) -> Network | None:
    from runtime.models.bert import BERTS
    from runtime.models.resnet import RESNETS

    known, _, side = name.partition("@")
    if side.isdecimal() and int(side) and known in RESNETS:
        return replace(RESNETS[known], name=name, side=int(side))
    return RESNETS.get(name) or BERTS.get(name)


def _unknown(description: str) -> str:
    near = difflib.get_close_matches(description, names(), 1)
    meant = f", did you mean '{near[0]}'?" if near else "."
    return (f"no model '{description}'{meant} Known: {', '.join(names())}, hf:PATH, package.module:callable, {EMULATED}")
