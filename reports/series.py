"""Timelines for the page: the course of one episode as rows of short numbers, and its decisions, "no change" folded.

Down-sampling keeps what a reader looks for: latencies and queues keep the maximum of the intervals that become one point, the
violation share is that of all requests settled in them, everything else is their mean. Numbers have four significant digits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from envs.episode import Episode
from envs.scenario import Scenario

OTHER = "others"
MOST_VARIANTS = 7
MAXIMA = ("p50_s", "p99_s", "queue")
MEANS = ("offered_rps", "capacity_rps", "cost", "held_units", "accuracy", "reward")
_PART = re.compile(r"(\d+) x (.+?)(?=, \d+ x |$)")


def variant_order(scenario: Scenario, episodes: Iterable[Episode]) -> list[str]:
    """Variants that the episodes used, by rising accuracy; beyond `MOST_VARIANTS` the least used ones become `OTHER`."""
    used: dict[str, float] = {}
    for episode in episodes:
        for variant, units in episode.replicas.groupby("variant")["units"].sum().items():
            used[str(variant)] = used.get(str(variant), 0.0) + float(units)
    kept = sorted(used, key=lambda v: (-used[v], v))[:MOST_VARIANTS]
    ordered = sorted(kept, key=lambda v: (scenario.variants[v].accuracy if v in scenario.variants else 0.0, v))
    return ordered + ([OTHER] if len(used) > len(kept) else [])


def timeline(episode: Episode, variants: Sequence[str], interval_s: float, most_points: int) -> dict[str, Any]:
    """One episode's course as lists of equal length, and the number of intervals behind each point.

    Returns:
        ``per_point``, ``t_s``, the measures, and per variant ``capacity`` (req/s of ready replicas), ``ready`` (units held by
        ready replicas), ``count`` (ready replicas), with ``pending`` and ``draining`` (units, all variants).
    """
    table = episode.intervals
    k = max(1, -(-len(table) // max(most_points, 1)))
    group = np.arange(len(table)) // k
    grouped = table.groupby(group)
    points: dict[str, Any] = {"per_point": k, "t_s": _short(grouped["t_s"].first())}
    points |= {name: _short(grouped[name].max()) for name in MAXIMA}
    points |= {name: _short(grouped[name].mean()) for name in MEANS}
    weighed = (table["violation_ratio"].fillna(0.0) * table["settled"]).groupby(group).sum()
    points["violation_ratio"] = _short(weighed / grouped["settled"].sum().replace(0, np.nan))
    points |= _replicas(episode.replicas, variants, np.asarray(table["t_s"], dtype=np.float64) + interval_s, group)
    return points


def _replicas(replicas: pd.DataFrame, variants: Sequence[str], ends_s: np.ndarray, group: np.ndarray) -> dict[str, Any]:
    """Means per point of what each variant held at the ends of its intervals."""
    named = replicas.assign(
        interval=np.clip(np.searchsorted(ends_s, replicas["t_s"].to_numpy(dtype=np.float64) - 1e-6), 0, len(ends_s) - 1),
        variant=[v if v in variants else OTHER for v in replicas["variant"]],
    )

    def course(rows: pd.DataFrame, column: str) -> list[float | None]:
        per_interval = rows.groupby("interval")[column].sum().reindex(range(len(ends_s)), fill_value=0.0)
        return _short(per_interval.groupby(group).mean())

    ready = named[named["state"] == "ready"]
    found: dict[str, Any] = {
        name: {v: course(ready[ready["variant"] == v], column) for v in variants}
        for name, column in (("capacity", "capacity_rps"), ("ready", "units"), ("count", "count"))
    }
    return found | {state: course(named[named["state"] == state], "units") for state in ("pending", "draining")}


def decisions(episode: Episode, most_rows: int, initial: object = None) -> list[dict[str, Any]]:
    """Decisions with what they changed, runs of unchanged ones folded into their first; the most telling `most_rows` of them.

    Args:
        episode: what was played.
        most_rows: how many rows to keep.
        initial: the deployment that was ready at first, which the first decision is held against; None: not known.

    Returns:
        Rows ``t_s, held`` (decisions folded), ``change`` (what differs from the desired deployment before), ``deployment``,
        ``reason``, ``notes``, ``decision_ms`` (slowest of those folded), ``details``. Beyond `most_rows`, unchanged ones go
        first, then the latest.
    """
    rows: list[dict[str, Any]] = []
    columns = [c for c in episode.decisions.columns if c.startswith("detail_")]
    before = None if initial is None else _counts(initial)
    for record in episode.decisions.to_dict("records"):
        now = _counts(record["deployment"])
        slow_ms = _digits(1000 * float(record["decision_s"]))
        notes = str(record["notes"] or "")
        if before is not None and now == before and not notes and rows and not rows[-1]["change"] and not rows[-1]["notes"]:
            rows[-1]["held"] += 1
            rows[-1]["decision_ms"] = max(rows[-1]["decision_ms"], slow_ms)
            continue
        numbers = {c.removeprefix("detail_"): _digits(float(record[c])) for c in columns if np.isfinite(record[c])}
        rows.append(
            {
                "t_s": float(record["t_s"]),
                "held": 1,
                "change": "" if before is None else _difference(before, now),
                "deployment": str(record["deployment"]),
                "reason": str(record["reason"]),
                "notes": notes,
                "decision_ms": slow_ms,
                "details": numbers,
            }
        )
        before = now
    if len(rows) > most_rows:
        ranked = sorted(range(len(rows)), key=lambda i: (not (rows[i]["change"] or rows[i]["notes"]), i))[:most_rows]
        rows = [rows[i] for i in sorted(ranked)]
    return rows


def _counts(deployment: object) -> dict[str, int]:
    """Counts by replica kind, of a `Deployment` or of its text."""
    replicas = getattr(deployment, "replicas", None)
    if isinstance(replicas, Mapping):
        return {str(kind): int(n) for kind, n in replicas.items()}
    return {kind: int(n) for n, kind in _PART.findall(str(deployment))}


def _difference(before: Mapping[str, int], now: Mapping[str, int]) -> str:
    """'+1 resnet50 @8c, −1 resnet50 @6c'."""
    gained = [(kind, now.get(kind, 0) - before.get(kind, 0)) for kind in [*now, *(k for k in before if k not in now)]]
    return ", ".join(f"{'+' if n > 0 else '−'}{abs(n)} {kind}" for kind, n in sorted(gained, key=lambda x: -x[1]) if n)


def _short(values: pd.Series) -> list[float | None]:
    return [_digits(float(v)) if np.isfinite(v) else None for v in values]


def _digits(value: float) -> float:
    """Four significant digits; whole numbers without a point in JSON."""
    short = float(f"{value:.4g}")
    return int(short) if short.is_integer() else short
