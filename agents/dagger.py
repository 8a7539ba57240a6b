"""DAgger: a network learns to decide as a teacher does, in the situations that its own decisions lead to.

The teacher may be slow (look-ahead takes milliseconds, planning a placement a second); the network takes microseconds. In the
first round the teacher plays, and all deployments that it decides on become the network's proposals; then the network
plays, the teacher says what it would have done there, and all rounds together are learnt from.

Source: Ross, Gordon and Bagnell, "A Reduction of Imitation Learning and Structured Prediction to No-Regret Online Learning",
AISTATS 2011.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from torch import nn

from agents import registry, run_state
from agents.proposals import Proposals, moves_of
from agents.proposals_chain import choice
from agents.proposals_export import Exported, export, read
from agents.proposals_features import MEMORY, features
from agents.proposals_network import layers_of, make_network
from agents.proposals_policy import ProposalsPlanner
from agents.proposals_rules import minded
from agents.proposals_table import Window, draw_windows, routed
from agents.selection import parted
from baselines.two_time_scales import TwoTimeScales
from envs.contract import Decision, Deployment, Observation, Policy
from envs.episode import run_episode
from envs.scenario import Scenario
from traces.load import Load

SOFTNESS = 0.01  # reward: how sharply the network chooses while it learns
MARGIN = 0.3  # of features beyond their range in training


@dataclass(frozen=True)
class DaggerSettings:
    """Settings of a run; each says what it does.

    Attributes:
        teacher: a name that `agents.registry` knows.
        windows: played in each round of playing and learning, an episode long.
        passes: over all decisions so far, in each round.
        hidden: units of the two hidden layers.
        batch: decisions of an update.
        learning_rate: falls along a cosine to a thirtieth in each round.
        weight_decay: of AdamW.
        scale_low, scale_high: range of the factor on the load.
    """

    teacher: str = "mpc-forecast"
    windows: int = 12
    passes: int = 60
    hidden: int = 64
    batch: int = 256
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    scale_low: float = 0.6
    scale_high: float = 1.6


class Seen(NamedTuple):
    """A decision: loads (MEMORY, A) known, the deployment in force, and what the teacher made of it."""

    past_rps: np.ndarray
    here: Deployment
    taught: Deployment


class Lesson(NamedTuple):
    """The same with both deployments as entries of the proposals."""

    past_rps: np.ndarray
    here: int
    taught: int


class Taught(Policy):
    """Plays one policy, and writes down what the teacher would have done.

    Args:
        teacher: sees every observation.
        player: decides; None: the teacher.
    """

    def __init__(self, teacher: Policy, player: Policy | None = None) -> None:
        self.teacher, self.player = teacher, player
        self.seen: list[Seen] = []
        self.memory_intervals = MEMORY

    def reset(self, scenario: Scenario) -> None:
        """Starts afresh; what was seen stays."""
        self._scenario = scenario
        self._past = np.full((MEMORY, len(scenario.applications)), np.nan)
        for policy in (self.teacher, self.player):
            if policy is not None:
                policy.reset(scenario)

    def decide(self, observation: Observation) -> Decision:
        """The player's decision."""
        taught = self.teacher.decide(observation)
        rps = [observation.applications[name].offered_rps for name in self._scenario.applications]
        if not np.isnan(rps).any():
            self._past = np.concatenate([self._past[1:], [rps]])
            self.seen.append(Seen(self._past, observation.deployment, taught.deployment))
        return taught if self.player is None else self.player.decide(observation)


