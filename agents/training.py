"""A training run: learns, evaluates while it learns, keeps the best agent, saves checkpoints."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv
from tqdm import tqdm

from agents import checkpoint, registry
from agents.brain import Brain
from agents.entropy_floor import EntropyFloor
from agents.export import export
from agents.family import Family
from agents.groups import GroupedVecEnv
from agents.imitation import imitate, watch
from agents.learners import LEARNERS
from agents.manifest import AgentError
from agents.menu import MenuVecEnv, menu_of
from agents.randomise import members_of, with_bursts
from agents.selection import Selection, parted
from agents.vec_env import ServingVecEnv
from envs.scenario import Scenario
from envs.vector_env import ServingVectorEnv
from traces.load import Load

COLUMNS = ("steps", "reward", "accuracy", "violation_ratio", "cost")


class Run:
    """One run of a learner. The folder gets what the module `train` names.

    Args:
        scenario: the problem.
        loads: what arrives in training and selection.
        config: see `train.DEFAULTS`, settings complete.
        folder: made; its config.yaml reproduces the run.

    Attributes:
        best: the evaluation of the best agent so far, by column; empty before the first.

    Raises:
        LookupError: the base policy of a residual agent is unknown.
    """

    def __init__(self, scenario: Scenario, loads: Mapping[str, Load], config: Mapping[str, Any], folder: Path) -> None:
        self.scenario, self.config, self.folder = scenario, dict(config), folder
        self.learner = LEARNERS[config["agent"]]
        self.settings = self.learner.settings_class()(**config["settings"])
        mode = self.settings.action_mode
        self.base, self.teacher = getattr(self.settings, "base", ""), getattr(self.settings, "teacher", "")
        base = registry.make(self.base, scenario) if self.base else None
        if self.teacher and (mode != "absolute" or config["agent"] != "ppo"):
            raise ValueError(f"teacher '{self.teacher}': only ppo of action_mode absolute imitates one")
        self.menu = menu_of(scenario) if self.learner.menu else None
        training, selection = parted(loads, config["selection"])
        training = with_bursts(training, self.settings.bursts_per_day, np.random.default_rng(config["seed"]))
        members = members_of(scenario, self.settings.cold_starts_s, self.settings.metric_lags_s, self.settings.vary)
        scale = (self.settings.load_scale_low, self.settings.load_scale_high)
        count = self.settings.clusters
        self.environment = ServingVecEnv(
            Family(members, count, loads=training, action_mode=mode, base_policy=base, load_scale=scale)
            if len(members) > 1
            else ServingVectorEnv(
                count, scenario=members[0], loads=training, action_mode=mode, base_policy=base, load_scale=scale
            )
        )
        self.selection = Selection(members, selection, config["windows"], mode, base, self.learner.masked, self.menu)
        outer: VecEnv = self.environment
        if self.menu is not None:
            outer = MenuVecEnv(outer, self.menu)
        if getattr(self.settings, "group", 1) > 1:
            outer = GroupedVecEnv(outer, self.settings.group)
        outer.seed(config["seed"])
        self.model = self.learner.model(self.settings, outer, config["seed"], str(folder / "tensorboard"))
        self._training = training
        self.best: dict[str, float] = {}
        self.next_evaluation = 0
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(self.config, sort_keys=False), encoding="utf-8")

    @property
    def steps(self) -> int:
        """Decisions learnt from so far."""
        return int(self.model.num_timesteps)

    def resume(self) -> None:
        """Goes back to the last checkpoint, and to the best agent until then."""
        checkpoint.restore(self.folder / "checkpoint.pt", self.model, self.environment)
        evaluations = self.folder / "evaluations.csv"
        if not evaluations.exists():  # interrupted before the first one
            return
        with evaluations.open(newline="") as file:
            rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        rows = [row for row in rows if row["steps"] <= self.steps]
        self._write(rows)
        self.best = max(rows, key=lambda row: row["reward"], default={})
        self.next_evaluation = int(rows[-1]["steps"]) + self.config["evaluate_every"] if rows else 0

    def learn(self) -> bool:
        """Learns until all steps are done; False where it was interrupted. Saves in either case, if there was a step left."""
        left = self.config["steps"] - self.steps
        if left <= 0:
            return True
        try:
            if self.teacher and not self.steps:
                self._imitate()
            floor = getattr(self.settings, "entropy_floor", 0.0)
            watching = [_Watch(self), *([EntropyFloor(floor)] if floor else [])]
            self.model.learn(left, callback=watching, reset_num_timesteps=False, tb_log_name=self.config["agent"])
            self.evaluate()
        except KeyboardInterrupt:
            checkpoint.save(self.folder / "checkpoint.pt", self.model, self.environment)
            return False
        checkpoint.save(self.folder / "checkpoint.pt", self.model, self.environment)
        return True

    def _imitate(self) -> None:
        """Begins as the teacher, as far as the network can."""
        settings = self.settings
        lessons = watch(
            registry.make(self.teacher, self.scenario),
            self.scenario,
            self._training,
            clusters=settings.clusters,
            episodes=settings.teacher_episodes,
            seed=self.config["seed"],
            load_scale=(settings.load_scale_low, settings.load_scale_high),
            gamma=settings.gamma,
        )
        assert isinstance(self.model, PPO)
        likelihood = imitate(self.model, lessons, settings.teacher_epochs)
        told = f"imitated {self.teacher}: {len(lessons.returns)} decisions, log-likelihood {likelihood:.2f}"
        print(told, file=sys.stderr, flush=True)

    def evaluate(self) -> dict[str, float]:
        """Scores the agent as it is now, and exports it where it is the best so far."""
        tensors = self.learner.exported(self.model)
        found = {"steps": float(self.steps), **self.selection.score(Brain(tensors, self.learner.activation))}
        self.next_evaluation = self.steps + self.config["evaluate_every"]
        if not self.best or found["reward"] > self.best["reward"]:
            self.best = found
            self.export_tensors(tensors, self.folder / "best")
        path = self.folder / "evaluations.csv"
        self._write([found], path.exists())
        return found

    def export_tensors(self, tensors: Mapping[str, np.ndarray], folder: Path) -> None:
        """Writes an agent with what made it."""
        base = self.base
        path = registry.BASELINES.get(base, "")
        if base and not path:
            raise AgentError(f"base '{base}': an exported agent can correct one of {', '.join(registry.BASELINES)} only")
        training = {
            **{k: v for k, v in self.config.items() if k != "export"},
            **{f"best_{k}": v for k, v in self.best.items()},
        }
        export(
            tensors,
            folder,
            self.scenario,
            self.settings.action_mode,
            training,
            path,
            registry.settings(base, self.scenario) if base else None,
            self.learner.masked,
            [] if self.menu is None else self.menu.tolist(),
            self.learner.activation,
        )

    def _write(self, rows: list[dict[str, float]], append: bool = False) -> None:
        with (self.folder / "evaluations.csv").open("a" if append else "w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            if not append:
                writer.writeheader()
            writer.writerows(rows)


class _Watch(BaseCallback):
    """Between rollouts: progress, evaluations, checkpoints."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run

    def _on_training_start(self) -> None:
        self._bar = tqdm(
            total=self.run.config["steps"],
            initial=self.run.steps,
            unit="step",
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
            leave=False,
        )

    def _on_rollout_start(self) -> None:
        run = self.run
        self._bar.update(run.steps - self._bar.n)
        if run.steps >= run.next_evaluation:
            found = run.evaluate()
            for name in COLUMNS[1:]:
                self.logger.record(f"selection/{name}", found[name])
            told = f"reward {found['reward']:.4f} (best {run.best['reward']:.4f}), violations {found['violation_ratio']:.2%}"
            self._bar.set_postfix_str(told)
            if self._bar.disable:
                print(f"{run.steps}/{run.config['steps']} steps: {told}", file=sys.stderr, flush=True)
        if run.environment.envs.process.step_count == 0:
            checkpoint.save(run.folder / "checkpoint.pt", run.model, run.environment)

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self._bar.close()
