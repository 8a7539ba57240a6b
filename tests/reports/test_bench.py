"""Tidal Bench: points in closed form, digests that hang on what they should, tasks that are what was frozen, one command."""

import json
from pathlib import Path

import numpy as np
import pytest

import evaluate
from envs.scenario_file import load
from reports.bench import freeze
from reports.bench.leaderboard import PAGE, SETS, _results, page
from reports.bench.play import Played
from reports.bench.result import digest_of, result
from reports.bench.result import read as read_result
from reports.bench.score import LEAST, points, score
from reports.bench.tasks import PLACEMENT, Reference, Task, TaskSet, read

EXAMPLES = Path(__file__).parents[2] / "examples" / "bench"
ONE = {"track": "t", "scenario": "live-demo", "seed": 0, "windows": 3, "intervals": 4}
TASKS = TaskSet(
    version="0",
    tracks={"t": Reference(told="x", reference="oracle")},
    tasks=(
        Task(name="a", floor=(0.0, 0.1, 0.2), ceiling=(0.5, 0.6, 0.7), **ONE),
        Task(name="b", floor=(0.5, 0.5, 0.5), ceiling=(0.6, 0.6, 0.6), **ONE),
    ),
)


def window(reward):
    return {"start_s": 0.0, "reward": reward, "violation_ratio": 0.1, "accuracy": 0.7, "cost": 0.5, "decision_p50_s": 0.001}


def played(a=(0.25, 0.35, 0.45), b=(0.55, 0.55, 0.55)):
    return {name: {"refused": "", "windows": [window(r) for r in rewards]} for name, rewards in (("a", a), ("b", b))}


def test_points_are_a_straight_line_between_floor_and_ceiling():
    a, b = TASKS.tasks
    assert points(a, a.floor).tolist() == [0, 0, 0]
    np.testing.assert_allclose(points(a, a.ceiling), 100)
    np.testing.assert_allclose(points(a, (0.25, 0.6, 0.1)), [50, 100, -20])
    assert points(b, (-5.0, 0.5, 0.5)).tolist() == [LEAST] * 3  # one disaster counts no more than this
    with pytest.raises(ValueError, match="not frozen"):
        points(a.model_copy(update={"floor": ()}), a.ceiling)


def test_a_track_is_the_mean_of_its_tasks_and_only_of_all_of_them():
    found = score(TASKS, "t", played(b=(0.6, 0.6, 0.6)))
    assert found.points.value == pytest.approx(75) and found.tasks == pytest.approx({"a": 50, "b": 100})
    assert found.points.low == pytest.approx(75) and found.complete  # every window of a task is alike: nothing is in doubt
    part = score(TASKS, "t", {"a": played()["a"], "b": {"refused": "too many services", "windows": []}})
    assert not part.complete and np.isnan(part.points.value) and part.missing == {"b": "too many services"}


def test_a_result_is_known_by_its_numbers_not_by_how_long_they_took(tmp_path):
    def made(reward, decision_s):
        windows = tuple({**window(reward), "decision_p50_s": decision_s} for _ in range(3))
        return result("mine", TASKS, [Played(t.name, "", windows, {"kind": "planner"}) for t in TASKS.tasks], ["evaluate.py"])

    assert made(0.5, 0.1)["digest"] == made(0.5, 0.2)["digest"] != made(0.51, 0.1)["digest"]
    document = made(0.5, 0.1)
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(document))
    assert read_result(path)["digest"] == digest_of(document)
    document["tasks"]["a"]["windows"][0]["reward"] = 0.9
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match="not that of its numbers"):
        read_result(path)


def test_the_digest_of_tasks_hangs_on_each_of_them_and_not_on_where_they_lie():
    other = TASKS.model_copy(update={"tasks": (TASKS.tasks[0], TASKS.tasks[1].model_copy(update={"seed": 1}))})
    elsewhere = tuple(t.model_copy(update={"scenario": f"/x/{t.scenario}"}) for t in TASKS.tasks)
    moved = TASKS.model_copy(update={"tasks": elsewhere})
    assert other.digest() != TASKS.digest() == moved.digest()


def test_the_tasks_are_those_that_were_frozen():
    tasks, placement = read(), read(PLACEMENT)
    assert placement.tasks[0].now() == placement.tasks[0].digest
    assert all(t.digest and len(t.floor) == len(t.ceiling) == t.windows for t in (*tasks.tasks, *placement.tasks))
    for name in ("flash-crowd", "bursty-arrivals", "cold-300", "video"):
        task = next(t for t in tasks.tasks if t.name == name)
        assert task.now() == task.digest, name


