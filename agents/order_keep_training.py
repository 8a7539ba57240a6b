"""Trains the order/keep network: direct gradient of the expected reward, over many traces, cold starts and prices at once.

The kernel measures what each deployment of the menu earns (`agents.order_keep_response`), sequences of load are drawn from the
traces' training parts, and the expected reward of a soft band on them (`agents.order_keep_chain`) is climbed. The network
that earns most on the last part of every training trace, played by the rule that is exported, is kept.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn
from tqdm import tqdm

from agents import run_state
from agents.order_keep_batches import DECISIONS, Batch, Batches, BatchSettings
from agents.order_keep_chain import Prices, expected_reward
from agents.order_keep_export import Exported, export
from agents.order_keep_network import band_of, chain_of, layers_of, make_network
from agents.order_keep_rules import at_cold_start
from agents.order_keep_stage import Stage


@dataclass(frozen=True)
class OrderKeepSettings(BatchSettings):
    """Settings of a run beside those of `agents.order_keep_batches.BatchSettings`; each says what it does.

    Attributes:
        hidden: units of the two hidden layers.
        learning_rate: at the start; falls along a cosine to a thirtieth.
        weight_decay: of AdamW.
        softness_start, softness_end: tau of `agents.order_keep_chain`, falling geometrically.
    """

    hidden: int = 64
    learning_rate: float = 1.5e-3
    weight_decay: float = 1e-3
    softness_start: float = 0.04
    softness_end: float = 0.015


class OrderKeepRun:
    """One run. Between two evaluations it learns from one pool of sequences; there it is saved, and goes on after a stop.

    Args:
        stage: what it is trained and chosen on.
        config: see `train.DEFAULTS`; ``steps`` are decisions learnt from.
        folder: made; its config.yaml reproduces the run.

    Attributes:
        best: the evaluation of the best network so far, by column; empty before the first.
        steps: decisions learnt from so far.
    """

    def __init__(self, stage: Stage, config: Mapping[str, Any], folder: Path) -> None:
        self.stage, self.config, self.folder = stage, dict(config), folder
        self.settings = OrderKeepSettings(**config["settings"])
        self.batches = Batches(stage, self.settings, np.random.default_rng(config["seed"]))
        torch.manual_seed(config["seed"])
        self.network = make_network(self.settings.hidden, stage.menu.families)
        self.chain = chain_of(stage.menu, stage.budget)
        of_update = self.settings.batch * DECISIONS
        self.updates = max(1, config["steps"] // of_update)
        self.every = max(1, min(self.updates, config["evaluate_every"] // of_update))
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=self.settings.learning_rate,
                                           weight_decay=self.settings.weight_decay)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimiser, self.updates,
                                                                   self.settings.learning_rate / 30)
        self.done, self.cpu_s = 0, 0.0
        self.best: dict[str, float] = {}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(self.config, sort_keys=False), encoding="utf-8")

    @property
    def steps(self) -> int:
        """Decisions learnt from so far."""
        return self.done * self.settings.batch * DECISIONS

    def learn(self) -> bool:
        """Learns until all steps are done; False where it was interrupted."""
        bar = tqdm(total=self.updates, initial=self.done, unit="update", disable=not sys.stderr.isatty(), dynamic_ncols=True,
                   leave=False)
        try:
            while self.done < self.updates:
                began = time.process_time()
                self.batches.draw()
                if not self.done:
                    self._evaluate(bar)
                for _ in range(min(self.every, self.updates - self.done)):
                    self._update()
                    bar.update()
                self.cpu_s += time.process_time() - began
                self._evaluate(bar)
                run_state.save_climb(self, self.batches.rng)
        except KeyboardInterrupt:
            return False
        finally:
            bar.close()
        self._confirm()
        return True

    def resume(self) -> None:
        """Goes back to the last evaluation.

        Raises:
            ValueError: the folder has no checkpoint of such a run.
        """
        run_state.resume_climb(self, self.batches.rng)

    # ---- inside

    def _confirm(self) -> None:
        """Who is to decide, in the kernel."""
        for load_s, earned in self.stage.confirmation.confirm(self.folder / "best").items():
            told = ", ".join(f"{who} {reward:.4f}" for who, reward in earned.items())
            print(f"in the kernel at {load_s:.3g} s: {told}", file=sys.stderr, flush=True)

    def _update(self) -> None:
        s = self.settings
        tau = s.softness_start * (s.softness_end / s.softness_start) ** (self.done / self.updates)
        loss = -self._expected(self.batches.next(), tau)
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.schedule.step()
        self.done += 1

    def _expected(self, batch: Batch, tau: float) -> torch.Tensor:
        """Expected reward of a batch, each sequence in units of what its prices can take."""
        stage, entries = self.stage, len(self.stage.menu.levels)
        outputs = at_cold_start(self.network(torch.from_numpy(batch.seen)), batch.load_s, stage.cold_starts_s)
        band = band_of(outputs, torch.from_numpy(batch.now_rps).float(), batch.base)
        change = torch.full((len(batch.w_cost),), stage.scenario.weights.change)
        prices = Prices(torch.from_numpy(batch.w_cost), change)
        start = torch.full((len(batch.w_cost), entries), 0.5 / entries)
        start[:, stage.first(batch.load_s) or 0] += 0.5
        found = expected_reward(self.chain, band, torch.from_numpy(batch.value), prices, start,
                                batch.load_s / stage.scenario.interval_s, tau)
        return (found / torch.from_numpy(0.5 + 0.5 * batch.w_slo)).mean()

    def _evaluate(self, bar: tqdm) -> None:
        layers = layers_of(self.network)
        calm, cells = self.stage.settled(layers)
        found = {"steps": float(self.steps), "cpu_s": self.cpu_s, "reward": float(np.mean(list(cells.values())))}
        if not self.best or found["reward"] > self.best["reward"]:
            self.best = found
            told = {k: v for k, v in self.config.items() if k != "export"} | {f"best_{k}": v for k, v in found.items()}
            spread = math.exp(self.settings.cold_start_spread)
            cold_starts_s = (min(self.stage.cold_starts_s) / spread, max(self.stage.cold_starts_s) * spread)
            network = Exported(layers, self.stage.menu, self.stage.response, *self.batches.range, self.stage.constants,
                               cold_starts_s, self.stage.planner, calm)
            export(network, self.folder / "best", self.stage.scenario, told | {"best_by_cell": cells})
        run_state.record(self.folder, {**found, **cells})
        told_s = f"{self.cpu_s / 60:.2f} CPU-min: reward {found['reward']:.4f} (best {self.best['reward']:.4f})"
        bar.set_postfix_str(told_s)
        if bar.disable:
            print(f"{self.steps}/{self.config['steps']} steps, {told_s}", file=sys.stderr, flush=True)
