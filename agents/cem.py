"""CEM over a planner's settings: the cross-entropy method finds the constants that earn the most, continuous ones too.

A generation draws settings, plays all of them on the same windows of training load, and moves the distribution towards the
best few. Numbers have a normal distribution between the least and the greatest value that the planner's `space` offers, words
and truth values a probability each. What comes out is explainable: the planner, with other constants.

Source: Rubinstein and Kroese, "The Cross-Entropy Method", Springer 2004; noise on the spread as in Szita and Lőrincz,
"Learning Tetris Using the Noisy Cross-Entropy Method", Neural Computation 2006.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from agents import registry
from agents.selection import parted
from agents.tuned_planner import write
from envs.contract import Policy
from envs.episode import run_episode
from envs.loads import spread
from envs.scenario import Scenario
from traces.load import Load, span_s

COLUMNS = ("steps", "reward", "accuracy", "violation_ratio", "cost")
TOTALS = ("reward", "accuracy", "violation_ratio", "cost")
STATE = "state.json"
Settings = dict[str, Any]


@dataclass(frozen=True)
class CEMSettings:
    """Settings of a run; each says what it does.

    Attributes:
        policy: the planner whose settings are learnt: a name that `agents.registry` knows.
        population: settings drawn in a generation.
        elite_ratio: part of them that the distribution moves towards.
        windows: of load that all settings of a generation play.
        intervals: length of each.
        keep: weight of the old distribution in the new one: higher is slower and surer.
        spread: added to the spread of numbers in the first generation, of their range; falls to 0 in the course of the run.
    """

    policy: str = "infadapter-hold"
    population: int = 20
    elite_ratio: float = 0.25
    windows: int = 8
    intervals: int = 60
    keep: float = 0.3
    spread: float = 0.1


class Distribution:
    """Over settings, one by one.

    Args:
        space: values to choose from, by setting, as `Policy.space` tells them.
    """

    def __init__(self, space: Mapping[str, Sequence[Any]]) -> None:
        self._space = {name: list(values) for name, values in space.items()}
        self.numbers = {name: [float(np.mean(v)), float(np.std(v))] for name, v in self._space.items() if _numeric(v)}
        self.choices = {name: [1 / len(v)] * len(v) for name, v in self._space.items() if not _numeric(v)}

    def draw(self, rng: np.random.Generator) -> Settings:
        """One row of settings."""
        found: Settings = {}
        for name, values in self._space.items():
            if name in self.numbers:
                found[name] = self._number(name, rng.normal(self.numbers[name][0], self.numbers[name][1]))
            else:
                found[name] = values[rng.choice(len(values), p=self.choices[name])]
        return found

    def middle(self) -> Settings:
        """The most likely settings."""
        return {name: self._number(name, self.numbers[name][0]) if name in self.numbers
                else values[int(np.argmax(self.choices[name]))] for name, values in self._space.items()}

    def move(self, elite: Sequence[Settings], keep: float, spread: float) -> None:
        """Towards the best settings; `spread` (of a number's range) is added to the spreads."""
        for name, values in self._space.items():
            chosen = [settings[name] for settings in elite]
            if name in self.numbers:
                mean, deviation = self.numbers[name]
                noise = spread * (max(values) - min(values))
                self.numbers[name] = [keep * mean + (1 - keep) * float(np.mean(chosen)),
                                      keep * deviation + (1 - keep) * float(np.std(chosen)) + noise]
            else:
                seen = np.array([sum(c == v for c in chosen) for v in values]) / len(chosen)
                self.choices[name] = [float(p) for p in keep * np.array(self.choices[name]) + (1 - keep) * seen]

    def _number(self, name: str, value: float) -> float:
        values = self._space[name]
        inside = min(max(value, min(values)), max(values))
        return round(inside) if all(isinstance(v, int) for v in values) else float(f"{inside:.4g}")


def _numeric(values: Sequence[Any]) -> bool:
    return all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)


