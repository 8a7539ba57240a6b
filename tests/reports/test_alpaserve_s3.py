"""AlpaServe's sweeps: one small point of one of them, with a made-up recorded placement; what is published is all there."""

import pytest

from baselines.alpaserve_published import DEVICE
from reports.reproductions import alpaserve_s3
from reports.reproductions.alpaserve_s3 import BETTER, OTHER, SEP, SWEEPS, TEST, account, case_of
from reports.reproductions.reproduction import names


def test_every_point_has_its_published_attainment():
    assert "alpaserve-s3" in names()
    for sweep in SWEEPS:
        assert {len(row) for row in sweep.published.values()} == {len(sweep.points)}
        for point in range(len(sweep.points)):
            sr, search, sep = (sweep.published[policy][point] for policy in ("sr-greedy", "mp-search", "mp-search-sep"))
            assert sr <= search <= sep <= 1


def test_sweeps_meet_at_the_default():
    """32 devices, 64 req/s, CV 4, 5x: the same case, and the same attainment, in each sweep that passes it."""
    at = {"goodput_vs_rate": 64, "goodput_vs_cv": 4, "goodput_vs_num_models": 60}
    assert len({case_of(name, point) for name, point in at.items()} | {case_of("goodput_vs_slo", 5)}) == 1
    found = {tuple(sweep.published[policy][sweep.points.index(at[sweep.experiment])] for policy in sweep.published)
             for sweep in SWEEPS if sweep.experiment in at}
    assert found == {(0.69, 0.934, 0.96)}
    assert case_of("goodput_vs_num_devices", 8).devices == 8


def test_a_point_is_planned_both_ways_and_judged(monkeypatch, tmp_path):
    """Eight devices on few requests: each planner twice, the recorded placement replayed, the better search never worse."""
    folder = tmp_path / "reference" / "alpaserve"
    folder.mkdir(parents=True)
    cells = ["goodput_vs_num_devices", "60", "8", "0", "64", "power_law", "gamma", "{'cv': 4}", "5", "200", "sr-greedy",
             "ModelPlacement(group_configs=(ParallelConfig(dp=1, op=1, pp=1),), group_models=((0,),))", "0.1", "simulate"]
    (folder / "general_synthetic_mixed.tsv").write_text("\t".join(cells) + "\n")
    monkeypatch.setenv("TIDAL_TRACES", str(tmp_path / "traces"))
    monkeypatch.setattr(alpaserve_s3, "TEST_SEEDS", (0, 10_000))
    monkeypatch.setattr(alpaserve_s3, "BUDGET", 1.5e6)
    monkeypatch.setattr("baselines.alpaserve_published.TRAINING_REQUESTS", 4000)
    recorded = alpaserve_s3._recorded()
    placement = recorded["goodput_vs_num_devices", "sr-greedy", 8.0]
    assert [(group.shape.device, group.models) for group in placement] == [(DEVICE, (0,))]
    rows = list(alpaserve_s3._point(SWEEPS[0], 0, 8, recorded))
    by_table = {(row.table, row.figure): row for row in rows}
    replayed = by_table["Selective Replication: their placement replayed", "attainment"]
    assert 0 < replayed.ours < 0.1  # one model of sixty
    assert by_table[f"{SEP}: {TEST}", "attainment"].theirs == 0.364
    better, sep = by_table[f"{BETTER}: {TEST}", "attainment"], by_table[f"{SEP}: {TEST}", "attainment"]
    assert better.theirs == pytest.approx(sep.ours) and better.ours > sep.ours
    assert by_table[f"{BETTER}: {OTHER}", "attainment"].ours > 0.2
    assert len(account(rows)) == 5