def test_the_leaderboard_is_what_the_committed_results_make():
    sets = []
    for file, folder in SETS:
        tasks = read(file)
        results, wrong = _results(folder, tasks)
        assert wrong == []
        sets.append((tasks, results))
    assert PAGE.read_text(encoding="utf-8") == page(sets)
    first, placement = ({d["policy"]["name"] for d in results} for _, results in sets)
    assert {"static", "oracle", "bound", "infadapter", "hpa", "ppo", "order-keep-network", "mpc-forecast"} <= first
    assert {"static", "alpaserve", "alpaserve-online", "selective-replication"} <= placement


def test_twenty_lines_add_a_policy_and_twenty_a_scenario(tmp_path, monkeypatch, capsys):
    text = (EXAMPLES / "policy.py").read_text().split('"""', 2)[2]
    code = [line for line in text.splitlines() if line.strip() and '"""' not in line]
    facts = [line for line in (EXAMPLES / "scenario.yaml").read_text().splitlines() if line.strip() and line[0] != "#"]
    assert len(code) <= 20 and len(facts) <= 20
    monkeypatch.setattr("sys.path", [str(EXAMPLES.parents[1]), *__import__("sys").path])
    words = ["--bench", "examples.bench.policy:Headroom", "--tasks", str(EXAMPLES / "tasks.yaml"), "--results", str(tmp_path)]
    assert evaluate.main(words) == 0
    document = read_result(tmp_path / "headroom.json")
    assert "mine" in capsys.readouterr().out and document["policy"]["kind"] == "planner"
    rewards = [w["reward"] for w in document["tasks"]["two-models"]["windows"]]
    task = read(EXAMPLES / "tasks.yaml").tasks[0]
    assert document["scores"]["mine"]["points"]["value"] == pytest.approx(
        100 * (np.mean(rewards) - np.mean(task.floor)) / (np.mean(task.ceiling) - np.mean(task.floor)), abs=1e-6
    )
    assert evaluate.main(["--leaderboard", *words[2:], "--report", str(tmp_path / "l.md")]) == 0
    assert "| 1 | `examples.bench.policy:Headroom` | planner |" in (tmp_path / "l.md").read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--bench", "nobody", "--tasks", str(EXAMPLES / "tasks.yaml")], "no policy 'nobody'"),
        (["--bench", "hpa", "--seeds", "3"], "--seeds does not go with --bench"),
        (["--results", "x"], "--results belongs to --bench and --leaderboard"),
        (["--bench", "hpa", "--tasks", "nowhere.yaml"], "nowhere.yaml"),
        (["--leaderboard", "--results", "nowhere"], "no result of version"),
    ],
)
def test_a_mistake_is_one_line(words, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert evaluate.main(words) == 2
    assert told in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_changed_task_is_told(tmp_path, capsys):
    text = (EXAMPLES / "tasks.yaml").read_text().replace("seed: 100", "seed: 101")
    (tmp_path / "tasks.yaml").write_text(text)
    for name, path in (("scenario.yaml", EXAMPLES), ("own_profile.csv", EXAMPLES.parent)):
        (tmp_path / name).write_text((path / name).read_text().replace("../own_profile.csv", "own_profile.csv"))
    assert evaluate.main(["--bench", "hpa", "--tasks", str(tmp_path / "tasks.yaml")]) == 2
    assert "no longer what version mine-1 of the bench froze" in capsys.readouterr().err


def test_the_ideal_is_the_best_variant_in_time_at_no_cost():
    scenario = load("tenants")
    assert freeze.ideal(scenario) == scenario.weights.accuracy * max(v.accuracy for v in scenario.variants.values()) > 0


def test_freezing_fills_a_line_and_leaves_the_rest(tmp_path):
    path = tmp_path / "tasks.yaml"
    path.write_text("# mine\ntasks:\n  - {name: a, seed: 1}\n  - {name: ab, seed: 2}\n")
    freeze._fill(path, "a", {"floor": [0.5], "ceiling": [0.75], "digest": "0123"})
    assert path.read_text() == (
        "# mine\ntasks:\n  - {name: a, seed: 1,\n"
        '     floor: [0.5], ceiling: [0.75], digest: "0123"}\n  - {name: ab, seed: 2}\n'
    )
    with pytest.raises(ValueError, match="not on a line of its own"):
        freeze._fill(path, "c", {})
