"""A planner whose settings were learnt (`agents.cem`), as a policy: a folder with one file that says which, and how."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.manifest import AGAIN, AgentError, digest
from agents.network_policy import made
from baselines.weights_folder import read_file
from envs.contract import Decision, Observation, Policy
from envs.scenario import Scenario
from envs.versions import refusal

FILE = "planner.json"
FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """What made it, and a digest of the settings, in place of weights."""

    training: Mapping[str, Any]
    weights_sha256: str


class TunedPlanner(Policy):
    """Decides as the planner does.

    Args:
        folder: with `FILE`.

    Raises:
        AgentError: there is none, or it names no planner of `baselines`.
    """

    learning = "reward-trained"
    calibrated = True

    def __init__(self, folder: str | Path) -> None:
        path = Path(folder) / FILE
        try:
            told = json.loads(read_file(path))
            if other := refusal("format", told.get("format", 1), FORMAT, AGAIN):  # the first ones said none
                raise ValueError(other)
            self.planner = made(told["policy"], told["settings"])
            self.manifest = Manifest(told["training"], digest({"policy": told["policy"], "settings": told["settings"]}))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise AgentError(f"{path}: not a planner's file ({error})") from error

    def reset(self, scenario: Scenario) -> None:
        """Starts afresh on a scenario."""
        self.planner.reset(scenario)
        self.memory_intervals = self.planner.memory_intervals

    def decide(self, observation: Observation) -> Decision:
        """The planner's decision."""
        return self.planner.decide(observation)


def write(folder: Path, policy: str, settings: Mapping[str, Any], scenario: str, training: Mapping[str, Any]) -> None:
    """Writes the folder; a reader never sees half a file.

    Args:
        folder: made where it is not there.
        policy: ``package.module:Class``, of `baselines`.
        settings: its arguments.
        scenario: what they were learnt on.
        training: what made them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    told = {"format": FORMAT, "policy": policy, "settings": dict(settings), "scenario": scenario, "training": dict(training)}
    scratch = folder / (FILE + ".part")
    scratch.write_text(json.dumps(told, indent=1, default=str) + "\n", encoding="utf-8")
    scratch.replace(folder / FILE)
