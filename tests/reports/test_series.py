"""Timelines: what down-sampling keeps, and how decisions are folded."""

import numpy as np
import pandas as pd
import pytest
from synthetic import episode

from envs.contract import Deployment, ReplicaKind, Shape
from envs.scenario_file import load
from reports.series import decisions, timeline, variant_order


@pytest.fixture(scope="module")
def lone():
    return episode("infadapter", intervals=100)


@pytest.fixture(scope="module")
def scenario():
    return load("resnet-variants")


def test_without_down_sampling_every_interval_is_a_point(lone, scenario):
    course = timeline(lone, variant_order(scenario, [lone]), 30.0, 100)
    assert course["per_point"] == 1
    assert course["p99_s"] == pytest.approx(lone.intervals["p99_s"], rel=1e-3)
    held = np.sum([course["ready"][v] for v in course["ready"]], axis=0) + np.array(course["draining"])
    assert held[-1] == lone.replicas[lone.replicas["t_s"] == lone.replicas["t_s"].max()]["units"].sum()


def test_down_sampling_keeps_maxima_shares_and_means(lone, scenario):
    course = timeline(lone, variant_order(scenario, [lone]), 30.0, 12)
    table, k = lone.intervals, course["per_point"]
    assert k == 9 and len(course["t_s"]) == 12
    for i in range(12):
        part = table.iloc[i * k : (i + 1) * k]
        assert course["p99_s"][i] == pytest.approx(part["p99_s"].max(), rel=1e-3)
        assert course["queue"][i] == pytest.approx(part["queue"].max(), rel=1e-3)
        assert course["offered_rps"][i] == pytest.approx(part["offered_rps"].mean(), rel=1e-3)
        violated = (part["violation_ratio"] * part["settled"]).sum() / part["settled"].sum()
        assert course["violation_ratio"][i] == pytest.approx(violated, rel=1e-3)
    assert max(course["p99_s"]) == pytest.approx(table["p99_s"].max(), rel=1e-3)


def test_what_is_missing_or_endless_is_a_gap(scenario):
    lone = episode("static", intervals=4)
    lone.intervals["p99_s"] = [np.nan, np.inf, 0.5, 0.25]
    lone.intervals["settled"] = 0
    course = timeline(lone, ["resnet50"], 30.0, 10)
    assert course["p99_s"] == [None, None, 0.5, 0.25] and course["violation_ratio"] == [None] * 4


def test_variants_rise_in_accuracy_and_many_become_others(scenario, lone):
    order = variant_order(scenario, [lone])
    assert order == sorted(order, key=lambda v: scenario.variants[v].accuracy)
    crowd = episode("static", intervals=3)
    crowd.replicas = pd.DataFrame(
        [
            {
                "t_s": 30.0,
                "kind": f"m{i} @1c",
                "variant": f"m{i}",
                "state": "ready",
                "count": 1,
                "units": 20 - i,
                "capacity_rps": 1.0,
            }
            for i in range(12)
        ]
    )
    names = variant_order(scenario, [crowd])
    assert len(names) == 8 and names[-1] == "others"
    assert timeline(crowd, names, 30.0, 10)["ready"]["others"][0] == sum(20 - i for i in range(7, 12))


def rows(*deployments, notes=None):
    lone = episode("static", intervals=len(deployments))
    lone.decisions = pd.DataFrame(
        {
            "t_s": 30.0 * np.arange(len(deployments)),
            "deployment": deployments,
            "reason": [f"reason {i}" for i in range(len(deployments))],
            "decision_s": 0.001 * np.arange(1, len(deployments) + 1),
            "notes": notes or [""] * len(deployments),
            "detail_forecast_rps": [10.0, np.nan, *[1.0] * (len(deployments) - 2)],
        }
    )
    return lone


def test_changes_are_told_and_quiet_runs_are_folded():
    lone = rows("1 x a @2c", "1 x a @2c", "1 x a @2c", "2 x a @2c, 1 x b @4c", "2 x a @2c, 1 x b @4c", "1 x b @4c")
    found = decisions(lone, 100)
    assert [r["change"] for r in found] == ["", "+1 a @2c, +1 b @4c", "", "−2 a @2c"]
    assert [r["held"] for r in found] == [3, 1, 1, 1]
    assert found[0]["decision_ms"] == 3.0 and found[0]["details"] == {"forecast_rps": 10}
    assert sum(r["held"] for r in found) == 6


def test_the_first_decision_is_held_against_the_initial_deployment():
    quiet = decisions(rows("1 x a @2c", "1 x a @2c"), 10, Deployment({ReplicaKind(("a",), Shape(2)): 1}))
    assert [(r["change"], r["held"]) for r in quiet] == [("", 2)]
    changed = decisions(rows("1 x a @2c", "1 x a @2c"), 10, Deployment({ReplicaKind(("a",), Shape(4)): 1}))
    assert changed[0]["change"] == "+1 a @2c, −1 a @4c"


def test_a_deployment_object_reads_like_its_text():
    small, large = ReplicaKind(("a",), Shape(2)), ReplicaKind(("a", "b"), Shape(0, 2, 1, "gpu"), 4, 0.01)
    before, after = Deployment({small: 1}), Deployment({small: 1, large: 2})
    texts = decisions(rows(str(before), str(after)), 10)
    objects = decisions(rows(before, after), 10)
    assert texts[1]["change"] == objects[1]["change"] == f"+2 {large}"


def test_corrections_by_the_envelope_are_never_folded():
    found = decisions(rows("1 x a @2c", "1 x a @2c", "1 x a @2c", notes=["", "", "limited"]), 10)
    assert [r["notes"] for r in found] == ["", "limited"] and found[0]["held"] == 2


def test_beyond_the_limit_quiet_rows_go_first():
    lone = rows("1 x a @1c", *[f"{1 + i % 2} x a @1c" for i in range(1, 30)], *["1 x a @1c"] * 2)
    found = decisions(lone, 10)
    assert len(found) == 10 and all(r["change"] for r in found)
    assert [r["t_s"] for r in found] == sorted(r["t_s"] for r in found)
