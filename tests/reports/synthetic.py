"""Synthetic episodes with the shape of real ones: a fluid queue, simple policies, and a load with a daily swing and bursts.

Not a simulator: just numbers that hang together (capacity below load makes a queue, a queue makes latency and violations), so
that statistics, tables and the page can be tested and looked at without the simulated cluster.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from envs.episode import Episode
from envs.scenario import Weights

WEIGHTS = Weights()
SLO_S = 0.75
BUDGET = 20
VARIANTS = {
    "resnet18": (0.69758, 24.4, 6.44, -6.0),
    "resnet34": (0.73314, 13.0, 6.79, -1.9),
    "resnet50": (0.7613, 10.3, 6.82, -3.8),
    "resnet101": (0.77374, 5.09, 7.77, 0.0),
    "resnet152": (0.78312, 3.81, 8.52, -2.2),
}


def capacity_rps(variant: str, cores: int) -> float:
    _, slope, _, intercept = VARIANTS[variant]
    return max(0.8 * (slope * cores + intercept), 0.0) if cores else 0.0


def load_rps(start_s: float, count: int, interval_s: float, mean_rps: float = 95.0) -> np.ndarray:
    """A daily swing with bursts, the same for everyone who asks for the same stretch."""
    t = start_s + interval_s * np.arange(count)
    swing = 1 + 0.35 * np.sin(2 * np.pi * t / 86_400 - 1.0) + 0.08 * np.sin(2 * np.pi * t / 5400)
    rng = np.random.default_rng(int(start_s))
    bursts = np.zeros(count)
    for at in rng.integers(0, count, size=max(1, count // 60)):
        bursts += rng.uniform(0.5, 1.3) * np.exp(-np.abs(np.arange(count) - at) / rng.uniform(0.8, 3))
    return mean_rps * (swing + bursts) * rng.gamma(300, 1 / 300, count)


def plan(style: str, past: np.ndarray, held: dict[str, int]) -> tuple[dict[str, int], str, dict[str, float]]:
    """Cores per variant, the reason, and the numbers behind it."""
    if style == "static":
        return {"resnet50": 14}, "fixed: 14 cores of resnet50", {}
    if style == "hpa":
        used = past[-1] / max(sum(capacity_rps(v, c) for v, c in held.items()), 1.0) * 0.8
        cores = max(sum(held.values()), 1)
        wanted = int(np.clip(np.ceil(cores * used / 0.6), 2, BUDGET)) if abs(used / 0.6 - 1) > 0.1 else cores
        reason = (
            f"utilisation {used:.2f} against 0.60: {cores} -> {wanted} cores"
            if wanted != cores
            else "utilisation within 10 % of 0.60"
        )
        return {"resnet34": wanted}, reason, {"utilisation": used}
    headroom = {"infadapter": 1.12, "infadapter-fast": 1.05, "ppo": 1.0}.get(style, 1.1)
    forecast = headroom * (past[-10:].max() if style != "ppo" else past[-1] + max(past[-1] - past[-2], 0.0))
    if held and style != "ppo":
        now = sum(capacity_rps(v, c) for v, c in held.items())
        if now * 0.75 < forecast < now * 0.98:
            return held, f"forecast {forecast:.0f} req/s fits the running deployment", {"forecast_rps": forecast}
    best: tuple[float, dict[str, int]] = (-9.0, {"resnet18": BUDGET})
    names = list(VARIANTS)
    for low in range(5):
        for high in range(low, 5):
            for a in range(0, BUDGET + 1, 2):
                for b in range(0, BUDGET + 1 - a, 2):
                    deployment = {names[low]: a, names[high]: b} if low != high else {names[low]: a}
                    carried = [capacity_rps(v, c) for v, c in deployment.items()]
                    if sum(carried) < forecast or (low == high and b):
                        continue
                    accuracy = sum(VARIANTS[v][0] * r for v, r in zip(deployment, carried)) / sum(carried)
                    value = accuracy - 0.05 * sum(deployment.values()) / BUDGET
                    if value > best[0]:
                        best = (value, {v: c for v, c in deployment.items() if c})
    if best[1] == held:
        return held, f"forecast {forecast:.0f} req/s: nothing better", {"forecast_rps": forecast, "objective": best[0]}
    return (
        best[1],
        f"load {past[-1]:.0f} req/s, forecast {forecast:.0f} req/s",
        {"forecast_rps": forecast, "objective": best[0]},
    )


def episode(
    policy: str,
    seed: int = 0,
    start_s: float = 0.0,
    intervals: int = 120,
    interval_s: float = 30.0,
    trace: str = "twitter",
    calibrated: bool | None = None,
) -> Episode:
    """One policy on one stretch of load; the same seed gives every policy the same load."""
    noise = np.random.default_rng([seed, int(start_s)])
    offered = load_rps(start_s, intervals + 11, interval_s) * noise.gamma(400, 1 / 400, intervals + 11)
    past, offered = offered[:11], offered[11:]
    held: dict[str, int] = {"resnet50": 14}
    queue, rows, replicas, decisions = 0.0, [], [], []
    clock = np.random.default_rng([seed, 1])
    for k in range(intervals):
        t = k * interval_s
        wanted, reason, details = plan(policy, np.concatenate([past, offered[:k]]), held)
        changed = wanted != held
        load_s = max((VARIANTS[v][2] for v in wanted if wanted[v] != held.get(v, 0)), default=0.0)
        late_share = min(load_s / interval_s, 1.0)
        before, after = (sum(capacity_rps(v, c) for v, c in d.items()) for d in (held, wanted))
        capacity = min(before, after) * late_share + after * (1 - late_share) if policy != "infadapter-fast" else after
        queue_before = queue
        queue = max(queue + (offered[k] - capacity / 0.85) * interval_s, 0.0)
        queue = min(queue, 3 * max(capacity, 1.0))
        dropped = max(queue_before + (offered[k] - capacity / 0.85) * interval_s - 3 * capacity, 0.0) / (
            offered[k] * interval_s
        )
        utilisation = min(offered[k] / max(capacity / 0.8, 1e-9), 0.99)
        wait = queue / max(capacity, 1e-9) + 0.02 / (1 - utilisation)
        p50, p99 = 0.11 + 0.6 * wait, 0.2 + 1.2 * wait + 0.1 * noise.random()
        late = float(np.clip((p99 - SLO_S) / SLO_S, 0.0, 0.9)) * 0.4
        violation = min(late + dropped, 1.0)
        accuracy = sum(VARIANTS[v][0] * capacity_rps(v, c) for v, c in wanted.items()) / max(after, 1e-9) * (1 - violation)
        units = sum(wanted.values()) + (sum(c for v, c in held.items() if wanted.get(v) != c) * late_share if changed else 0)
        cost, change = units / BUDGET, load_s / 8.52
        rows.append(
            {
                "t_s": t,
                "offered_rps": offered[k],
                "settled": int(offered[k] * interval_s),
                "violation_ratio": violation,
                "late_ratio": violation - min(dropped, violation),
                "rejected_ratio": 0.0,
                "dropped_ratio": min(dropped, violation),
                "failed_ratio": 0.0,
                "accuracy": accuracy,
                "cost": cost,
                "change": change,
                "reward": WEIGHTS.accuracy * accuracy
                - WEIGHTS.cost * cost
                - WEIGHTS.slo * violation
                - WEIGHTS.change * change,
                "p50_s": p50,
                "p95_s": (p50 + 2 * p99) / 3,
                "p99_s": p99,
                "queue": queue,
                "capacity_rps": after,
                "held_units": units,
            }
        )
        for v, c in wanted.items():
            replicas.append(
                {
                    "t_s": t + interval_s,
                    "kind": f"{v} @{c}c",
                    "variant": v,
                    "state": "ready",
                    "count": 1,
                    "units": c,
                    "capacity_rps": capacity_rps(v, c),
                }
            )
        if changed and k % 3 == 0:
            replicas.append(
                {
                    "t_s": t + interval_s,
                    "kind": "resnet50 @4c",
                    "variant": "resnet50",
                    "state": "draining",
                    "count": 1,
                    "units": 4,
                    "capacity_rps": capacity_rps("resnet50", 4),
                }
            )
        decisions.append(
            {
                "t_s": t,
                "deployment": ", ".join(f"1 x {v} @{c}c" for v, c in sorted(wanted.items())),
                "reason": reason,
                "decision_s": clock.gamma(8) * {"static": 1e-6, "hpa": 4e-6, "ppo": 3e-5}.get(policy, 8e-4),
                "notes": "step limited to 4 cores" if policy == "ppo" and k % 37 == 5 else "",
                **{f"detail_{name}": value for name, value in details.items()},
            }
        )
        held = wanted
    table, choices = pd.DataFrame(rows), pd.DataFrame(decisions)
    settled = int(table["settled"].sum())
    counts = {
        name: round(float((table[f"{name}_ratio"] * table["settled"]).sum()))
        for name in ("late", "rejected", "dropped", "failed")
    }
    bad = sum(counts.values())
    totals: dict[str, float] = {
        "settled": settled,
        "good": settled - bad,
        **counts,
        "violation_ratio": bad / settled,
        "accuracy": float(np.average(table["accuracy"], weights=table["settled"])),
        "cost": float(table["cost"].mean()),
        "change": float(table["change"].mean()),
        "reward": float(table["reward"].mean()),
        "p50_s": float(table["p50_s"].median()),
        "p95_s": float(table["p95_s"].quantile(0.9)),
        "p99_s": float(table["p99_s"].quantile(0.97)),
        "decision_p50_s": float(choices["decision_s"].median()),
        "decision_p99_s": float(choices["decision_s"].quantile(0.99)),
    }
    return Episode(
        policy,
        "resnet-variants",
        trace,
        seed,
        start_s,
        table,
        pd.DataFrame(replicas),
        choices,
        totals,
        {"calibrated": calibrated},
    )


def episodes(
    policies: tuple[str, ...] = ("infadapter", "hpa", "static", "ppo"), windows: int = 3, seeds: int = 2, **options
) -> list[Episode]:
    """Every policy on the same windows and seeds."""
    calibrated = {"infadapter": True, "infadapter-fast": True, "hpa": False, "static": False}
    return [
        episode(p, seed, 7200.0 * w, calibrated=calibrated.get(p), **options)
        for w in range(windows)
        for seed in range(seeds)
        for p in policies
    ]
