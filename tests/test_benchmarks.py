"""Benchmarks run on tiny sizes and write the rows that they promise. Nothing here is about how fast anything is."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import planners, simulator
from benchmarks.measure_worlds.bystander import Turn, latency_rows, meanwhile_row
from benchmarks.measure_worlds.throughput import median_interval
from benchmarks.peers.cpp import compile_loops
from benchmarks.rows import Timing, alternate, duration, met, quantity, report, row, speed

ROOT = Path(__file__).resolve().parents[1]
KEYS = {"figure", "value", "unit", "target", "peer", "how"}


def run(name, *options, tmp_path):
    file = tmp_path / "rows.json"
    done = subprocess.run(
        [sys.executable, f"benchmarks/{name}.py", "--json", str(file), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(file.read_text()), done.stdout


def test_replay_of_placements_has_its_rows():
    loops = compile_loops()
    for placement in simulator.PLACEMENTS:
        rows = list(simulator.placement_rows(placement, 0.02, 1, loops))
        figures = [r["figure"].removeprefix(f"{placement.name}, ") for r in rows]
        theirs = {"C++ loop, off the replay by", "C++ loop"} if loops else set()
        assert set(figures) == {"goodput", "replay", "replay for a planner"} | theirs
        assert all(set(r) == KEYS and np.isfinite(r["value"]) for r in rows)
        assert all(r["value"] == 0 for r in rows if r["figure"].endswith("off the replay by"))


def test_case_b_has_the_goodput_of_alpaserve():
    goodput = next(r for r in simulator.placement_rows(simulator.PLACEMENTS[1], 1.0, 1, None) if "goodput" in r["figure"])
    assert goodput["value"] == pytest.approx(goodput["peer"], abs=0.001)


def test_simulators_that_answer_different_requests_do_not_pass():
    with pytest.raises(RuntimeError, match="1 of 2 requests"):
        simulator.agreement("x", np.array([1.0, np.nan]), np.array([1.0, 1.0]), 0.0)


def test_works_are_timed_in_turns():
    order = []
    timings = alternate({"a": lambda: order.append("a") or 3, "b": lambda: order.append("b") or 5}, 2)
    assert order == ["a", "b"] * 3
    assert timings["b"].count.tolist() == [5, 5]
    assert (timings["a"].cpu_s >= 0).all() and len(timings["a"].wall_s) == 2


def test_ratio_is_the_median_over_pairs():
    ours = Timing(np.full(3, 10.0), np.array([1.0, 2.0, 10.0]), np.ones(3))
    theirs = Timing(np.full(3, 10.0), np.array([3.0, 4.0, 10.0]), np.ones(3))
    assert ours.ratio(theirs) == 2.0
    made = speed("x", ours, "requests/s", "so", peer=theirs, peer_name="them")
    assert (made["value"], made["peer"]) == (5.0, 2.5)
    assert "2 x them" in made["how"]


def test_speeds_reach_targets_from_above_and_sizes_from_below():
    assert met(row("x", 2, "requests/s", "", target=1)) and not met(row("x", 0.5, "requests/s", "", target=1))
    assert met(row("x", 0, "B", "", target=1)) and not met(row("x", 2, "B", "", target=1))
    assert met(row("x", 2, "B", "")) is None


def test_numbers_are_written_as_people_do():
    assert quantity(12_345_678, "requests/s") == "12.3 M requests/s"
    assert quantity(950, "requests/s") == "950 requests/s"
    assert quantity(1_330_000, "B") == "1.33 MB"
    assert duration(0.00042) == "420 µs"
    assert quantity(0, "s") == "0 s"


def test_report_prints_each_row_and_writes_all(tmp_path, capsys):
    file = tmp_path / "rows.json"
    report(iter([row("first", 1, "s", "so", target=2), row("second", 3e6, "requests/s", "thus", target=4e6, peer=2e6)]), file)
    printed = capsys.readouterr().out
    assert "reached 2 s" in printed and "MISSED 4.00 M; peer 2.00 M  (thus)" in printed
    written = json.loads(file.read_text())
    assert set(written) == {"machine", "versions", "command", "rows"}
    assert [r["figure"] for r in written["rows"]] == ["first", "second"]


def test_arrivals_run(tmp_path):
    written, printed = run("arrivals", "--arrivals", "20000", "--repeats", "1", tmp_path=tmp_path)
    assert all(set(r) == KEYS for r in written["rows"])
    assert sum(r["unit"] == "arrivals/s" for r in written["rows"]) == 12
    assert "Arrivals, poisson" in printed


@pytest.mark.slow
def test_simulator_runs(tmp_path):
    written, printed = run("simulator", "--requests", "5000", "--repeats", "1", "--hours", "0.1", tmp_path=tmp_path)
    assert {"machine", "versions", "command"} < set(written)
    rows = {r["figure"]: r for r in written["rows"]}
    for queue in simulator.QUEUES:
        assert rows[f"{queue.name}, replay"]["target"] == queue.target
        assert rows[f"{queue.name}, event kernel, off the replay by"]["value"] == 0
    for figure in (
        "Chain of two, batches of 8",
        "Chain of two, no batches",
        "Variants with routes",
        "Memory of the state, grown by",
    ):
        assert figure in rows and figure in printed


def test_the_interval_of_a_median_holds_it_19_times_in_20():
    random = np.random.default_rng(3)
    intervals = [median_interval(random.lognormal(size=60)) for _ in range(4000)]
    assert np.mean([low <= 1.0 <= high for _, low, high in intervals]) == pytest.approx(0.95, abs=0.015)
    assert all(low <= median <= high for median, low, high in intervals)


def test_a_bystander_that_feels_nothing_is_within_chance_and_one_that_feels_more_is_not():
    random = np.random.default_rng(4)
    felt = {case: [felt_turn(random) for _ in range(30)] for case in ("nothing", "here", "elsewhere")}
    assert met(meanwhile_row("p99 meanwhile", felt))
    felt["here"] = [Turn(2 * trips, 2 * events) for trips, events in felt["here"]]
    here, control = latency_rows("p99", felt)
    assert not met(here) and control["value"] < here["target"] < 1.2
    assert here["value"] == pytest.approx(2, rel=0.1) and control["value"] == pytest.approx(1, rel=0.1)
    meanwhile = meanwhile_row("p99 meanwhile", felt)
    assert not met(meanwhile) and 1.5 < meanwhile["value"] < 2 and "; 1800 round trips" in meanwhile["how"]


def felt_turn(random):
    """700 round trips, one every ten seconds; two events overlap 30 of them each, the first and last only just."""
    began = 10.0 * np.arange(700)
    trips = np.stack([began, began + random.lognormal(sigma=0.3, size=700).clip(0, 9)], axis=1)
    return Turn(trips, np.array([[trips[at, 1] - 1e-6, trips[at + 29, 0] + 1e-6] for at in (100, 400)]))


@pytest.mark.slow
def test_worlds_run(tmp_path):
    written, _ = run("worlds", "--rounds", "3", "--alarm-minutes", "0.05", tmp_path=tmp_path)
    rows = {r["figure"]: r for r in written["rows"]}
    assert sum("throughput loss" in figure for figure in rows) == 12
    assert rows["false alarms"]["value"] == 0 and rows["60 worlds in one process, up"]["value"] == 60


def test_planners_have_their_rows(monkeypatch):
    monkeypatch.setattr(planners, "LOAD_RATIOS", (0.05, 0.6))
    rows = [*planners.small_rows(), *planners.large_rows(1)]
    assert [r["figure"].partition(":")[2].strip() for r in rows] == ["median", "longest", "median", "longest",
                                                                    "objective gained, most"]
    assert all(set(r) == KEYS and np.isfinite(r["value"]) for r in rows)
    assert "2 decisions, 0 not proven" in rows[2]["how"]
