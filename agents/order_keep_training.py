"""Trains the order/keep network: direct gradient of the expected reward, over many traces, cold starts and prices at once.

The kernel measures what each deployment of the menu earns (`agents.order_keep_response`), sequences of load are drawn from the
traces' training parts, and the expected reward of a soft band on them (`agents.order_keep_chain`) is climbed. The network
that earns most on the last part of every training trace, played by the rule that is exported, is kept.
"""

from __future__ import annotations

import csv
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

from agents.order_keep_chain import Band, Chain, Prices, expected_reward
from agents.order_keep_constants import Constants, calibrate, nearest
from agents.order_keep_export import Exported, export
from agents.order_keep_features import Question, groups, left_out, names, question_features
from agents.order_keep_menu import SPREADS, Menu, menu_of
from agents.order_keep_response import measure
from agents.order_keep_rules import Base, Course, at_cold_start, base_of, levels_of, liking, play, wait_intervals
from agents.order_keep_sequences import Pool, draw_pool, interval_rates, pool_of
from envs.scenario import Scenario

LENGTH = 200  # intervals of a sequence
DECISIONS = 100  # of them are learnt from at a time
SCORED_COLD_STARTS_S = (0.0, 30.0, 60.0, 120.0, 300.0)  # 0: the scenario's own
SELECTED_WINDOWS = 24  # of each trace
WINDOW = 120  # intervals


@dataclass(frozen=True)
class OrderKeepSettings:
    """Settings of a run; each says what it does.

    Attributes:
        batch: sequences of an update.
        pool: sequences drawn at a time; features are worked out once for each pool.
        updates_per_pool: before the next pool is drawn.
        hidden: units of the two hidden layers.
        learning_rate: at the start; falls along a cosine to a thirtieth.
        weight_decay: of AdamW.
        leave_out: chance that a sequence is seen without a group of features.
        softness_start, softness_end: tau of `agents.order_keep_chain`, falling geometrically.
        scale_low, scale_high: range of the factor on the load, in three of four sequences.
        level_low, level_high: range of the mean load in the others, of what the largest deployment carries.
        cold_start_spread: cold starts are the scenario's own, 30, 60, 120 and 300 s, up to so much longer or shorter (log).
        prices: train for other weights of cost and violations too, in a quarter of the sequences.
    """

    batch: int = 64
    pool: int = 768
    updates_per_pool: int = 150
    hidden: int = 64
    learning_rate: float = 1.5e-3
    weight_decay: float = 1e-3
    leave_out: float = 0.1
    softness_start: float = 0.08
    softness_end: float = 0.03
    scale_low: float = 0.6
    scale_high: float = 1.6
    level_low: float = 0.04
    level_high: float = 0.9
    cold_start_spread: float = 0.25
    prices: bool = True


