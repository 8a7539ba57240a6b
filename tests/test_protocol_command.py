"""`evaluate.py --protocol` from end to end, as small as it gets, and what it refuses."""

import json

import numpy as np
import pytest

import evaluate
from agents.tuned_planner import write
from baselines.perfect_forecast import PerfectForecast
from envs.scenario_file import load
from reports import protocol_run
from reports.protocol_plan import FULL, QUICK, Cell, Source, sized, sources
from reports.protocol_play import Row, Task, outcome, rows_of
from reports.results import digest

SMALL = ["--protocol", "--scenario", "live-demo", "--policies", "infadapter-fast", "--windows", "3", "--intervals", "4",
         "--calibrate", "10", "--cold-starts", "5", "--trace", "twitter-like"]  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIDAL_TRACES", raising=False)
    return tmp_path


def test_one_command_makes_it_and_again_it_plays_nothing(folder, capsys, monkeypatch):
    words = [*SMALL, "--json", "p.json"]
    assert evaluate.main(words) == 0
    told = capsys.readouterr()
    document = json.loads((folder / "p.json").read_text(), parse_constant=lambda c: pytest.fail(c))
    assert "Below the protocol's size" in told.out and document["summary"] == []
    cells = {c["row"]: c for c in document["cells"]}
    assert set(cells) == {"static", "infadapter-fast", "perfect-forecast", "oracle", "bound"}
    assert all(len(c["episodes"]) == (0 if c["refused"] else 3) for c in cells.values())
    windows = {name: [(e["start_s"], e["seed"], e["settled"]) for e in c["episodes"]] for name, c in cells.items()
               if name in ("static", "infadapter-fast", "oracle") and c["episodes"]}
    assert len({tuple(w) for w in windows.values()}) == 1  # the same windows and requests for all
    assert cells["static"]["calls"] >= 9 and cells["infadapter-fast"]["calls"] >= 9 and cells["oracle"]["calls"] == 0
    kinds = {row["policy"]: row["kind"] for row in document["rows"]}
    assert kinds["static"] == "planner" and kinds["perfect-forecast"] == "hindsight"
    assert "infadapter-fast" in (folder / "out/protocol.html").read_text()
    monkeypatch.setattr(protocol_run, "outcome", lambda task: pytest.fail("played again"))
    before = {row["figure"] + row["policy"]: row["value"] for row in document["rows"]}
    assert evaluate.main(words) == 0
    again = json.loads((folder / "p.json").read_text())
    assert before == {row["figure"] + row["policy"]: row["value"] for row in again["rows"]}


def test_an_interrupted_run_goes_on(folder, capsys, monkeypatch):
    played = []

    def outcome(task):
        if len(played) == 3:
            raise KeyboardInterrupt
        played.append(task.row.label)
        totals = {"reward": 0.5, "violation_ratio": 0.0, "accuracy": 0.5, "cost": 0.1}
        episodes = [{"member": 0, "start_s": 0.0, "seed": 0, **totals}]
        return {"cell": task.cell.described(), "row": task.row.label, "members": [task.row.label], "kind": "planner",
                "refused": "", "settings": None, "calls": 0, "episodes": episodes, "load": "made", "cpu_s": 0.0}

    monkeypatch.setattr(protocol_run, "outcome", outcome)
    assert evaluate.main([*SMALL, "--no-report"]) == evaluate.INTERRUPTED
    assert "the same command goes on" in capsys.readouterr().err
    with (folder / "out/protocol/outcomes.jsonl").open("a") as file:
        file.write('{"key": "cut sh')  # the machine went down while it wrote
    played.clear()
    assert evaluate.main([*SMALL, "--no-report"]) == 0
    assert len(played) == 2 and "static" not in played


def test_cells_are_played_one_at_a_time_and_the_report_has_what_is_complete(folder, monkeypatch):
    played, stop = [], []

    def outcome(task):
        if task.row.label in stop:
            raise KeyboardInterrupt
        played.append((task.cell.cold_start_s, task.row.members))
        totals = {"reward": 0.5, "violation_ratio": 0.0, "accuracy": 0.5, "cost": 0.1}
        return {"cell": task.cell.described(), "row": task.row.label, "members": list(task.row.members), "kind": "planner",
                "refused": "", "settings": None, "calls": 0, "load": "made", "cpu_s": 0.0,
                "episodes": [{"member": 0, "start_s": 0.0, "seed": 0, **totals}]}

    monkeypatch.setattr(protocol_run, "outcome", outcome)
    own = folder / "without-twitter-like-seed0/best"
    write(own, "baselines.hold:HoldPlanner", {}, "live-demo", {})
    words = [*SMALL, "--no-report", "--json", "p.json", "--cold-starts", "5,6", "--policies",
             "left-out=without-{source}-*/best"]
    assert evaluate.main([*words, "--cells", "twitter-like:6"]) == 0
    assert {cold_start_s for cold_start_s, _ in played} == {6.0} and len(played) == 5
    assert (str(own.relative_to(folder)),) in [members for _, members in played]
    document = json.loads((folder / "p.json").read_text())
    assert "1 of 2 cells are not played yet and are left out: twitter-like, 5 s." in document["notes"]
    assert {c["cell"]["cold_start_s"] for c in document["cells"]} == {6.0}
    stop.append("oracle")  # which is played after all others, as it is dear
    assert evaluate.main([*words, "--cells", "twitter-like:5"]) == evaluate.INTERRUPTED and len(played) == 9
    document = json.loads((folder / "p.json").read_text())
    assert document["notes"][0].endswith("a perfect forecast in its place: twitter-like, 5 s.")
    assert {c["cell"]["cold_start_s"] for c in document["cells"] if c["row"] == "bound"} == {5.0, 6.0}
    stop.clear()
    assert evaluate.main([*words, "--cells", "twitter-like:5"]) == 0 and len(played) == 10
    assert {c["cell"]["cold_start_s"] for c in json.loads((folder / "p.json").read_text())["cells"]} == {5.0, 6.0}


