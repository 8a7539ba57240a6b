"""`evaluate.py --replay` from a file and from a journal to the table, the JSON record, the CSV and the page."""

import json
import math

import numpy as np
import pandas as pd
import pytest

import evaluate
from envs.cluster import SimulatedCluster
from envs.contract import Observation
from envs.scenario_file import load
from reports.replay import command
from reports.replay.draws import Doubt
from reports.replay.play import AGAIN, Counterfactual, make
from reports.replay.recording import recording
from reports.replay.schedule import held_counts, recorded_schedule
from reports.replay.table import Range, Row
from reports.replay.verdict import verdict
from runtime.autoscaler.observation_json import observation_to_json
from traces.samplers import POISSON, make_load

BEGAN_S = 1_793_491_200
STEPS, STEP_S = 40, 15


def steps_file(folder, gap=(20, 24)):
    rows = [f"{BEGAN_S + STEP_S * i},{600 + 10 * i},{i % 3}" for i in range(STEPS) if not gap[0] <= i < gap[1]]
    path = folder / "load.csv"
    path.write_text("t_s,requests,violations\n" + "\n".join(rows) + "\n")
    return path


def journal_file(folder, intervals=14):
    """The decisions of an autoscaler that changed its mind once, and what the simulated cluster showed it."""
    scenario = load("resnet-variants")
    cluster = SimulatedCluster(scenario, {"classify": make_load(POISSON, np.full(900, 40.0))}, seed=1)
    larger = scenario.deployment([0, 0, 14, 0, 0])
    path, lines, offered = folder / "journal-00000001.jsonl", [{"type": "journal", "format": 1, "id": "x"}], []
    for i in range(intervals):
        cluster.apply(larger if i >= 5 else scenario.initial_deployment)
        seen: Observation = cluster.advance()
        offered.append(float(cluster.last_truth.offered_rps.sum()) * 30)
        told = observation_to_json(seen, scenario)
        lines.append({"type": "intent", "scenario": scenario.name, "observation": {**told, "t_s": BEGAN_S + seen.t_s}})
    path.write_text("\n".join(map(json.dumps, lines)) + '\n{"type": "intent", "sce')  # the last line is torn
    return path, offered


def test_a_file_becomes_a_table_a_record_rows_and_a_page(tmp_path, capsys):
    out = {name: tmp_path / f"out.{name}" for name in ("json", "csv", "html")}
    words = ["--replay", str(steps_file(tmp_path)), "--scenario", "resnet-variants", "--policies", "static,hpa,keda",
             "--seeds", "2", "--json", str(out["json"]), "--csv", str(out["csv"]), "--report", str(out["html"])]  # fmt: skip
    assert evaluate.main(words) == 0
    told = capsys.readouterr().out
    assert "10 min, 60 s of it missing" in told and "1 gap of 60 s together" in told
    document = json.loads(out["json"].read_text())
    found = {(row["figure"], row["policy"]): row for row in document["rows"]}
    counts = [600 + 10 * i for i in range(STEPS) if not 20 <= i < 24]
    bad = sum(i % 3 for i in range(STEPS) if not 20 <= i < 24)
    assert found["violations", "recorded"]["value"] == pytest.approx(bad / sum(counts))
    each = pd.read_csv(out["csv"])
    assert sorted(each["policy"].unique()) == ["hpa", "keda", "static"] and len(each) == 6
    hpa = each[each["policy"] == "hpa"]["held"]
    row = found["held", "hpa"]
    assert row["draws"] == 2
    assert (row["low"], row["value"], row["high"]) == pytest.approx((hpa.min(), hpa.mean(), hpa.max()))
    page = out["html"].read_text()
    assert "http://" not in page and "https://" not in page and page.count('class="held"') == 3
    assert document["headline"] in page


def test_a_journal_is_played_again_with_the_deployments_that_were_in_force(tmp_path, capsys):
    path, offered = journal_file(tmp_path)
    out = tmp_path / "out.json"
    words = ["--replay", f"journal:{path}", "--policies", "static", "--seeds", "1", "--no-report", "--json", str(out)]
    assert evaluate.main(words) == 0
    capsys.readouterr()
    document = json.loads(out.read_text())
    found = {(row["figure"], row["policy"]): row["value"] for row in document["rows"]}
    assert document["recording"]["requests"] == pytest.approx(sum(offered[1:]), rel=0.05)  # scraped a moment early
    assert found["held", AGAIN] == pytest.approx(found["held", "recorded"], rel=0.1)


