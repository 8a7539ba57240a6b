"""`evaluate.py --leaderboard`: docs/leaderboard.md from the result files in docs/leaderboard/, and from nothing else.

Each set of tasks has a version, and a folder of results, of its own: a set more changes nothing of those that are there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from reports.bench.command import text
from reports.bench.result import read as read_result
from reports.bench.result import scores_of
from reports.bench.score import TrackScore
from reports.bench.tasks import PLACEMENT, SHORT, TASKS, TaskSet, read
from reports.protocol_play import KNOWS
from reports.record import HOUSE

RESULTS, PAGE = HOUSE / "docs" / "leaderboard", HOUSE / "docs" / "leaderboard.md"
SETS = ((TASKS, RESULTS), (PLACEMENT, RESULTS / PLACEMENT.stem))
Results = Sequence[Mapping[str, Any]]
HEAD = """\
# Leaderboard

Tidal Bench {sets}. Points: 0 is what the static policy earned on the same requests, 100 what the
track's reference earned in hindsight; a task far below the static policy counts −100. In brackets 95 % intervals over windows
of load. Every policy plays as it ships, a planner with the settings of `baselines/calibrated/` where it has some there: on
`resnet-variants`, tuned on a real trace with cold starts of 6 to 9 s; else with its published constants. Where each is
calibrated for every load and cold start is the [protocol](protocol.md). What the tasks are, and how to put your own policy
here: [bench](bench.md). Made from the files in `docs/leaderboard/` by

    python evaluate.py --leaderboard
"""


def run(arguments: argparse.Namespace, argv: Sequence[str]) -> bool:
    """Writes the page; False where a file was left out.

    Raises:
        ValueError: there is no result of this version.
    """
    given = arguments.tasks or arguments.results
    sets = [(arguments.tasks or TASKS, arguments.results or RESULTS)] if given else SETS
    found: list[tuple[TaskSet, Results]] = []
    left_out: list[str] = []
    for file, folder in sets:
        tasks = read(file)
        results, wrong = _results(folder, tasks)
        if not results:
            raise ValueError(
                f"no result of version {tasks.version} in {folder}: evaluate.py --bench POLICY --results FOLDER writes one"
            )
        found.append((tasks, results))
        left_out += wrong
    for sentence in left_out:
        print(f"! {sentence}", file=sys.stderr)
    path = arguments.report or PAGE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(found), encoding="utf-8")
    print(f"{sum(len(results) for _, results in found)} results: {path}")
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


def page(sets: Sequence[tuple[TaskSet, Results]]) -> str:
    """The page, in Markdown; the same files give the same page."""
    told = " and ".join(f"version {tasks.version} (tasks `{tasks.digest()}`)" for tasks, _ in sets)
    parts = [HEAD.format(sets=told)]
    for tasks, results in sets:
        parts += _tracks(tasks, results)
    return "\n".join([*parts, _made([row for _, results in sets for row in results])])


def _tracks(tasks: TaskSet, results: Results) -> Iterator[str]:
    """A section for each track of a set."""
    scored = {d["policy"]["name"]: {s.track: s for s in scores_of(tasks, d["tasks"])} for d in results}
    of = {d["policy"]["name"]: d for d in results}
    for track, about in tasks.tracks.items():
        rows = [(name, s[track]) for name, s in scored.items() if s[track].tasks]
        if rows:
            reference = "the oracle" if about.reference == "oracle" else "every request in time, by the best model, at no cost"
            yield f"## {track.capitalize()}\n\n{about.told[0].upper()}{about.told[1:]}. 100: {reference}.\n"
            yield _table(tasks, track, rows, of)


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
                    kind,
                    text(s) if s.complete else "not all tasks",
                    f"{100 * s.violations:.2f} %",
                    f"{100 * s.accuracy:.1f} %",
                    f"{100 * s.cost:.1f} %",
                    *(_whole(s.tasks[t]) if t in s.tasks else "–" for t in names),
                ]
            )
            + " |"
        )
    return "\n".join(lines) + "\n"


def _whole(points: float) -> str:
    """Points without decimals; no "-0"."""
    return f"{round(points):d}".replace("-", "−")


def _made(results: Results) -> str:
    """Which result each row shows, and who made it."""
    again = "`python evaluate.py --bench POLICY --results docs/leaderboard`"
    placement = "`--tasks reports/bench/placement.yaml --results docs/leaderboard/placement`"
    how = f"A row is made again, with the same result digest, by {again};\none of placement with {placement}."
    lines = [f"## Where the rows come from\n\n{how}\n"]
    lines += ["| policy | version | result | made | code | class | sha256 of weights or code |", f"|{'---|' * 7}"]
    for d in sorted(results, key=lambda d: (d["policy"]["name"], d["bench"]["version"])):
        who = d["policy"]
        digest = (who.get("weights_sha256") or who.get("code_sha256") or "")[:SHORT]
        told = f"`{who.get('class', '')}`" if who.get("class") else ""
        row = (f"`{who['name']}`", d["bench"]["version"], f"`{d['digest']}`", d["made"], d["versions"]["tidal"], told, digest)
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"
