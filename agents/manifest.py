"""What an exported agent's `manifest.json` says, and which scenarios it fits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from baselines.weights_folder import MANIFEST, read_file
from envs.contract import CONTRACT_VERSION
from envs.layout import HISTORY, LAYOUT_VERSION, observation_names
from envs.scenario import Scenario
from envs.versions import refusal

FORMAT = 1
AGAIN = "train and export it again"


class AgentError(ValueError):
    """An exported agent cannot be used; the text says why, and what to do."""


@dataclass(frozen=True)
class Manifest:
    """What an exported agent is.

    Attributes:
        format, contract, layout: versions of this file, of the contract, and of the observation's layout.
        history: intervals of load in an observation.
        scenario, scenario_digest: the scenario that it was trained for, and a digest of what its observations and actions
            mean.
        observations: length of an observation.
        action_mode: see `envs.actions`.
        nvec: values of each entry of an action.
        base, base_settings: of a residual agent: the policy that it corrects, ``package.module:Class``, and its settings.
        normaliser: "analytic": observations are scaled by constants of the scenario; no statistics belong to the weights.
        activation: between layers.
        masked: whether values that make no sense by themselves were masked, in training as in decisions.
        menu: of an agent that chooses among deployments: the levels of each; nvec is then their number.
        weights_sha256: of the file of weights.
        training: what made it: command, settings, trace, steps, seed, scores; for people.
        training_sha256: of `training`, so that two agents of one run can be told from two of different runs.
    """

    scenario: str
    scenario_digest: str
    observations: int
    action_mode: str
    nvec: list[int]
    weights_sha256: str
    training: dict[str, Any]
    training_sha256: str
    base: str = ""
    base_settings: dict[str, Any] = field(default_factory=dict)
    masked: bool = False
    menu: list[list[int]] = field(default_factory=list)
    normaliser: str = "analytic"
    activation: str = "tanh"
    history: int = HISTORY
    format: int = FORMAT
    contract: int = CONTRACT_VERSION
    layout: int = LAYOUT_VERSION


def read(folder: Path) -> Manifest:
    """Reads an agent's manifest and checks its versions.

    Raises:
        AgentError: there is none, it is not one, or it is of other versions.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise AgentError(f"{folder}: no {MANIFEST} there; give the folder of an exported agent")
    try:
        found = json.loads(read_file(path))
        versions = {name: found.get(name) for name in ("format", "contract", "layout", "history")}
        manifest = Manifest(**found) if versions == VERSIONS else None
    except (ValueError, TypeError, AttributeError) as error:
        raise AgentError(f"{path}: not an agent's manifest ({error})") from error
    if manifest is None:
        raise AgentError(f"{folder}: " + next(filter(None, (
            refusal(f"exported agent, {name}", versions[name], here, AGAIN) for name, here in VERSIONS.items()))))
    return manifest


VERSIONS = {"format": FORMAT, "contract": CONTRACT_VERSION, "layout": LAYOUT_VERSION, "history": HISTORY}


def scenario_digest(scenario: Scenario) -> str:
    """A digest of what observations and actions of a scenario mean: their names, the candidates, the interval."""
    meaning = {
        "observations": observation_names(scenario),
        "candidates": [[str(kind) for kind in c.kinds] + [str(c.levels)] for c in scenario.candidates],
        "services": {name: list(s.variants) for name, s in scenario.services.items()},
        "interval_s": scenario.interval_s,
    }
    return digest(meaning)


def digest(value: Mapping[str, Any]) -> str:
    """sha256 of a value as canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
