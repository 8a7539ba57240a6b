"""Freezes a file of tasks: what the static policy and the reference earn in each window, and a digest of what is played.

    python -m reports.bench.freeze examples/bench/tasks.yaml

Tasks that already have them are left as they are; delete `floor`, `ceiling` and `digest` of a task to freeze it anew.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from envs.scenario import Scenario
from reports.bench.play import Played, play
from reports.bench.score import LEAST_GAP
from reports.bench.tasks import Task, TaskSet, playable, read

DIGITS = 9


def frozen(tasks: TaskSet, task: Task) -> dict[str, object]:
    """The fields that a task lacks.

    Raises:
        ValueError: the reference earns no more than the static policy, or cannot play it.
    """
    floor = _rewards(play("static", task))
    if tasks.tracks[task.track].reference == "ideal":
        ceiling = [ideal(task.problem())] * task.windows
    else:
        ceiling = _rewards(play("oracle", task))
    if np.mean(ceiling) - np.mean(floor) < LEAST_GAP:
        raise ValueError(
            f"task {task.name}: the reference earns {np.mean(ceiling):.4f}, the static policy {np.mean(floor):.4f}"
        )
    return {"floor": floor, "ceiling": ceiling, "digest": task.now()}


def ideal(scenario: Scenario) -> float:
    """The reward of an interval in which the best variant of each service answers every request in time, at no cost.

    With several services it is that of the most accurate one, which none can exceed.
    """
    return scenario.weights.accuracy * max(v.accuracy for v in scenario.variants.values())


def _rewards(played: Played) -> list[float]:
    if played.refused:
        raise ValueError(f"task {played.task}: {played.refused}")
    return [round(float(window["reward"]), DIGITS) for window in played.windows]


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the file anew, task by task, so that an interruption keeps what is done."""
    words = list(sys.argv[1:] if argv is None else argv)
    if len(words) != 1:
        print("usage: python -m reports.bench.freeze FILE", file=sys.stderr)
        return 2
    path = Path(words[0])
    try:
        tasks = read(path)
        for task in playable(tasks)[0]:
            if not task.digest:
                _fill(path, task.name, frozen(tasks, task))
                print(f"{task.name}: frozen", flush=True)
    except (ValueError, LookupError, OSError) as error:
        print(f"freeze: {error}", file=sys.stderr)
        return 2
    return 0


def _fill(path: Path, name: str, fields: dict[str, object]) -> None:
    """Adds the fields at the end of the task's line, and leaves the rest of the file as people wrote it."""
    text = path.read_text(encoding="utf-8")
    told = ", ".join(f"{key}: {value}" if key != "digest" else f'{key}: "{value}"' for key, value in fields.items())
    made, count = re.subn(rf"^(\s*- {{name: {re.escape(name)},.*)}}$", rf"\1,\n     {told}}}", text, flags=re.M)
    if count != 1:
        raise ValueError(f"{path}: task {name} is not on a line of its own: - {{name: {name}, ...}}")
    path.write_text(made, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
