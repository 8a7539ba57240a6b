"""`evaluate.py --leaderboard`: docs/leaderboard.md from the result files in docs/leaderboard/, and from nothing else."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reports.bench.command import text
from reports.bench.result import read as read_result
from reports.bench.result import scores_of
from reports.bench.score import TrackScore
from reports.bench.tasks import TASKS, TaskSet, read
from reports.protocol_play import KNOWS
from reports.record import HOUSE

RESULTS, PAGE = HOUSE / "docs" / "leaderboard", HOUSE / "docs" / "leaderboard.md"
HEAD = """\
# Leaderboard

Tidal Bench version {version} (tasks `{digest}`). Points: 0 is what the static policy earned on the same requests, 100 what the
track's reference earned in hindsight; a task far below the static policy counts −100. In brackets 95 % intervals over windows
of load. What the tasks are, and how to put your own policy here: [bench](bench.md). Made from the files in `docs/leaderboard/` by

    python evaluate.py --leaderboard
"""


def run(arguments: argparse.Namespace, argv: Sequence[str]) -> bool:
    """Writes the page; False where a file was left out.

    Raises:
        ValueError: there is no result of this version.
    """
    tasks = read(arguments.tasks or TASKS)
    results, left_out = _results(arguments.results or RESULTS, tasks)
    if not results:
        raise ValueError(
            f"no result of version {tasks.version} in {arguments.results or RESULTS}: evaluate.py --bench POLICY "
            "--results FOLDER writes one"
        )
    for sentence in left_out:
        print(f"! {sentence}", file=sys.stderr)
    path = arguments.report or PAGE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(tasks, results), encoding="utf-8")
    print(f"{len(results)} policies: {path}")
    return not left_out


def _results(folder: Path, tasks: TaskSet) -> tuple[list[dict[str, Any]], list[str]]:
    """The results of these tasks, and what is wrong with the others."""
    found, wrong = [], []
    for path in sorted(folder.glob("*.json")):
        try:
            document = read_result(path)
        except ValueError as error:
            wrong.append(str(error))
            continue
        if document["bench"] == {"version": tasks.version, "digest": tasks.digest()}:
            found.append(document)
        else:
            wrong.append(f"{path}: of tasks {document['bench']['digest']}, not {tasks.digest()}; play it again")
    return found, wrong


def page(tasks: TaskSet, results: Sequence[Mapping[str, Any]]) -> str:
    """The page, in Markdown; the same files give the same page."""
    scored = {d["policy"]["name"]: {s.track: s for s in scores_of(tasks, d["tasks"])} for d in results}
    of = {d["policy"]["name"]: d for d in results}
    parts = [HEAD.format(version=tasks.version, digest=tasks.digest())]
    for track, about in tasks.tracks.items():
        rows = [(name, s[track]) for name, s in scored.items() if s[track].tasks]
        if rows:
            reference = "the oracle" if about.reference == "oracle" else "every request in time, by the best model, at no cost"
            parts.append(f"## {track.capitalize()}\n\n{about.told.capitalize()}. 100: {reference}.\n")
            parts.append(_table(tasks, track, rows, of))
    return "\n".join([*parts, _made(results)])


def _table(tasks: TaskSet, track: str, rows: list[tuple[str, TrackScore]], of: Mapping[str, Mapping[str, Any]]) -> str:
    names = [t.name for t in tasks.tasks if t.track == track]
    whole = sorted((row for row in rows if row[1].complete), key=lambda row: -row[1].points.value)
    part = sorted((row for row in rows if not row[1].complete), key=lambda row: row[0])
    lines = [
        f"| | policy | how | points | violations | accuracy | cost | {' | '.join(names)} |",
        f"|---|---|---|---|---|---|---|{'---|' * len(names)}",
    ]
    rank = 0
    for name, s in [*whole, *part]:
        kind = of[name]["policy"].get("kind", "")
        ranked = s.complete and kind != KNOWS
        rank += ranked
        lines.append(
            " | ".join(
                [
                    f"| {rank if ranked else ''}",
                    f"`{name}`",
                    _how(of[name]["policy"]),
                    text(s) if s.complete else "not all tasks",
                    f"{100 * s.violations:.2f} %",
                    f"{100 * s.accuracy:.1f} %",
                    f"{100 * s.cost:.1f} %",
                    *(f"{s.tasks[t]:.0f}".replace("-", "−") if t in s.tasks else "–" for t in names),
                ]
            )
            + " |"
        )
    return "\n".join(lines) + "\n"


def _how(policy: Mapping[str, Any]) -> str:
    return str(policy.get("kind", "")) + (", uncalibrated" if policy.get("calibrated") is False else "")


def _made(results: Sequence[Mapping[str, Any]]) -> str:
    """Which file each row comes from."""
    lines = ["## Where the rows come from\n", "| policy | result | made | code | command |", "|---|---|---|---|---|"]
    for d in sorted(results, key=lambda d: d["policy"]["name"]):
        lines.append(
            f"| `{d['policy']['name']}` | `{d['digest']}` | {d['made']} | {d['versions']['tidal']} | `{d['command']}` |"
        )
    return "\n".join(lines) + "\n"
