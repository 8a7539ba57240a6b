"""Reading scenario files: every problem is told, on its line, and nothing a user writes makes a traceback."""

import copy
import shutil
from pathlib import Path

import pytest
import yaml

from envs import scenario_file
from envs.contract import ReplicaKind, Shape
from envs.scenario_file import ScenarioError, check, load

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_scenario.yaml"
PROFILE = "profile: own_profile.csv"


@pytest.fixture
def edited(tmp_path):
    """A copy of the example with one text put in the place of another; returns its path."""
    def edit(old="", new="", csv_old="", csv_new=""):
        text, table = EXAMPLE.read_text(), (EXAMPLE.parent / "own_profile.csv").read_text()
        assert old in text and csv_old in table
        (tmp_path / "own_profile.csv").write_text(table.replace(csv_old, csv_new, 1))
        path = tmp_path / "own.yaml"
        path.write_text(text.replace(old, new, 1))
        return path
    return edit


def line_of(path, text):
    return next(i for i, line in enumerate(path.read_text().splitlines(), 1) if text in line)


def test_the_example_can_be_loaded():
    scenario = load(EXAMPLE)
    assert check(EXAMPLE) == []
    assert scenario.initial_deployment.replicas == {ReplicaKind(("large",), Shape(1), 4): 3}
    assert scenario.profile.latency_s("large", Shape(1), 2) == (pytest.approx(0.08 + 0.18 / 3),)


@pytest.mark.parametrize("old, new, where, reason", [
    ("interval_s: 15", "interval_s: -15", "interval_s", "should be greater than 0, not -15"),
    ("interval_s: 15", "intervall_s: 15", "intervall_s", "unknown field; did you mean 'interval_s'?"),
    ("binding: late", "binding: lazy", "binding", "should be 'late' or 'early', not 'lazy'"),
    ("accuracy: 0.90", "accuracy: 90", "variants.large.accuracy", "less than or equal to 1, not 90"),
    ("load_s: 12", "load_ms: 12", "variants.large.load_ms", "did you mean 'load_s'?"),
    ("slo_s: 0.5", "slo_s: soon", "services.sentiment.slo_s", "should be a valid number"),
    ("[large, small], slo", "[large, tiny], slo", "services.sentiment.variants[1]", "unknown variant 'tiny'"),
    ("slo_s: 0.5}", "slo_s: 0.5, tenant: me}", "services.sentiment.tenant", "unknown tenant 'me'; known: default"),
    ("[large], cores: [1]", "[large], cores: [9]", "candidates[1]", "holds 9 of cpu, of which the budget is 8"),
    ("[large], cores: [1]", "[large], device: tpu", "candidates[1].device", "unknown device 'tpu'; known: cpu"),
    ("[large], cores: [1]", "[large]", "candidates[1]", "needs `cores`"),
    ("[large], cores: [1], batch: 4", "[large], cores: [1], batch: 8", "candidates[1]", "measured for batches 1 to 4, not 8"),
    ("[large], cores: [1], batch: 4", f"[large], cores: [1], batch: 1{'0' * 320}", "candidates[1].batch", "equal to 1000000"),
    ("level: 3", "level: 9", "initial[0].level", "candidate 1 has levels 0 to 8"),
    ("candidate: 1,", "candidate: 2,", "initial[0].candidate", "no candidate 2; there are 2, from 0"),
    ("sentiment: {trace", "feelings: {trace", "workload.feelings", "unknown application 'feelings'; known: sentiment"),
    ("mean_rps: 25", "mean_rps: 25, scale: 2", "workload.sentiment", "give scale or mean_rps, not both"),
    ("mean_rps: 25", "arrivals: mmpp", "workload.sentiment.states", "two or more states"),
    ("mean_rps: 25", "cv: 2", "workload.sentiment.cv", "not for poisson"),
    ("trace: diurnal", "trace: diurnall", "workload.sentiment.trace", "unknown trace 'diurnall'"),
    ("trace: diurnal", "trace: mine.csv", "workload.sentiment.trace", "no such file"),
    (PROFILE, "profile: other.csv", "profile", "no such file"),
    (PROFILE, "profile: [1]", "profile", "give the path of a CSV file"),
    (PROFILE, PROFILE + "\ncapacities: none.csv", "capacities", "no such file"),
    ("budget: 8", "budget: 8, nodes: [4]", "devices.cpu.nodes", "the nodes have 4, less than the budget of 8"),
    ("budget: 8", "budget: 8, memory_bytes: 0", "devices.cpu.memory_bytes", "greater than 0"),
    ("interval_s: 15", "interval_s: 15\ninterval_s: 20", "interval_s", "given twice"),
])
def test_one_problem_on_its_line(edited, old, new, where, reason):
    path = edited(old, new)
    problems = check(path)
    problem = next(p for p in problems if p.where == where)
    assert reason in problem.reason
    assert problem.line == line_of(path, new.splitlines()[-1])
    assert problem.file == str(path)
    with pytest.raises(ScenarioError) as caught:
        load(path)
    assert str(problem) in str(caught.value).splitlines()


def test_half_a_character_is_no_text(edited):
    path = edited("trace: diurnal", r'trace: "\ud800"')
    (problem,) = check(path)
    assert (problem.line, problem.reason) == (line_of(path, r'trace: "\ud800"'), r"not YAML: '\ud800' is no text")


