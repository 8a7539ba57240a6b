"""A result file: one policy on one version of the tasks, with digests of both and of the numbers.

The digest is over what was played and what came out, not over times, machine or command: whoever plays the same policy on
another machine gets the same one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from envs.versions import refusal
from reports.bench.play import Played
from reports.bench.score import TrackScore, score
from reports.bench.tasks import SHORT, TaskSet
from reports.record import FORMAT, plain, record

TIMED = ("decision_p50_s",)


def result(name: str, tasks: TaskSet, played: Sequence[Played], argv: Sequence[str]) -> dict[str, Any]:
    """The document of one policy."""
    found = {p.task: {"refused": p.refused, "windows": list(p.windows)} for p in played}
    whose = next((p.identity for p in played if p.identity), {})
    scores = scores_of(tasks, found)
    rows = [
        {
            "figure": f"{s.track} points",
            "value": s.points.value,
            "low": s.points.low,
            "high": s.points.high,
            "how": "0: the static policy, 100: the reference of the track",
        }
        for s in scores
        if s.complete
    ]
    document = record(
        rows,
        argv,
        made=date.today().isoformat(),
        bench={"version": tasks.version, "digest": tasks.digest()},
        policy={"name": name, **whose},
        scores={s.track: plain(asdict(s)) for s in scores},
        tasks=found,
    )
    return {**document, "digest": digest_of(document)}


def scores_of(tasks: TaskSet, played: Mapping[str, Mapping[str, Any]]) -> list[TrackScore]:
    """Points on every track."""
    return [score(tasks, track, played) for track in tasks.tracks]


def digest_of(document: Mapping[str, Any]) -> str:
    """Of the tasks, the policy's name, and every number that is no time."""
    numbers = {
        task: {
            "refused": bool(told["refused"]),
            "windows": [{k: v for k, v in row.items() if k not in TIMED} for row in told["windows"]],
        }
        for task, told in document["tasks"].items()
    }
    said = [document["bench"], document["policy"]["name"], numbers]
    return hashlib.sha256(json.dumps(plain(said), sort_keys=True).encode()).hexdigest()[:SHORT]


def read(path: Path) -> dict[str, Any]:
    """A result file.

    Raises:
        ValueError: it is not one, or its numbers are not those that its digest was made of.
    """
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        other = refusal("result, format", document.get("format", 1), FORMAT, "play it again")  # the first ones said none
        if other:
            raise ValueError(f"{path}: {other}")
        right = document["digest"] == digest_of(document)
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not a result of the bench") from error
    if not right:
        raise ValueError(f"{path}: its digest is not that of its numbers; play it again")
    return document
