"""`evaluate.py --policies ...,oracle,bound`: rows of hindsight, apart from the policies."""

import json

import pytest

import evaluate

SHORT = ["--windows", "2", "--intervals", "4"]


def test_oracle_and_bound_are_told_apart_from_the_policies(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("TIDAL_TRACES", raising=False)
    out, report = tmp_path / "e.json", tmp_path / "e.html"
    words = ["--policies", "bound,infadapter,oracle,static", *SHORT, "--json", str(out), "--report", str(report)]
    assert evaluate.main(words) == 0
    document = json.loads(out.read_text())
    assert document["policies"] == ["infadapter", "static"]
    means = {row["policy"]: row["value"] for row in document["rows"]
             if row["figure"] in ("reward", "reward in hindsight") and row["statistic"] == "mean"}
    assert max(means["infadapter"], means["static"]) < means["oracle"] <= means["bound"] + 1e-9
    gaps = {row["policy"]: row for row in document["rows"]
            if row["figure"] == "reward in hindsight" and row["statistic"] == "paired difference"}
    best = max(("infadapter", "static"), key=means.__getitem__)
    assert gaps["bound"]["peer"] == best and gaps["bound"]["value"] == pytest.approx(means["bound"] - means[best])
    told = capsys.readouterr().out
    for name in ("oracle", "bound"):
        assert f"In hindsight, {name}: reward {means[name]:.4f}" in told.replace("\n", " ")
        assert f"In hindsight, {name}: reward" in report.read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--policies", "oracle,bound"], "--policies names none beside oracle, bound"),
        (["--policies", "hpa,bound", "--scenario", "video"], "no bound is known for scenario 'video'"),
        (["--policies", "hpa,oracle", "--reference", "oracle"], "--reference oracle is not among"),
    ],
)
def test_what_cannot_be_done_is_one_line(monkeypatch, capsys, words, told):
    monkeypatch.delenv("TIDAL_TRACES", raising=False)
    assert evaluate.main(["--no-report", *SHORT, *words]) == 2
    err = capsys.readouterr().err
    assert told in err and err.count("\n") == 1