def test_missing_fields_are_told_on_the_line_of_their_part(edited):
    path = edited("accuracy: 0.90, ", "")
    (problem,) = check(path)
    assert (problem.where, problem.reason) == ("variants.large.accuracy", "missing")
    assert problem.line == line_of(path, "large: {load_s")
    (problem,) = check(edited(PROFILE, ""))
    assert (problem.line, problem.where) == (1, "profile")


@pytest.mark.parametrize("old, new, line, where, reason", [
    ("small,cpu,,1,1,1,0,0.025", "small,cpu,,1,1,1,0,fast", 3, "latency_s", "'fast' is not a number > 0"),
    ("small,cpu,,1,1,4,0,0.070", "small,cpu,,1,1,4,0,-1", 4, "latency_s", "'-1' is not a number > 0"),
    ("small,cpu,,1,1,4,0,0.070", "small,cpu,,1,1,4.5,0,1", 4, "batch", "'4.5' is not a whole number >= 1"),
    ("large,cpu,,1,1,1,0,0.080", "large,cpu,,1,1,1,0", 5, "", "7 cells, but there are 8 columns"),
    ("large,cpu,,1,1,1,0,0.080", ",cpu,,1,1,1,0,0.080", 5, "variant", "'' is not a name"),
    ("large,cpu,,1,1,1,0,0.080", "large,cpu,,1,1,1,1,0.080", 5, "stage", "has stages 1; with inter_op 1 it needs 0"),
    ("intra_op,batch", "batch", 2, "", "missing column(s) intra_op"),
])
def test_csv_problems_have_the_line_of_the_csv(edited, old, new, line, where, reason):
    path = edited(csv_old=old, csv_new=new)
    problem = check(path)[0]
    assert (problem.file, problem.line, problem.where) == (str(path.parent / "own_profile.csv"), line, where)
    assert reason in problem.reason


def test_all_problems_at_once_in_the_order_of_the_lines(edited):
    path = edited("interval_s: 15", "interval_s: no\nbudget: 3", csv_old="0.025", csv_new="?")
    text = path.read_text().replace("accuracy: 0.82", "accuracy: 82").replace("[large, small]", "[large, tiny]")
    path.write_text(text.replace("candidate: 1,", "candidate: 7,"))
    found = [(p.file == str(path), p.where) for p in check(path)]
    assert found == [(True, "interval_s"), (True, "budget"), (True, "variants.small.accuracy"),
                     (True, "services.sentiment.variants[1]"), (True, "initial[0].candidate"), (False, "latency_s")]


def test_yaml_syntax_and_unreadable_files(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("name: x\nservices: {a: [1, 2\n")
    (problem,) = check(path)
    assert problem.line == 3 and "not YAML" in problem.reason
    path.write_text("- 1\n")
    assert "a scenario is a table of fields" in check(path)[0].reason
    path.write_text("")
    assert "a scenario is a table of fields" in check(path)[0].reason
    path.write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in check(path)[0].reason
    assert "No such file" in check(tmp_path / "none.yaml")[0].reason


def test_a_trace_file_beside_the_scenario_is_checked_with_it(edited):
    path = edited("trace: diurnal", "trace: load.csv")
    (path.parent / "load.csv").write_text("t_s,requests\n0,10\n10,-3\n20,10\n")
    (problem,) = check(path)
    assert (problem.file, problem.line) == (str(path.parent / "load.csv"), 3)
    (path.parent / "load.csv").write_text("t_s,requests\n0,10\n10,3\n20,10\n")
    assert check(path) == []
    assert load(path).workload["sentiment"].trace == str(path.parent / "load.csv")


def test_names():
    assert "resnet-variants" in scenario_file.names()
    with pytest.raises(ScenarioError, match="did you mean 'resnet-variants'"):
        load("resnet-variant")
    with pytest.raises(ScenarioError, match=r"known: .*live-demo, "):
        load("nothing")


def paths_of(data, path=()):
    yield path
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield from paths_of(value, (*path, key))


def changed(data, path, value):
    data = copy.deepcopy(data)
    part = data
    for step in path[:-1]:
        part = part[step]
    if value is ...:
        del part[path[-1]]
    else:
        part[path[-1]] = value
    return data


@pytest.mark.parametrize(
    "value", [..., None, "x", -1, 10**30, float("nan"), [], {}, [None], {"x": None}, {1: 2}, True], ids=repr)
def test_whatever_stands_in_the_place_of_a_part_is_told_not_raised(value, tmp_path):
    """Every part of the example and of a chain is taken out, or replaced by something else."""
    shutil.copy(EXAMPLE.parent / "own_profile.csv", tmp_path)
    data = yaml.safe_load(EXAMPLE.read_text())
    data["variants"]["small"]["certainty"] = [{"threshold": 0.5, "leave_ratio": 0.6, "accuracy": 0.8}]
    data["services"]["again"] = {"variants": ["small"], "slo_s": 1}
    data["applications"] = {"chain": {"services": ["sentiment", "again"], "slo_s": 1, "cascade": True}}
    data["thresholds"] = {"chain": [0.7]}
    data["workload"] = {"chain": {"trace": "diurnal"}}
    file = tmp_path / "own.yaml"
    file.write_text(yaml.safe_dump(data))
    assert check(file) == []
    for path in list(paths_of(data))[1:]:
        file.write_text(yaml.safe_dump(changed(data, path, value)))
        lines = len(file.read_text().splitlines())
        problems = check(file)
        assert all(0 <= p.line <= lines and p.reason for p in problems)
        if not problems:
            load(file)
