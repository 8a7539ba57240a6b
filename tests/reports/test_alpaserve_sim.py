"""AlpaServe's table 2: every judged row is reached with no recorded file at hand."""

from reports.reproductions import alpaserve_sim
from reports.reproductions.alpaserve_sim import REPRODUCTION, SLO_SCALES


def test_planned_by_us_it_reaches_what_is_published(monkeypatch, tmp_path):
    monkeypatch.setenv("TIDAL_TRACES", str(tmp_path / "traces"))
    rows = list(REPRODUCTION.rows())
    judged = [row for row in rows if row.reached is not None]
    assert len(judged) == 2 * len(SLO_SCALES) and all(row.reached for row in judged)
    assert "not at hand" in REPRODUCTION.account(rows)[-1]


def test_a_recorded_placement_is_read_and_scored(monkeypatch, tmp_path):
    """A made-up one: nothing is hosted, hence nothing attained, and ours is short of nothing."""
    cells = [""] * 17
    cells[9], cells[11] = "5", "mp-search"
    cells[16] = "ModelPlacement(group_configs=(ParallelConfig(dp=1, op=4, pp=1), ParallelConfig(dp=1, op=1, pp=8)), " \
                "group_models=((), ()))"
    folder = tmp_path / "reference" / "alpaserve"
    folder.mkdir(parents=True)
    (folder / "align_sim.tsv").write_text("\t".join(cells) + "\n")
    monkeypatch.setenv("TIDAL_TRACES", str(tmp_path / "traces"))
    read = alpaserve_sim.read_recorded()
    assert [group.shape.units for group in read["mp-search", 5.0]] == [4, 8]
    found = [row for row in REPRODUCTION.rows() if row.case == "SLO 5x" and row.table.startswith("AlpaServe")]
    assert [(row.figure, row.ours) for row in found if "replayed" in row.table] == [("attainment", 0.0)]
    assert [row.ours for row in found if row.figure == "short of theirs by"] == [0.0]
