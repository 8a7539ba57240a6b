"""An exported agent as a policy, run by numpy alone: what decides live and in evaluations."""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors

from agents.brain import ACTIVATIONS, Brain, choose, forward
from agents.manifest import AgentError, read, scenario_digest
from baselines.weights_folder import WEIGHTS, read_file
from envs.actions import Actions
from envs.contract import Decision, Observation, Policy
from envs.layout import HISTORY, Layout
from envs.routes import deployment_of, shares_of
from envs.scenario import Scenario
from envs.view import view_of

__all__ = ("NetworkPolicy", "choose", "forward")
RECURRENT_MEMORY = 120  # intervals after which an LSTM has as good as forgotten


class NetworkPolicy(Policy):
    """A network that decides on levels, without chance: in each entry of the action the value with the largest logit.

    Args:
        folder: of an exported agent (`agents.export`).

    Raises:
        AgentError: the folder is not an agent's, is of other versions, or its weights are not those of the manifest; on
            `reset`, the scenario is another than the agent was trained for.
    """

    memory_intervals = HISTORY

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.manifest = read(self.folder)
        self.brain = _brain(self.folder, self.manifest.weights_sha256, self.manifest.activation)
        self._check()
        self.memory_intervals = RECURRENT_MEMORY if self.brain.recurrent else HISTORY
        self._base = made(self.manifest.base, self.manifest.base_settings) if self.manifest.base else None
        self.needs_profile = self._base is not None and self._base.needs_profile
        if self._base is not None:
            self.memory_intervals = max(self.memory_intervals, self._base.memory_intervals)

    def _check(self) -> None:
        """Runs it once: a tensor that does not fit the others shows in what comes out."""
        try:
            logits = self.brain.logits(np.zeros(self.manifest.observations, np.float32))
        except (ValueError, KeyError, IndexError) as error:
            raise AgentError(f"{self.folder}: its network does not fit together ({error})") from error
        if logits.shape != (sum(self.manifest.nvec),) or not self.brain.finite:
            raise AgentError(f"{self.folder}: its network does not give {sum(self.manifest.nvec)} finite numbers")
        self.brain.reset()

    def reset(self, scenario: Scenario) -> None:
        """Starts afresh on a scenario."""
        if scenario_digest(scenario) != self.manifest.scenario_digest:
            raise AgentError(
                f"{self.folder}: trained for '{self.manifest.scenario}', whose observations and actions differ from those of "
                f"'{scenario.name}'; train an agent for it: python train.py --scenario {scenario.name}"
            )
        self._scenario, self._layout = scenario, Layout(scenario)
        self._actions = Actions(scenario, self.manifest.action_mode)  # type: ignore[arg-type]  # checked there
        self._history = self._layout.no_history()
        self.brain.reset()
        if self._base is not None:
            self._base.reset(scenario)

    def decide(self, observation: Observation) -> Decision:
        """The network's levels, and the routes of `envs.routes`."""
        view = view_of(observation, self._scenario)
        self._history = self._layout.remember(self._history, view)
        logits = self.brain.logits(self._layout.encode(view, self._history))
        base = self._base.decide(observation).deployment if self._base is not None else None
        start = np.array(view.levels if base is None else self._scenario.levels(base), np.int64)
        masks = self._actions.masks(start[None])[0] if self.manifest.masked else None
        action = choose(logits, self.manifest.nvec, masks)
        if self.manifest.menu:
            action = np.array(self.manifest.menu[int(action[0])])
        levels, lowered = self._actions.levels(action[None], start[None])
        shares = self._actions.shares(levels, view.service_rps[None])[0]
        if base is not None and (levels[0] == start).all():
            kept = shares_of(self._scenario, base)
            shares = np.where((kept > 0).any(-1, keepdims=True), kept, shares)
        moved = int(np.abs(levels[0] - view.levels).sum())
        reason = f"{moved} levels of {self.manifest.scenario} changed" if moved else "unchanged"
        details = {"moved": float(moved), "projected": float(lowered[0])}
        return Decision(deployment_of(self._scenario, levels[0], shares), reason, details)


def _brain(folder: Path, sha256: str, activation: str) -> Brain:
    """The network, its weights checked against the manifest's digest."""
    try:
        stored = read_file(folder / WEIGHTS)
    except OSError as error:
        raise AgentError(f"{folder}: {WEIGHTS} cannot be read ({error.strerror or error}); export the agent again") from error
    found = hashlib.sha256(stored).hexdigest()
    if found != sha256:
        raise AgentError(
            f"{folder}: {WEIGHTS} has sha256 {found[:12]}..., its manifest says {sha256[:12]}...; export the agent again"
        )
    try:
        tensors = load_tensors(stored)
    except SafetensorError as error:
        raise AgentError(f"{folder}: {WEIGHTS} is not in the form of safetensors ({error})") from error
    if activation not in ACTIVATIONS:
        raise AgentError(f"{folder}: its network has an activation '{activation}', not one of {', '.join(ACTIVATIONS)}")
    return Brain(tensors, activation)


def made(path: str, settings: dict) -> Policy:
    """A base policy by ``package.module:Class``; only baselines, for a manifest is data and must not run any code."""
    module, _, name = path.partition(":")
    if not module.startswith("baselines."):
        raise AgentError(f"base policy '{path}': a manifest may name classes of `baselines` only")
    try:
        found = getattr(importlib.import_module(module), name)
        if not (isinstance(found, type) and issubclass(found, Policy)):  # a module has other names, of functions say
            raise AgentError(f"base policy '{path}': no policy")
        return found(**settings)
    except (ImportError, AttributeError, TypeError) as error:
        raise AgentError(f"base policy '{path}': {error}") from error
