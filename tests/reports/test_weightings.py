"""Volumes behind points, against inclusion and exclusion, and what `--weightings` makes of known outcomes."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import evaluate
from reports import protocol_run, weightings_command
from reports.weightings import TOGETHER, breadths, front, hypervolume, weightings

POINTS = arrays(np.float64, st.tuples(st.integers(1, 5), st.just(3)), elements=st.floats(-0.2, 1.2))


def by_inclusion_and_exclusion(points):
    boxes = np.clip(points, 0, 1)
    return sum((-1) ** (size + 1) * np.prod(1 - boxes[list(some)].max(0))
               for size in range(1, len(boxes) + 1) for some in itertools.combinations(range(len(boxes)), size))


@given(POINTS)
def test_volume_is_that_of_the_union_of_boxes(points):
    assert hypervolume(points) == pytest.approx(by_inclusion_and_exclusion(points), abs=1e-12)
    assert hypervolume(front(points)) == pytest.approx(hypervolume(points), abs=1e-12)  # the others add nothing


@given(POINTS)
def test_front_is_of_points_that_nothing_dominates(points):
    def dominated(point):
        return any((other <= point).all() and (other < point).any() for other in points)

    assert front(points).tolist() == [point.tolist() for point in points if not dominated(point)]


def outcome(kind, points, windows=4, members=1):
    """Episodes with the same numbers on all windows: (violations, accuracy, cost), reward 1 less their sum."""
    violations, accuracy, cost = points
    totals = {"violation_ratio": violations, "accuracy": accuracy, "cost": cost, "reward": accuracy - violations - cost}
    episodes = [{"member": m, "start_s": float(w), "seed": 0, **totals} for m in range(members) for w in range(windows)]
    return {"kind": kind, "members": ["x"] * members, "episodes": episodes}


def test_rows_by_hand():
    cheap, dear = weightings(0.1, 1.0)[0], weightings(0.1, 1.0)[2]
    outcomes = {
        cheap: {"planner": outcome("planner", (0.0, 0.8, 1.0)), "agent": outcome("learned", (0.0, 0.8, 0.5), members=2)},
        dear: {"planner": outcome("planner", (0.2, 0.6, 0.2)), "agent": outcome("learned", (0.2, 0.6, 0.3), members=2)},
    }
    found = {b.row: b for b in breadths(outcomes, np.random.default_rng(0), 100)}
    agent, planner, together = (found[row] for row in ("agent", "planner", TOGETHER))
    # Front: (0, 0.2, 0.5) and (0.2, 0.4, 0.2) in violations, inaccuracy and cost; box from (0, 0.2, 0.2), 0.22 x 0.22 x 0.33.
    small = (0.02 / 0.22) ** 2
    assert agent.volume.value == pytest.approx(0.03 / 0.33 + small * (0.2 / 0.33))
    assert planner.volume.value == together.volume.value == pytest.approx(small)  # its cheap point is too dear to count
    assert agent.against.low == pytest.approx(agent.volume.value - small)  # the same on all windows: no spread
    assert agent.reward.value == pytest.approx((0.5 - 0.1) / 2) and (agent.ahead, agent.behind) == (1, 1)
    assert planner.reward.value == 0 and (planner.ahead, planner.behind) == (0, 0) and agent.members == 2


def test_windows_without_requests_count_for_cost_alone():
    weighting = weightings(0.1, 1.0)[0]
    some = outcome("planner", (0.1, 0.7, 0.4))
    some["episodes"][0] |= {"violation_ratio": None, "accuracy": None, "cost": 0.0}
    found = breadths({weighting: {"planner": some}}, np.random.default_rng(0), 10)
    assert found[0].points[weighting] == pytest.approx((0.1, 0.7, 0.3))


def test_one_command_solves_planners_anew_at_each_weighting(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIDAL_TRACES", raising=False)
    monkeypatch.setattr(weightings_command, "weightings", lambda *own: weightings(*own)[:3])  # nine take 20 s
    words = ["--weightings", "--scenario", "live-demo", "--policies", "infadapter-fast", "--windows", "3", "--intervals", "4",
             "--calibrate", "10", "--cold-starts", "5", "--trace", "twitter-like"]  # fmt: skip
    assert evaluate.main([*words, "--json", "w.json"]) == 0
    said = capsys.readouterr().out
    document = json.loads((tmp_path / "w.json").read_text())
    points = [p for p in document["points"] if p["policy"] == "infadapter-fast"]
    spent = [p["cost_ratio"] for p in sorted(points, key=lambda p: p["cost"])]  # the dearer, the less of it
    assert len({p["cost"] for p in points}) == 3 and spent == sorted(spent, reverse=True) and spent[0] > spent[-1]
    assert "all planners together" in said and "infadapter-fast" in (tmp_path / "out/weightings.html").read_text()
    monkeypatch.setattr(protocol_run, "outcome", lambda task: pytest.fail("played again"))
    assert evaluate.main([*words, "--report", "w.md"]) == 0
    assert "## twitter-like, 5 s" in (tmp_path / "w.md").read_text()
    assert evaluate.main([*words, "--cells", "twitter-like:5"]) == evaluate.WRONG
    assert "--cells belongs to --protocol" in capsys.readouterr().err
