"""Trains a network over proposals: first it learns what each will earn, then the expected reward itself is climbed.

The kernel plays a pool of deployments, few are kept (`agents.proposals_pool`), and they are played on many windows
(`agents.proposals_table`). A network is fitted to what each proposal earns in the next interval, and goes on by the exact
gradient of what clusters that follow it earn (`agents.proposals_chain`). The network that earns most on the last part of the
training load, played by the rule that is exported, is kept.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn
from tqdm import tqdm

from agents import run_state
from agents.brain import Layers, forward
from agents.order_keep_sequences import interval_rates
from agents.pid_lagrangian import PIDLagrangian
from agents.proposals import Moves, Proposals, moves_of
from agents.proposals_chain import choice, expected
from agents.proposals_export import Exported, export
from agents.proposals_features import features, windows
from agents.proposals_network import last_of, layers_of, make_network
from agents.proposals_pool import covering, pool_of, situations
from agents.proposals_rules import minded, parted, play
from agents.proposals_table import Table, Window, draw_windows
from agents.proposals_table import play as play_all
from agents.selection import parted as parts_of
from envs.scenario import Scenario
from traces.load import Load

SELECTED = 24  # windows of each source, to choose the best network on
WORST = 0.5  # reward below the best proposal's: it matters no more how much worse another one is
TRIED = (10, 40)  # windows and intervals on which the pool is played
SETTLED = 2  # intervals until a pool's deployments have what they will have
FIT_BATCH = 512
MARGIN = 0.3  # of features beyond their range in training
BEGUN = 0.5  # share of the clusters that begin with the initial deployment


@dataclass(frozen=True)
class ProposalsSettings:
    """Settings of a run; each says what it does.

    Attributes:
        proposals: at most, chosen from the pool.
        windows: of training, each an episode long, on which they are played.
        hidden: units of the two hidden layers.
        fitted: passes over all intervals in which the network learns what each proposal will earn.
        batch: windows of an update afterwards.
        learning_rate: of both parts; falls along a cosine to a thirtieth.
        weight_decay: of AdamW.
        softness_start, softness_end: tau of `agents.proposals_chain`, rewards, falling geometrically.
        scale_low, scale_high: range of the factor on the load.
        turn: let the traces of several applications meet at other times, so that no daily course is learnt by heart.
        violations: limit on their share, in place of the scenario's price (`agents.pid_lagrangian`); 0: the price.
    """

    proposals: int = 32
    windows: int = 96
    hidden: int = 64
    fitted: int = 40
    batch: int = 24
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    softness_start: float = 0.02
    softness_end: float = 0.004
    scale_low: float = 0.6
    scale_high: float = 1.6
    turn: bool = True
    violations: float = 0.0


class ProposalsRun:
    """One run.

    Args:
        scenario: the problem.
        sources: by trace, what arrives in its training part.
        config: see `train.DEFAULTS`; ``steps`` are decisions learnt from.
        folder: made; its config.yaml reproduces the run.

    Attributes:
        best: the evaluation of the best network so far, by column; empty before the first.
        steps: decisions learnt from so far.
    """

    def __init__(self, scenario: Scenario, sources: Mapping[str, Mapping[str, Load]], config: Mapping[str, Any],
                 folder: Path) -> None:
        self.scenario, self.config, self.folder = scenario, dict(config), folder
        self.settings = ProposalsSettings(**config["settings"])
        self.intervals = scenario.episode_intervals
        self.rng = np.random.default_rng(config["seed"])
        parts = {name: parts_of(loads, config["selection"]) for name, loads in sources.items()}
        training = [part[0] for part in parts.values()]
        s = self.settings
        self.proposals = self._proposals(training)
        self.moves = moves_of(scenario, self.proposals)
        self.extra = minded(self.moves)
        scales = (s.scale_low, s.scale_high)
        self.table = self._played(training, s.windows, scales, self.rng)
        self.mean_rps = self.table.rps.mean((0, 1))
        self.seen = self._features(self.table)
        self.selection = {name: self._played([part[1]], SELECTED, (1.0, 1.0), np.random.default_rng(0))
                          for name, part in parts.items()}
        torch.manual_seed(config["seed"])
        self.network = make_network(self.seen.shape[-1], s.hidden, len(self.proposals))
        decisions = s.batch * (self.intervals - 1)
        self.updates = max(1, config["steps"] // decisions)
        self.every = max(1, min(self.updates, config["evaluate_every"] // decisions))
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=s.learning_rate, weight_decay=s.weight_decay)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimiser, self.updates, s.learning_rate / 30)
        self.price = PIDLagrangian(s.violations, scenario.weights.slo) if s.violations else None
        self.best: dict[str, float] = {}
        self.done, self.cpu_s = 0, 0.0
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(self.config, sort_keys=False), encoding="utf-8")

    @property
    def steps(self) -> int:
        """Decisions learnt from so far."""
        return self.done * self.settings.batch * (self.intervals - 1)

    def learn(self) -> bool:
        """Learns until all steps are done; False where it was interrupted. Saves at each evaluation."""
        began = time.process_time() - self.cpu_s
        bar = tqdm(total=self.updates, initial=self.done, unit="update", disable=not sys.stderr.isatty(), dynamic_ncols=True,
                   leave=False)
        try:
            if not self.best:
                self._fit()
                self._evaluate(time.process_time() - began, bar, "supervised")
            while self.done < self.updates:
                self._update()
                bar.update()
                if self.done % self.every == 0 or self.done == self.updates:
                    self._evaluate(time.process_time() - began, bar, "reward-trained")
        except KeyboardInterrupt:
            return False
        finally:
            bar.close()
        return True

    def resume(self) -> None:
        """Goes back to the last evaluation.

        Raises:
            ValueError: the folder has no checkpoint of such a run.
        """
        state = run_state.resume_climb(self, self.rng)
        if self.price:
            vars(self.price).update(state["price"])

    def value(self, table: Table, w_slo: float) -> np.ndarray:
        """(W, T, M) reward for accuracy and violations of each proposal."""
        return np.asarray(self.scenario.weights.accuracy * table.accuracy - w_slo * table.violation)

    # ---- inside

    def _proposals(self, training: Sequence[Mapping[str, Load]]) -> Proposals:
        """The few of the pool that together do best."""
        s, (count, intervals) = self.settings, TRIED
        scales = (s.scale_low, s.scale_high)
        drawn = draw_windows(self.scenario, training, count * len(training), intervals, scales, self.rng, s.turn)
        pool = pool_of(self.scenario, rates_of(self.scenario, drawn, intervals), self.rng)
        table = play_all(self.scenario, pool, drawn, intervals)
        worth = self.value(table, self.scenario.weights.slo) - moves_of(self.scenario, pool).paid.diagonal()
        before = table.rps[:, SETTLED - 1 : -1].reshape(-1, table.rps.shape[-1])
        rows = worth[:, SETTLED:].reshape(-1, len(pool))
        if before.shape[-1] > 1:  # what one interval tells of each of many applications is noise
            rows = situations(before, rows, self.rng)
        return pool.some(covering(rows, s.proposals))

    def _played(self, loads: Sequence[Mapping[str, Load]], count: int, scales: tuple[float, float],
                rng: np.random.Generator) -> Table:
        """The proposals on windows drawn from loads, each an episode long."""
        drawn = draw_windows(self.scenario, loads, count, self.intervals, scales, rng, self.settings.turn)
        return play_all(self.scenario, self.proposals, drawn, self.intervals)

    def _features(self, table: Table) -> np.ndarray:
        """(W, T - 1, F) what is known at each decision but the first, which sees nothing."""
        return np.concatenate([features(windows(rps[:-1]), self.mean_rps)[None] for rps in table.rps])

    def _fit(self) -> None:
        """Learns what each proposal earns in the next interval, less that of the best."""
        s = self.settings
        worth = self.value(self.table, self.scenario.weights.slo)[:, 1:] - self.moves.paid.diagonal()
        behind = np.maximum(worth - worth.max(-1, keepdims=True), -WORST).reshape(-1, len(self.proposals))
        target, seen = torch.from_numpy(behind).float(), torch.from_numpy(self.seen.reshape(len(behind), -1))
        with torch.no_grad():
            last_of(self.network).bias[:-1] = target.mean(0)
        optimiser = torch.optim.AdamW(self.network.parameters(), lr=s.learning_rate, weight_decay=s.weight_decay)
        rounds = s.fitted * (len(target) // FIT_BATCH + 1)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, rounds, s.learning_rate / 30)
        for _ in range(rounds):
            rows = torch.from_numpy(self.rng.integers(len(target), size=FIT_BATCH))
            loss = (self.network(seen[rows])[:, :-1] - target[rows]).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()

    def _update(self) -> None:
        s = self.settings
        tau = s.softness_start * (s.softness_end / s.softness_start) ** (self.done / self.updates)
        loss = -self._expected(tau)
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.schedule.step()
        self.done += 1

    def _expected(self, tau: float) -> torch.Tensor:
        """Expected reward of a batch of windows; a limit on violations moves their price."""
        s, count = self.settings, len(self.proposals)
        rows = self.rng.choice(len(self.seen), min(s.batch, len(self.seen)), replace=False)
        table = self.table.of(rows)
        outputs = self.network(torch.from_numpy(self.seen[rows]))
        mind = nn.functional.softplus(outputs[..., -1])
        chosen = choice(outputs[..., :-1], mind, torch.from_numpy(self.extra).float(), tau)
        start = torch.full((len(rows), count), (1 - BEGUN) / count)
        start[:, 0] += BEGUN
        course = expected(start, chosen, *(torch.from_numpy(part).float() for part in self.moves))
        w_slo = self.price.price if self.price else self.scenario.weights.slo
        value = torch.from_numpy(self.value(table, w_slo)[:, 1:]).float()
        if self.price:
            violation = torch.from_numpy(table.violation[:, 1:]).float()
            self.price.update(float((course.served.detach() * violation).sum(-1).mean()))
        return ((course.served * value).sum(-1) - course.paid).mean() / (0.5 + 0.5 * w_slo)

    def _evaluate(self, cpu_s: float, bar: tqdm | None, learning: str) -> None:
        layers = layers_of(self.network)
        cells, violations = {}, []
        for name, table in self.selection.items():
            score, mind = parted(forward(layers, self._features(table)))
            rewards = play(score, mind, self.extra, self.moves, self.value(table, self.scenario.weights.slo)[:, 1:])
            good = play(score, mind, self.extra, Moves(self.moves.late, 0 * self.moves.paid), -table.violation[:, 1:])
            cells[name] = float(rewards.mean())
            violations.append(float(-good.mean()))
        w_slo = self.price.price if self.price else self.scenario.weights.slo
        found = {"steps": float(self.steps), "cpu_s": cpu_s, "reward": float(np.mean(list(cells.values()))),
                 "violations": float(np.mean(violations)), "w_slo": w_slo}
        if self._better(found):
            self.best = found
            self._export(layers, found, cells, learning)
        run_state.record(self.folder, {**found, **cells})
        self.cpu_s = cpu_s
        run_state.save_climb(self, self.rng, price=dict(vars(self.price)) if self.price else {})
        told_s = (f"{cpu_s / 60:.2f} CPU-min: reward {found['reward']:.4f} (best {self.best['reward']:.4f}), "
                  f"violations {found['violations']:.2%}")
        if bar is not None:
            bar.set_postfix_str(told_s)
        if bar is None or bar.disable:
            print(f"{self.steps}/{self.config['steps']} steps, {told_s}", file=sys.stderr, flush=True)

    def _better(self, found: Mapping[str, float]) -> bool:
        """The higher reward; under a limit on violations first what keeps to it, else what comes nearest."""
        if not self.best:
            return True
        limit = self.settings.violations or np.inf
        excess = [max(0.0, row["violations"] - limit) for row in (found, self.best)]
        return bool(excess[0] < excess[1] or (excess[0] == excess[1] and found["reward"] > self.best["reward"]))

    def _export(self, layers: Layers, found: Mapping[str, float], cells: Mapping[str, float], learning: str) -> None:
        low, high = np.quantile(self.seen.reshape(-1, self.seen.shape[-1]), (0.001, 0.999), axis=0)
        told = {k: v for k, v in self.config.items() if k != "export"} | {f"best_{k}": v for k, v in found.items()}
        network = Exported(layers, self.proposals, self.mean_rps, low - MARGIN, high + MARGIN, learning)
        export(network, self.folder / "best", self.scenario, told | {"best_by_trace": dict(cells)})


def rates_of(scenario: Scenario, drawn: Sequence[Window], intervals: int) -> np.ndarray:
    """(N, A) mean rates of every fifth interval of windows of load."""
    rows = []
    for window in drawn:
        first = round(window.start_s / scenario.interval_s)
        loads = [interval_rates(window.loads[name], scenario.interval_s) for name in scenario.applications]
        rows.append(np.stack(loads, -1)[first : first + intervals : 5] * window.scale)
    return np.concatenate(rows)
