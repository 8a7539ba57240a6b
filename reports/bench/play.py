"""One policy on one task: what it earned in each window."""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baselines.bound import bound
from baselines.future import Future
from baselines.oracle import Oracle
from envs.contract import Policy
from envs.episode import run_episode
from envs.scenario import Scenario
from reports.bench.tasks import Task
from reports.hindsight import BOUND
from reports.play import make_policy
from reports.protocol_play import KNOWS, kind, manifest_of

KEPT = ("reward", "violation_ratio", "accuracy", "cost", "p99_s", "settled", "decision_p50_s")
EXACT = 9  # decimals that a result keeps, so that a digest forgives the last bits


@dataclass(frozen=True)
class Played:
    """What one policy did on one task.

    Attributes:
        task: its name.
        refused: why the policy cannot play it; "" where it did.
        windows: by window, in order: ``start_s, reward, violation_ratio, accuracy, cost``, and for a policy that plays
            ``p99_s, settled, decision_p50_s``.
        identity: who decided, see `identity`.
    """

    task: str
    refused: str
    windows: tuple[dict[str, float], ...]
    identity: dict[str, Any]


def play(name: str, task: Task) -> Played:
    """Plays all windows. A policy that cannot solve such a problem says so by a ValueError or LookupError."""
    scenario = task.problem()
    try:
        if name == BOUND:
            windows = [_bound(scenario, future) for future in task.futures()]
            return Played(task.name, "", tuple(windows), {"kind": KNOWS})
        policy = make_policy(name, scenario)
        windows = [_window(scenario, policy, future) for future in task.futures()]
    except (ValueError, LookupError) as error:
        return Played(task.name, " ".join(str(error.args[0] if error.args else error).split()), (), {})
    return Played(task.name, "", tuple(windows), identity(policy))


def _window(scenario: Scenario, policy: Policy, future: Future) -> dict[str, float]:
    player = policy.foresee(future) if isinstance(policy, Oracle) else policy
    episode = run_episode(scenario, player, future.loads, seed=future.seed, start_s=future.start_s, intervals=future.intervals)
    return {"start_s": future.start_s, **{name: round(float(episode.totals[name]), EXACT) for name in KEPT}}


def _bound(scenario: Scenario, future: Future) -> dict[str, float]:
    found = bound(scenario, future)
    told = {"reward": found.reward, "violation_ratio": found.violation, "accuracy": found.accuracy, "cost": found.cost}
    return {"start_s": future.start_s, **{name: round(value, EXACT) for name, value in told.items()}}


def identity(policy: Policy) -> dict[str, Any]:
    """Who decides: how it came to (``kind``), its class, and a digest of its weights or its code."""
    weights = getattr(manifest_of(policy), "weights_sha256", "")
    source = inspect.getsourcefile(type(policy))
    code = hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else ""
    return {
        "kind": kind(policy),
        "class": f"{type(policy).__module__}:{type(policy).__qualname__}",
        "weights_sha256": weights,
        "code_sha256": code,
    }
