"""The benchmark of placement on few requests: its rows, and plans that are within memory."""

import math

from benchmarks import placement


def test_every_case_has_its_rows(monkeypatch):
    training, test = placement.TRAFFIC.training()[:4000], placement.TRAFFIC.test()[:6000]
    for case in placement.CASES[:3]:
        rows = list(placement.rows(case, training, test, 1))
        assert [row["figure"].rsplit(": ")[1] for row in rows] == ["plan", "attainment", "attainment on the test requests"]
        assert all(math.isfinite(row["value"]) for row in rows)
        assert 0 < rows[1]["value"] <= 1 and rows[2]["peer"] == case.recorded


def test_the_better_search_and_a_plan_from_what_runs_are_measured(monkeypatch):
    monkeypatch.setattr(placement, "BUDGET", 1e5)
    monkeypatch.setattr(placement, "JUDGED", 1)
    monkeypatch.setattr(placement, "PLANNED_ON", 1500)
    monkeypatch.setattr(placement, "PLANNED_S", 0.2)
    training, test = placement.TRAFFIC.training()[:2000], placement.TRAFFIC.test()[:4000]
    _, attained = placement.better_rows(training, training, test)
    assert 0 < attained["value"] <= 1 and attained["peer"] > 0
    plan, running, found = placement.replanned_rows(placement.REPLANNED.training()[:1500], placement.REPLANNED.test()[:4000])
    assert plan["value"] >= 0.2 and 0 < running["value"] <= 1 and 0 < found["value"] <= 1