class CEMRun:
    """One run. Its folder gets config.yaml, state.json, evaluations.csv, and best/, the planner with the best settings so far.

    Args:
        scenario: the problem.
        loads: what arrives in training and selection.
        config: see `train.DEFAULTS`, settings complete.
        folder: made.

    Attributes:
        best: the evaluation of the best settings so far, by column; empty before the first.
        steps: decisions so far, of all settings together.

    Raises:
        ValueError: the planner has no settings.
    """

    def __init__(self, scenario: Scenario, loads: Mapping[str, Load], config: Mapping[str, Any], folder: Path) -> None:
        self.scenario, self.config, self.folder = scenario, dict(config), folder
        self.settings = CEMSettings(**config["settings"])
        self._class: type[Policy] = type(registry.make(self.settings.policy, scenario))
        space = self._class.space(scenario)
        if not space:
            raise ValueError(f"policy {self.settings.policy} has no settings to learn")
        self._distribution = Distribution(space)
        self._training, self._selection = parted(loads, config["selection"])
        self.best: dict[str, float] = {}
        self.steps = self._generation = 0
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(self.config, sort_keys=False), encoding="utf-8")

    def resume(self) -> None:
        """Goes back to the last whole generation."""
        state = json.loads((self.folder / STATE).read_text(encoding="utf-8"))
        self._distribution.numbers, self._distribution.choices = state["numbers"], state["choices"]
        self.steps, self._generation, self.best = state["steps"], state["generation"], state["best"]

    def learn(self) -> bool:
        """Learns until all steps are done; False where it was interrupted, between two generations as in one."""
        per_generation = self.settings.population * self.settings.windows * self.settings.intervals
        try:
            if not self.steps:
                self._evaluate({})
            while self.steps < self.config["steps"]:
                self._improve(1 - self.steps / self.config["steps"])
                self.steps += per_generation
                self._generation += 1
                self._evaluate(self._distribution.middle())
                self._save()
        except KeyboardInterrupt:
            return False
        return True

    def _improve(self, remaining: float) -> None:
        """One generation."""
        rng, cem = np.random.default_rng([self.config["seed"], self._generation]), self.settings
        latest_s = min(span_s(load) for load in self._training.values()) - cem.intervals * self.scenario.interval_s
        windows = [(float(rng.uniform(0, max(latest_s, 0.0))), int(rng.integers(2**31))) for _ in range(cem.windows)]
        drawn = [self._distribution.draw(rng) for _ in range(cem.population)]
        rewards = [np.mean([self._totals(s, self._training, w, cem.intervals)["reward"] for w in windows]) for s in drawn]
        best = np.argsort(rewards)[::-1][: max(2, round(cem.elite_ratio * cem.population))]
        self._distribution.move([drawn[i] for i in best], cem.keep, cem.spread * remaining)

    def _evaluate(self, settings: Settings) -> None:
        """Scores settings on the selection windows, and keeps them where they are the best so far."""
        n, interval_s = self.scenario.episode_intervals, self.scenario.interval_s
        span = min(span_s(load) for load in self._selection.values())
        starts = spread(span, n * interval_s, self.config["windows"], interval_s)
        rows = [self._totals(settings, self._selection, (start, i), n) for i, start in enumerate(starts)]
        found = {"steps": float(self.steps), **{name: float(np.mean([row[name] for row in rows])) for name in TOTALS}}
        if not self.best or found["reward"] > self.best["reward"]:
            self.best = found
            told = {**{k: v for k, v in self.config.items() if k != "export"}, **{f"best_{k}": v for k, v in found.items()}}
            write(self.folder / "best", registry.BASELINES[self.settings.policy], settings, self.scenario.name, told)
        path = self.folder / "evaluations.csv"
        fresh = not self.steps
        with path.open("w" if fresh else "a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            if fresh:
                writer.writeheader()
            writer.writerow(found)
        print(f"{self.steps}/{self.config['steps']} steps: reward {found['reward']:.4f} (best {self.best['reward']:.4f}), "
              f"violations {found['violation_ratio']:.2%}", file=sys.stderr, flush=True)

    def _totals(self, settings: Settings, loads: Mapping[str, Load], window: tuple[float, int], intervals: int
                ) -> Mapping[str, float]:
        grid = self.scenario.interval_s
        start_s = float(np.floor(window[0] / grid) * grid)
        policy = self._class(**settings)
        return run_episode(self.scenario, policy, loads, seed=window[1], start_s=start_s, intervals=intervals).totals

    def _save(self) -> None:
        state = {"numbers": self._distribution.numbers, "choices": self._distribution.choices, "steps": self.steps,
                 "generation": self._generation, "best": self.best}
        scratch = self.folder / (STATE + ".part")
        scratch.write_text(json.dumps(state, indent=1), encoding="utf-8")
        scratch.replace(self.folder / STATE)