class OrderKeepRun:
    """One run.

    Args:
        scenario: the problem.
        rates: by trace, its training part's mean rate in each interval (req/s), at the scenario's mean load.
        config: see `train.DEFAULTS`; ``steps`` are decisions learnt from.
        folder: made; its config.yaml reproduces the run.

    Attributes:
        best: the evaluation of the best network so far, by column; empty before the first.
        steps: decisions learnt from so far.
    """

    def __init__(self, scenario: Scenario, rates: Mapping[str, np.ndarray], config: Mapping[str, Any], folder: Path) -> None:
        self.scenario, self.config, self.folder = scenario, dict(config), folder
        self.settings = OrderKeepSettings(**config["settings"])
        self.menu = menu_of(scenario)
        self.full_rps = float(self.menu.capacity_rps.max())
        self.response = measure(scenario, self.menu.levels, self.menu.capacity_rps)
        self.own_load_s = float(np.mean([v.load_s for v in scenario.variants.values()]))
        device = next(iter(scenario.devices.values()))
        self.budget = device.price * device.budget
        self.cold_starts_s = tuple(load_s or self.own_load_s for load_s in SCORED_COLD_STARTS_S)
        cuts = {name: round(len(rate) * (1 - config["selection"])) for name, rate in rates.items()}
        self.training = [rate[: cuts[name]] for name, rate in rates.items()]
        self.selection = {name: self._windows(rate[cuts[name] :]) for name, rate in rates.items()}
        if short := [name for name, cut in cuts.items() if cut <= LENGTH + 1]:
            raise ValueError(f"trace {', '.join(short)}: too short to train on; it needs {LENGTH + 2} intervals and more")
        self.constants = {load_s: self._constants(load_s) for load_s in self.cold_starts_s}
        torch.manual_seed(config["seed"])
        self.rng = np.random.default_rng(config["seed"])
        self.network = make_network(self.settings.hidden)
        self.best: dict[str, float] = {}
        self.best_by_cell: dict[str, float] = {}
        self.steps = 0
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(self.config, sort_keys=False), encoding="utf-8")

    def learn(self) -> bool:
        """Learns until all steps are done; False where it was interrupted."""
        updates = max(1, self.config["steps"] // (self.settings.batch * DECISIONS))
        every = max(1, min(updates, self.config["evaluate_every"] // (self.settings.batch * DECISIONS)))
        s, began = self.settings, time.process_time()
        pool = self._draw()
        self._evaluate(0.0, None)
        optimiser = torch.optim.AdamW(self.network.parameters(), lr=s.learning_rate, weight_decay=s.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, updates, s.learning_rate / 30)
        bar = tqdm(total=updates, unit="update", disable=not sys.stderr.isatty(), dynamic_ncols=True, leave=False)
        try:
            for update in range(updates):
                if update and update % s.updates_per_pool == 0:
                    pool = self._draw()
                tau = s.softness_start * (s.softness_end / s.softness_start) ** (update / updates)
                loss = -self._expected(pool, tau)
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
                optimiser.step()
                schedule.step()
                self.steps += s.batch * DECISIONS
                bar.update()
                if (update + 1) % every == 0 or update + 1 == updates:
                    self._evaluate(time.process_time() - began, bar)
        except KeyboardInterrupt:
            return False
        finally:
            bar.close()
        return True

    def export_to(self, folder: Path) -> None:
        """Copies the best network."""
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted((self.folder / "best").iterdir(), reverse=True):  # the manifest last
            (folder / path.name).write_bytes(path.read_bytes())

    def score(self, layers: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
        """Reward by the response on each trace's selection windows, at each cold start: ``"trace 30 s": reward``."""
        from agents.network_policy import forward

        found = {}
        weights = self.scenario.weights
        for load_s in self.cold_starts_s:
            question = Question(load_s, weights.cost, weights.slo)
            asked = question_features(question)
            for name, pool in self.selection.items():
                seen = np.concatenate([pool.features, np.broadcast_to(asked, (*pool.features.shape[:2], len(asked)))], -1)
                outputs = at_cold_start(forward(list(layers), seen), load_s, self.cold_starts_s)
                levels = levels_of(outputs, pool.rps[:, :-1], self._base(pool.features, load_s))
                played = play(self._course(question, len(pool.rps)), self.response, levels, pool.rps)
                found[f"{name} {question.load_s:.3g} s"] = float(played.mean())
        return found

    # ---- inside

    def _course(self, question: Question, count: int) -> Course:
        return Course(self.menu, question, self.scenario.weights.change, self.budget, self.scenario.interval_s,
                      np.zeros(count, np.int64))

    def _base(self, features: np.ndarray, load_s: float) -> Base:
        constants = nearest(self.constants, load_s)
        return base_of(*constants.offsets(features), constants.family)

    def _constants(self, load_s: float) -> Constants:
        """What the network corrects, calibrated on the training part."""
        question = Question(load_s, self.scenario.weights.cost, self.scenario.weights.slo)
        rows = [self._windows(rates).rps for rates in self.training]
        rng = np.random.default_rng(0)
        return calibrate(rows, lambda count: self._course(question, count), self.response, len(SPREADS), rng)

    def _windows(self, rates: np.ndarray) -> Pool:
        """Windows spread evenly over a part of a trace."""
        if len(rates) < WINDOW + 1:
            raise ValueError(f"the last {len(rates)} intervals of a trace are too few to select on: raise --selection")
        starts = np.linspace(0, len(rates) - WINDOW - 1, SELECTED_WINDOWS).astype(int)
        rows = np.array([rates[begin : begin + WINDOW + 1] for begin in starts])
        return pool_of(rows, self.scenario.interval_s, self.full_rps, np.random.default_rng(0))

    def _draw(self) -> Pool:
        """A new pool, and the range of its features."""
        s = self.settings
        pool = draw_pool(self.training, s.pool, LENGTH, self.scenario.interval_s, self.full_rps, (s.scale_low, s.scale_high),
                         (s.level_low, s.level_high), self.rng)
        self._range = np.quantile(pool.features[:, ::7].reshape(-1, pool.features.shape[-1]), (0.001, 0.999), axis=0)
        return pool

    def _expected(self, pool: Pool, tau: float) -> torch.Tensor:
        """Expected reward of a batch, one cold start for all of it."""
        s, rng = self.settings, self.rng
        load_s = float(rng.choice(self.cold_starts_s) * np.exp(rng.uniform(-s.cold_start_spread, s.cold_start_spread)))
        wait = wait_intervals(load_s, self.scenario.interval_s)
        span = DECISIONS + 2 * wait
        rows = rng.integers(len(pool.rps), size=s.batch)
        begin = int(rng.integers(LENGTH - span)) if rng.random() < 0.5 else 0
        asked = [self._question(load_s, row) for row in range(s.batch)]
        rps = pool.rps[rows, begin : begin + span + 1]
        w_slo = np.array([q.w_slo for q in asked], np.float32)[:, None, None]
        value = self.response.earned(rps[:, :-1], rps[:, 1:], 1.0, w_slo)
        seen = np.concatenate([
            self._thinned(pool.features[rows, begin : begin + DECISIONS]),
            np.stack([question_features(q) for q in asked])[:, None].repeat(DECISIONS, 1)], -1)
        now = torch.from_numpy(rps[:, :DECISIONS]).float()
        base = self._base(pool.features[rows, begin : begin + DECISIONS], load_s)
        outputs = at_cold_start(self.network(torch.from_numpy(seen)), load_s, self.cold_starts_s)
        band = band_of(outputs, now, base)
        prices = Prices(torch.tensor([q.w_cost for q in asked]), torch.full((s.batch,), self.scenario.weights.change))
        start = torch.full((s.batch, len(self.menu.levels)), 0.5 / len(self.menu.levels))
        start[:, 0] += 0.5
        found = expected_reward(chain_of(self.menu, self.budget), band, torch.from_numpy(value), prices, start,
                                load_s / self.scenario.interval_s, tau)
        return (found / torch.tensor([0.5 + 0.5 * q.w_slo for q in asked])).mean()

    def _question(self, load_s: float, row: int) -> Question:
        weights = self.scenario.weights
        if not self.settings.prices or row % 4:
            return Question(load_s, weights.cost, weights.slo)
        return Question(load_s, *np.exp(self.rng.uniform(np.log([0.01, 0.3]), np.log([0.5, 10.0]))).tolist())

    def _thinned(self, features: np.ndarray) -> np.ndarray:
        for i in range(len(features)):
            out = [group for group in groups() if self.rng.random() < self.settings.leave_out]
            features[i] = left_out(features[i], out) if out else features[i]
        return features

    def _evaluate(self, cpu_s: float, bar: tqdm | None) -> None:
        layers = layers_of(self.network)
        cells = self.score(layers)
        found = {"steps": float(self.steps), "cpu_s": cpu_s, "reward": float(np.mean(list(cells.values())))}
        if not self.best or found["reward"] > self.best["reward"]:
            self.best, self.best_by_cell = found, cells
            told = {k: v for k, v in self.config.items() if k != "export"} | {f"best_{k}": v for k, v in found.items()}
            told["best_by_cell"] = cells
            low, high = self._range
            spread = float(np.exp(self.settings.cold_start_spread))
            cold_starts_s = (min(self.cold_starts_s) / spread, max(self.cold_starts_s) * spread)
            network = Exported(layers, self.menu, self.response, low, high, self.constants, cold_starts_s)
            export(network, self.folder / "best", self.scenario, told)
        path = self.folder / "evaluations.csv"
        with path.open("a" if self.steps else "w", newline="") as file:
            writer = csv.DictWriter(file, [*found, *cells])
            if not self.steps:
                writer.writeheader()
            writer.writerow({**found, **cells})
        told_s = f"{cpu_s / 60:.2f} CPU-min: reward {found['reward']:.4f} (best {self.best['reward']:.4f})"
        if bar is not None:
            bar.set_postfix_str(told_s)
        if bar is None or bar.disable:
            print(f"{self.steps}/{self.config['steps']} steps, {told_s}", file=sys.stderr, flush=True)


def make_network(hidden: int) -> nn.Sequential:
    """A network that corrects nothing at first."""
    outputs = 3 * len(SPREADS) * len(SCORED_COLD_STARTS_S)  # a head for each cold start
    network = nn.Sequential(nn.Linear(len(names()), hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(),
                            nn.Linear(hidden, outputs))
    last = network[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.zero_()
        last.bias.zero_()
    return network


def layers_of(network: nn.Sequential) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights and biases, as `agents.network_policy.forward` takes them."""
    return [(part.weight.detach().numpy().copy(), part.bias.detach().numpy().copy())
            for part in network if isinstance(part, nn.Linear)]


def band_of(outputs: torch.Tensor, now_rps: torch.Tensor, base: Base) -> Band:
    """`agents.order_keep_rules.levels_of` with gradients, and with probabilities of the families."""
    order, gap, family = outputs.chunk(3, dim=-1)
    order = order + now_rps.clamp_min(1e-3).log()[..., None] + torch.tensor(base.order).float()[..., None]
    keep = order + nn.functional.softplus(gap + torch.tensor(base.gap).float()[..., None])
    liked = torch.from_numpy(liking(base.family, family.shape[-1])).float()
    return Band(order, keep, (family + liked).softmax(-1))


def chain_of(menu: Menu, budget: float) -> Chain:
    """The menu as tensors."""
    return Chain(torch.from_numpy(menu.log_rps).float(), torch.from_numpy(menu.family),
                 torch.from_numpy(menu.units / budget).float(), torch.from_numpy(menu.union_units / budget).float())


def rates_of(loads: Mapping[str, Any], scenario: Scenario) -> np.ndarray:
    """(T,) mean rate in each interval of a scenario's only application."""
    return interval_rates(loads[next(iter(scenario.applications))], scenario.interval_s)
