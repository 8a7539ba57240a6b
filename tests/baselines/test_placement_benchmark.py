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