@pytest.mark.parametrize(("words", "match"), [
    (["--scenario", "resnet-variants", "--trace", "diurnal"], "--trace does not go with --replay"),
    ([], "give --slo"),
    (["--slo", "1"], "does not tell how many replicas"),
    (["--scenario", "resnet-variants", "--slo", "1"], "has one of its own"),
    (["--scenario", "resnet-variants", "--policies", "nonsense"], "policy nonsense: no policy"),
    (["--scenario", "resnet-variants", "--from", "2030-01-01T00:00Z"], "nothing of it lies between"),
    (["--scenario", "resnet-variants", "--from", "soon"], "is no time"),
    (["--scenario", "resnet-variants", "--select", "job=a"], "go with --replay prometheus"),
    (["--scenario", "nonsense"], "no scenario of this name"),
    (["--scenario", "tenants"], "several applications")])
def test_what_is_wrong_is_said_in_one_line(tmp_path, capsys, monkeypatch, words, match):
    monkeypatch.setattr(command, "GUESS", tmp_path / "guess")
    assert evaluate.main(["--replay", str(steps_file(tmp_path)), "--no-report", *words]) == 2
    said = capsys.readouterr().err
    assert match in said and said.count("\n") == 1


def test_replays_words_belong_to_it(capsys):
    assert evaluate.main(["--policies", "static", "--from", "7d"]) == 2
    assert "--from belongs to --replay" in capsys.readouterr().err


def test_an_engine_with_continuous_batching_takes_rules_on_load_and_refuses_the_rest():
    scenario = load("resnet-variants")
    assert make("hpa", scenario, tokens=True).metric == "rps"
    for name in ("infadapter", "oracle", "ppo"):
        with pytest.raises(ValueError, match=r"continuous batching .*valid are hpa, keda"):
            make(name, scenario, tokens=True)


def test_hindsight_is_a_part_of_its_own_on_the_middle_draw():
    found = recording("x", 0.0, 30.0, np.full(20, 100.0))
    names = ("hpa", "oracle", "static")
    what = Counterfactual(found, load("resnet-variants"), Doubt(0.1, 0.1, "a test"), names, names, None, 5)
    assert [(part.draw, part.places) for part in what.parts] == [*((draw, (0, 2)) for draw in range(5)), (2, (1,))]


def test_what_was_held_is_asked_for_one_load_time_ahead():
    scenario = load("live-demo")
    one = scenario.with_(candidates=scenario.candidates[2:], initial=(), services={
        "classify": scenario.services["classify"].model_copy(update={"variants": ("large",)})},
        variants={"large": scenario.variants["large"].model_copy(update={"load_s": 12.0})})
    found = recording("x", 0.0, 5.0, np.ones(12), replicas=np.array([1, 1, 1, 1, 1, 1, 2, 2, 2, np.nan, 1, 1.0]))
    assert held_counts(found)[9] == 2
    schedule = recorded_schedule(found, one, 12)
    assert [sum(d.replicas.values()) for d in schedule] == [1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 1, 1]


def test_the_verdict_says_whether_the_record_is_explained_and_who_would_have_held_less():
    scenario, found = load("resnet-variants"), recording("x", 0.0, 30.0, np.full(20, 100.0))

    def row(name, violations, held, against=math.nan):
        accuracy = 0.7 * (1 - violations[0])
        figures = {"violations": Range(*violations), "held": Range(held, held, held),
                   "accuracy": Range(accuracy, accuracy, accuracy)}
        return Row(name, figures, Range(against, against, against))

    told = [row("recorded", (0.02, 0.015, 0.025), 10), row(AGAIN, (0.021, 0.02, 0.022), 10)]
    doubt = Doubt(0.1, 0.1, "a test")
    said = verdict([*told, row("cheap", (0.02, 0.02, 0.02), 6, -0.4), row("poor", (0.2, 0.2, 0.2), 2, -0.8)],
                   scenario, found, doubt, (), ())
    assert said.headline.startswith("cheap would have held 40 % fewer cores at no more violations")
    assert "explains the record" in said.findings[0]
    said = verdict([*told, row("nearly", (0.024, 0.024, 0.024), 6, -0.4)], scenario, found, doubt, (), ())
    assert "fewer cores with half a point more violations at most: 2.40 % against 2.10 %" in said.headline
    said = verdict([row("recorded", (0.2, 0.2, 0.2), 10), told[1], row("poor", (0.1, 0.1, 0.1), 2, -0.8)],
                   scenario, found, doubt, (), ())
    assert said.headline.startswith("In a simulator that does not explain this record: Less would have cost quality: poor")
    assert "does not explain" in said.caveats[0]
