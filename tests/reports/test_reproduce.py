"""Reproductions: rows judged, told, written; the frame with two made-up ones."""

import csv
import json
import math
import os
import re
from pathlib import Path

import pytest

import evaluate
from reports import reproduce
from reports.reproductions import infadapter_twitter, reproduction
from reports.reproductions.reproduction import Reproduction, Row, names
from traces.errors import TraceError


@pytest.mark.parametrize(
    ("row", "difference", "reached"),
    [
        (Row("t", "c", "f", 1.5, 1.25, 0.25), 0.25, True),
        (Row("t", "c", "f", 1.5, 1.25, 0.2), 0.25, False),
        (Row("t", "c", "f", 1.5, 1.25), 0.25, None),
        (Row("t", "c", "f", 1.5), None, None),
        (Row("t", "c", "f", "a", "a"), None, True),
        (Row("t", "c", "f", "a", "b"), None, False),
        (Row("t", "c", "f", "a"), None, None),
        (Row("t", "c", "f", 1.0, "a"), None, False),
    ],
)
def test_a_row_is_judged_only_where_something_is_allowed(row, difference, reached):
    assert (row.difference, row.reached) == (difference, reached)


def test_no_number_of_ours_is_never_reached():
    row = Row("t", "c", "f", math.nan, 1.0, 9.0)
    assert row.reached is False and math.isnan(row.difference)


def _untraced():
    yield Row("t", "c", "f", 1.0)
    raise TraceError("somewhere", None, "no such trace")


MADE = {
    "good": Reproduction("Good <b>", "Somebody, 2020", "all of it",
                         lambda: [Row("first", "a & b", "x", 1.0, 1.001, 0.01), Row("second", "c", "y", "p", "q", note="why")],
                         lambda rows: [f"{len(rows)} rows"]),
    "untraced": Reproduction("Untraced", "Nobody", "nothing", _untraced),
}


@pytest.fixture
def made(monkeypatch):
    monkeypatch.setattr(reproduce, "names", lambda: tuple(MADE))
    monkeypatch.setattr(reproduce, "find", MADE.__getitem__)


def test_every_number_is_told_and_written(made, tmp_path, capsys):
    files = [tmp_path / "deep" / name for name in ("page.html", "r.json", "r.csv")]
    words = ["--reproduce", "good", "--report", str(files[0]), "--json", str(files[1]), "--csv", str(files[2])]
    assert evaluate.main(words) == 0
    told = capsys.readouterr().out
    assert "1 of 2 judged rows reached; 2 rows in all" in told and "- 2 rows" in told and "-0.001" in told
    text, document = files[0].read_text(), json.loads(files[1].read_text())
    assert [(row["value"], row["peer"], row["reached"]) for row in document["rows"]] == [(1.0, 1.001, True), ("p", "q", False)]
    assert json.loads(re.search(r'id="data">(.*?)</script>', text, re.S).group(1)) == document
    assert "Good &lt;b&gt;" in text and "a &amp; b" in text and not re.search(r'(src|href)="(?!#)', text)
    with files[2].open() as file:
        assert [row["ours"] for row in csv.DictReader(file)] == ["1.0", "p"]


def test_all_goes_on_where_a_trace_is_missing_and_says_so(made, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert evaluate.main(["--reproduce", "all", "--report", str(page)]) == 2
    assert "not run: somewhere: no such trace" in capsys.readouterr().out
    assert "1 of 2 judged rows" in page.read_text() and "not run" in page.read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--reproduce", "untraced"], "somewhere: no such trace"),
        (["--reproduce", "good", "--policies", "hpa"], "--policies does not go with --reproduce"),
        (["--reproduce", "good", "--demo"], "--demo does not go"),
    ],
)
def test_what_cannot_be_made_is_one_line(made, words, told, capsys):
    assert evaluate.main([*words, "--no-report"]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_an_unknown_reproduction_is_told_with_those_there_are(capsys):
    assert evaluate.main(["--reproduce", "nothing", "--no-report"]) == 2
    assert f"there are {', '.join(names())}, all" in capsys.readouterr().err


def test_every_file_of_the_folder_is_a_reproduction():
    for name in names():
        found = reproduction.find(name)
        assert isinstance(found, Reproduction) and found.title and found.source and found.aim


def test_infadapter_decides_as_published():
    rows = list(reproduction.find("infadapter-decisions").rows())
    assert len(rows) == 132 and all(row.reached for row in rows)


def test_infadapter_on_twitter_has_the_direction_of_the_claim(monkeypatch):
    if not (Path(os.environ.get("TIDAL_TRACES", "")) / "twitter_2021.csv.gz").is_file():
        pytest.skip("needs twitter_2021.csv.gz in the folder that TIDAL_TRACES names")
    monkeypatch.setattr(infadapter_twitter, "SEEDS", 1)
    rows = list(infadapter_twitter.rows())
    assert all(row.reached for row in rows if row.table == "The slice")
    assert [row.ours for row in rows if row.theirs == "yes"] == ["yes", "yes"]
    assert len(infadapter_twitter.account(rows)) == 4