@pytest.mark.parametrize(("words", "told"), [
    (["--cells", "mars:10"], "--cells mars:10: there are twitter-like:10, twitter-like:30"),
    (["--split", "train"], "--split does not go with --protocol"),
    (["--reference", "hpa"], "--reference does not go with --protocol"),
    (["--demo"], "--demo does not go with --protocol"),
    (["--calibrate", "3"], "give 10 calls"),
    (["--policies", "oracle"], "oracle is always there"),
    (["--policies", "hpa,x=runs/*/best"], "no folder matches runs/*/best"),
    (["--policies", "nobody"], "no policy 'nobody'"),
    (["--trace", "twitter"], "TIDAL_TRACES"),
    (["--cold-starts", "0"], "not above 0"),
])  # fmt: skip
def test_what_would_bend_the_rules_is_one_line(words, told, capsys):
    assert evaluate.main(["--protocol", "--no-report", *words]) == 2
    err = capsys.readouterr().err.strip().splitlines()
    assert told in err[-1] and len([line for line in err if line.startswith("evaluate.py")]) == 1


def test_options_of_the_protocol_alone_are_told(capsys):
    assert evaluate.main(["--quick", "--no-report"]) == 2
    assert "--quick belongs to --protocol" in capsys.readouterr().err


def test_sources_and_sizes():
    nasa, own = sources(["nasa", "twitter-like"])
    assert (nasa.train, nasa.val, nasa.judged) == ("nasa_1995_jul", "nasa_1995_aug", True)
    assert own == Source("twitter-like", "twitter-like", "twitter-like", False)
    assert sources(["nasa_1995_aug", "nasa"]) == [nasa]  # one source, whatever it is called
    assert sized(FULL).full and not sized(FULL, windows=3).full and not sized(QUICK, calls=300).full
    assert sized(QUICK, calls=300, windows=24, intervals=120).full


def test_a_cold_start_changes_load_times_and_nothing_else():
    cell = Cell("resnet-variants", sources(["twitter-like"])[0], 120.0)
    problem, scenario = cell.problem(), load("resnet-variants")
    assert {problem.load_s(kind) for kind in problem.kinds} == {120.0}
    variants = {n: v.model_copy(update={"load_s": scenario.variants[n].load_s}) for n, v in problem.variants.items()}
    assert digest(problem.with_(variants=variants)) == digest(scenario) != digest(problem)


def test_a_key_hangs_on_what_the_numbers_hang_on():
    scenario = load("live-demo")
    static, hpa = rows_of(["hpa"], scenario)
    cells = [Cell("live-demo", sources([name])[0], s) for name in ("twitter-like", "azure-like") for s in (5.0, 6.0)]
    keys = {Task(cell, row, sizes).key() for cell in cells for row in (static, hpa) for sizes in (QUICK, FULL)}
    assert len(keys) == 16
    assert Task(cells[0], Row("hpa", ("hpa",)), QUICK).key() in keys


def test_a_perfect_forecast_is_the_greatest_load_until_an_order_could_be_replaced():
    forecaster = PerfectForecast(margin=1.5)
    forecaster.reset(30.0)
    forecaster.foretell(np.array([1.0, 2.0, 8.0, 4.0, 3.0]), ahead=2)
    said = []
    for rps in (float("nan"), 1.0, 2.0, 8.0, 4.0, 3.0):
        forecaster.observe(rps)
        said.append(forecaster.forecast())
    assert said[1:] == [12.0, 12.0, 6.0, 4.5, 4.5] and np.isnan(said[0])  # at the end: the last that was observed


def test_agents_are_labelled_and_played_as_they_are(tmp_path):
    """A planner whose settings were learnt is not calibrated again; its manifest says on what it was trained."""
    scenario = load("live-demo")
    training = {"trace": "twitter_2021,nasa_1995_jul"}
    write(tmp_path / "mine/best", "baselines.hold:HoldPlanner", {"release": 3}, scenario.name, training)
    row = rows_of([str(tmp_path / "mine/best")], scenario)[1]
    assert row.label == "mine"
    cell = Cell("live-demo", sources(["twitter-like"])[0], 5.0)
    found = outcome(Task(cell, row, sized(QUICK, windows=3, intervals=4, calls=10)))
    assert (found["kind"], found["calls"], found["settings"]) == ("reward-trained", 0, None)
    assert found["trained_on"] == ["twitter_2021", "nasa_1995_jul"] and len(found["episodes"]) == 3


def test_several_seeds_of_an_agent_are_members_of_one_row(tmp_path):
    scenario = load("live-demo")
    for seed in (0, 1):
        write(tmp_path / f"run{seed}/best", "baselines.hold:HoldPlanner", {"release": 1 + 9 * seed}, scenario.name, {})
    row = rows_of([f"cem={tmp_path}/run*/best"], scenario)[1]
    task = Task(Cell("live-demo", sources(["twitter-like"])[0], 5.0), row, sized(QUICK, windows=3, intervals=6, calls=10))
    found = outcome(task)
    assert [e["member"] for e in found["episodes"]] == [0, 0, 0, 1, 1, 1]
    key = task.key()
    write(tmp_path / "run1/best", "baselines.hold:HoldPlanner", {"release": 2}, scenario.name, {})
    assert task.key() != key  # a retrained agent is played anew