class DaggerRun:
    """One run.

    Args:
        scenario: the problem.
        sources: by trace, what arrives in its training part.
        config: see `train.DEFAULTS`; ``steps`` are lessons; it is evaluated after each round.
        folder: made; its config.yaml reproduces the run.

    Attributes:
        best: the evaluation of the best network so far, by column; empty before the first.
        steps: lessons so far.
    """

    def __init__(self, scenario: Scenario, sources: Mapping[str, Mapping[str, Load]], config: Mapping[str, Any],
                 folder: Path) -> None:
        self.scenario, self.config, self.folder = scenario, dict(config), folder
        self.settings = s = DaggerSettings(**config["settings"])
        self.teacher = registry.make(s.teacher, scenario)
        self.rng = np.random.default_rng(config["seed"])
        parts = [parted(loads, config["selection"]) for loads in sources.values()]
        self.training = [part[0] for part in parts]
        self.selection = draw_windows(scenario, [part[1] for part in parts], max(config["windows"], len(parts)),
                                      scenario.episode_intervals, (1.0, 1.0), np.random.default_rng(0))
        self.lessons: list[Lesson] = []
        self.best: dict[str, float] = {}
        self.cpu_s = 0.0
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(self.config, sort_keys=False), encoding="utf-8")

    @property
    def steps(self) -> int:
        """Lessons so far."""
        return len(self.lessons)

    def learn(self) -> bool:
        """Plays and learns, round after round, and saves after each; False where it was interrupted."""
        began = time.process_time() - self.cpu_s
        player = self._exported(self.folder / "last", {}) if self.lessons else None  # the first round is the teacher's
        try:
            while self.steps < self.config["steps"]:
                self._play(player)
                agreed = self._fit()
                player = self._exported(self.folder / "last", {})
                self._evaluate(player, agreed, time.process_time() - began)
        except KeyboardInterrupt:
            return False
        return True

    def resume(self) -> None:
        """Goes back to the last round.

        Raises:
            ValueError: the folder has no checkpoint of such a run.
        """
        state = run_state.restore(self.folder, {})
        self._begin(read(self.folder / "last")[1].proposals, state["mean_rps"].numpy())
        self.network.load_state_dict(state["network"])
        past_rps, here, taught = (state[name] for name in Lesson._fields)
        self.lessons = [Lesson(*row) for row in zip(past_rps.numpy(), here.tolist(), taught.tolist())]
        self._range, self.cpu_s, self.best = state["range"].numpy(), state["cpu_s"], state["best"]
        self.rng.bit_generator.state = state["random"]

    # ---- inside

    def _play(self, player: Policy | None) -> None:
        """One round's lessons."""
        s = self.settings
        drawn = draw_windows(self.scenario, self.training, s.windows, self.scenario.episode_intervals,
                             (s.scale_low, s.scale_high), self.rng)
        taught = Taught(self.teacher, player)
        for window in drawn:
            self._reward(taught, window)
        if player is None:
            self._begin(Proposals.of([self.scenario.initial_deployment, *(one.taught for one in taught.seen)]),
                        np.mean([one.past_rps[-1] for one in taught.seen], axis=0))
        entry = self.proposals.index
        self.lessons += [Lesson(one.past_rps, entry(one.here), entry(one.taught)) for one in taught.seen]

    def _reward(self, policy: Policy, window: Window) -> float:
        """Mean reward on a window."""
        loads = {name: scaled(load, window.scale) for name, load in window.loads.items()}
        episode = run_episode(self.scenario, policy, loads, seed=window.seed, start_s=window.start_s)
        return float(episode.totals["reward"])

    def _begin(self, proposals: Proposals, mean_rps: np.ndarray) -> None:
        """The network, over all that the teacher has decided on in the first round, and the mean loads there."""
        self.proposals, self.mean_rps = proposals, mean_rps
        self.extra = minded(moves_of(self.scenario, proposals))
        inputs = features(np.ones((MEMORY, len(mean_rps))), mean_rps).shape[-1]
        torch.manual_seed(self.config["seed"])
        self.network = make_network(inputs, self.settings.hidden, len(self.proposals))

    def _fit(self) -> float:
        """Learns from all lessons; the share of them that the network agrees with afterwards."""
        s = self.settings
        seen = torch.from_numpy(features(np.array([lesson.past_rps for lesson in self.lessons]), self.mean_rps))
        here, taught = (torch.tensor([getattr(lesson, name) for lesson in self.lessons]) for name in ("here", "taught"))
        extra = torch.from_numpy(self.extra).float()
        rounds = s.passes * (len(seen) // s.batch + 1)
        optimiser = torch.optim.AdamW(self.network.parameters(), lr=s.learning_rate, weight_decay=s.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, rounds, s.learning_rate / 30)

        def chosen(rows: torch.Tensor) -> torch.Tensor:
            outputs = self.network(seen[rows])[:, None]
            mind = nn.functional.softplus(outputs[..., -1])
            return choice(outputs[..., :-1], mind, extra[here[rows]][:, None, None], SOFTNESS)[:, 0, 0]

        for _ in range(rounds):
            rows = torch.from_numpy(self.rng.integers(len(seen), size=s.batch))
            loss = nn.functional.nll_loss(chosen(rows).clamp_min(1e-9).log(), taught[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        self._range = np.quantile(seen.numpy(), (0.001, 0.999), axis=0)
        with torch.no_grad():
            return float((chosen(torch.arange(len(seen))).argmax(-1) == taught).float().mean())

    def _exported(self, folder: Path, told: Mapping[str, float]) -> Policy:
        """The network as it is now, as a policy."""
        low, high = self._range
        network = Exported(layers_of(self.network), self.proposals, self.mean_rps, low - MARGIN, high + MARGIN, "imitation")
        export(network, folder, self.scenario, {k: v for k, v in self.config.items() if k != "export"} | dict(told))
        planner = ProposalsPlanner(folder, trusted=True)
        return TwoTimeScales(planner) if routed(self.scenario) else planner

    def _evaluate(self, player: Policy, agreed: float, cpu_s: float) -> None:
        reward = float(np.mean([self._reward(player, window) for window in self.selection]))
        teacher = self.best["teacher"] if self.best else float(
            np.mean([self._reward(self.teacher, window) for window in self.selection]))
        found = {"steps": float(self.steps), "cpu_s": cpu_s, "reward": reward, "agreed": agreed, "teacher": teacher}
        if not self.best or reward > self.best["reward"]:
            self.best = found
            self._exported(self.folder / "best", {f"best_{k}": v for k, v in found.items()})
        run_state.record(self.folder, found)
        self._save(cpu_s)
        print(f"{self.steps} lessons, {cpu_s / 60:.2f} CPU-min: reward {reward:.4f} (teacher {teacher:.4f}), agrees in "
              f"{agreed:.1%}", file=sys.stderr, flush=True)

    def _save(self, cpu_s: float) -> None:
        lessons = {name: torch.from_numpy(np.array(column)) for name, column in zip(Lesson._fields, zip(*self.lessons))}
        run_state.save(self.folder, {
            **lessons, "network": self.network.state_dict(), "mean_rps": torch.from_numpy(self.mean_rps),
            "range": torch.from_numpy(self._range), "cpu_s": cpu_s, "best": self.best, "random": self.rng.bit_generator.state})


def scaled(load: Load, scale: float) -> Load:
    """A load times a factor; recorded arrivals as they are."""
    return load._replace(rate_rps=load.rate_rps * scale)
