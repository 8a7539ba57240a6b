"""`evaluate.py --calibrate`: small budgets on generated load, nothing but the policies' names replaced."""

import json

import pandas as pd
import pytest
import yaml

import evaluate
from baselines import settings_file
from baselines.band import OrderKeepBand
from baselines.hpa import HPA
from baselines.infadapter import InfAdapter
from baselines.static import Static
from envs import episode as episodes
from envs.contract import CONTRACT_VERSION
from envs.scenario_file import load
from reports import calibrate_command

CLASSES = {"infadapter": InfAdapter, "hpa": HPA, "static": Static, "band": OrderKeepBand}
SMALL = ["--scenario", "live-demo", "--trace", "twitter-like", "--intervals", "6", "--policies", "static,hpa"]


class Untunable(Static):
    """A policy without settings to choose from."""

    @classmethod
    def space(cls, scenario):
        return {}


@pytest.fixture
def played(monkeypatch, tmp_path):
    """The episodes that were played: (policy, seed, start, length); settings are kept in a folder of the test's own."""
    asked, run_episode = [], episodes.run_episode

    def noted(scenario, policy, loads, *, seed, start_s, intervals):
        asked.append((type(policy).__name__, seed, start_s, intervals))
        return run_episode(scenario, policy, loads, seed=seed, start_s=start_s, intervals=intervals)

    def make(name, scenario):
        if name not in (*CLASSES, "untunable"):
            raise KeyError(f"unknown policy '{name}'")
        return {**CLASSES, "untunable": Untunable}[name]()

    monkeypatch.setattr(episodes, "run_episode", noted)
    monkeypatch.setattr(calibrate_command, "make_policy", make)
    monkeypatch.setattr(settings_file, "FOLDER", tmp_path / "calibrated")
    monkeypatch.delenv("TIDAL_TRACES", raising=False)
    return asked


def test_settings_are_found_kept_and_told(played, tmp_path, capsys):
    out = [tmp_path / name for name in ("deep/found.json", "found.csv")]
    words = [*SMALL, "--calibrate", "30", "--json", str(out[0]), "--csv", str(out[1])]
    assert evaluate.main(words) == 0
    told, path = capsys.readouterr(), tmp_path / "calibrated" / "live-demo.yaml"
    text, settings = path.read_text(), settings_file.read(path)
    assert list(settings) == ["static", "hpa"] and settings == yaml.safe_load(text)
    assert settings["static"], "one replica of large is far from the best constant"
    for words_in_header in (
        f"python evaluate.py {' '.join(words)}",
        "twitter-like (training draw)",
        "30 windows of",
        "30 calls",
        f"Contract version {CONTRACT_VERSION}",
    ):
        assert words_in_header in text
    assert "static" in told.out and "settings to use" in told.out and str(path) in told.out
    assert max(map(len, told.out.splitlines()[:12])) <= 110
    assert "60/60 calls" in told.err and "\r" not in told.err
    document = json.loads(out[0].read_text(), parse_constant=lambda c: pytest.fail(c))
    assert document["settings"] == settings and len(document["rows"]) == 2 * 4
    assert set(pd.read_csv(out[1])["policy"]) == {"static", "hpa"}


def test_settings_chosen_in_reward_tables_are_played_and_what_the_tables_took_is_told(played, tmp_path, capsys):
    words = ["--trace", "twitter-like", "--intervals", "4", "--policies", "band,hpa", "--calibrate", "20", "--tables", "12"]
    assert evaluate.main(words) == 0
    text = (tmp_path / "calibrated" / "resnet-variants.yaml").read_text()
    told = capsys.readouterr().out
    for sentence in ("Beside the defaults, band tried the best 5 of 12 settings", "The tables took"):
        assert sentence in text and sentence in told
    assert len([run for run in played if run[0] == "HPA"]) == 20
    assert 18 <= len([run for run in played if run[0] == "OrderKeepBand"]) <= 20


def test_settings_kept_make_policies(played, tmp_path):
    assert evaluate.main([*SMALL, "--calibrate", "20"]) == 0
    scenario = load("live-demo")
    for name, row in settings_file.read(settings_file.path_for("live-demo")).items():
        CLASSES[name](**row).reset(scenario)


def test_every_policy_gets_as_many_calls_on_training_windows_of_its_own_seeds(played):
    assert evaluate.main([*SMALL, "--calibrate", "24"]) == 0
    by_policy = {name: [run[1:] for run in played if run[0] == name] for name in ("Static", "HPA")}
    assert len(by_policy["Static"]) == len(by_policy["HPA"]) == 24
    assert {length for _, _, length in by_policy["HPA"]} == {6}
    assert {seed for seed, _, _ in by_policy["HPA"]} == {1000, 2000}  # evaluations count from 0
    choosing, judging = ({start for seed, start, _ in by_policy["HPA"] if seed == first} for first in (1000, 2000))
    assert not choosing & judging
    assert by_policy["Static"][-4:] == by_policy["HPA"][-4:]  # the same windows judge


def test_calibrating_again_finds_the_same(played, tmp_path):
    texts = []
    for _ in range(2):
        assert evaluate.main([*SMALL, "--calibrate", "20", "--save", str(tmp_path / "mine.yaml")]) == 0
        texts.append((tmp_path / "mine.yaml").read_text())
    assert texts[0] == texts[1] and not (tmp_path / "calibrated").exists()


def test_two_processes_find_what_one_finds(played, tmp_path):
    texts = []
    for jobs in ("1", "2"):
        words = [*SMALL, "--calibrate", "16", "--save", str(tmp_path / f"{jobs}.yaml"), "--jobs", jobs]
        assert evaluate.main(words) == 0
        texts.append(settings_file.read(tmp_path / f"{jobs}.yaml"))
    assert texts[0] == texts[1]


def test_a_shared_trace_is_played_in_its_training_part_only(played, monkeypatch):
    asked = []
    monkeypatch.setattr("reports.calibrate_command.open_loads", lambda *words: asked.append(words) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evaluate.main([*SMALL, "--calibrate", "20"])
    assert asked[0][2] == "train"


@pytest.mark.parametrize(
    "words, told",
    [
        (["--calibrate", "9"], "--calibrate 9: give 10 calls"),
        (["--calibrate", "20", "--split", "val"], "--split does not go with --calibrate"),
        (["--calibrate", "20", "--windows", "3"], "--windows does not go with --calibrate"),
        (["--calibrate", "20", "--seeds", "2"], "--seeds does not go with --calibrate"),
        (["--calibrate", "20", "--demo"], "does not go with --calibrate"),
        (["--calibrate", "20", "--policies", "hpaa"], "unknown policy 'hpaa'"),
        (["--calibrate", "20", "--policies", "untunable"], "policy untunable: has no settings to calibrate"),
        (["--calibrate", "20", "--policies", ","], "--policies names none"),
        (
            ["--calibrate", "20", "--scenario", "tenants", "--policies", "infadapter"],
            "policy infadapter: InfAdapter plans one service",
        ),
        (["--calibrate", "20", "--scenario", "live-dmeo"], "did you mean 'live-demo'?"),
        (["--calibrate", "20", "--trace", "nowhere"], "no folder is named"),
        (["--calibrate", "20", "--hours", "0.0001", "--policies", "hpa"], "less than one interval"),
        (["--save", "mine.yaml"], "--save belongs to --calibrate"),
        (["--tables", "9"], "--tables belongs to --calibrate"),
        (["--calibrate", "20", "--tables", "9", "--policies", "hpa"], "none of hpa can be tried in reward tables"),
    ],
)
def test_a_users_mistake_is_one_line_and_code_2(played, capsys, words, told):
    words = words if "--policies" in words else [*words, "--policies", "hpa"]
    assert evaluate.main(words) == 2
    err = capsys.readouterr().err
    assert told in err and err.count("\n") == 1 and err.startswith("evaluate.py: ") and not played


def test_settings_of_other_policies_are_not_lost(played, tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    settings_file.write(path, ["made by hand"], {"hpa": {}, "other": {"knob": 1}}, {"hpa": "", "other": ""})
    before = path.read_text()
    assert evaluate.main([*SMALL, "--calibrate", "20", "--save", str(path)]) == 2
    assert "would lose the settings of other" in capsys.readouterr().err
    assert path.read_text() == before and not played


def test_an_interruption_writes_nothing(played, tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(episodes, "run_episode", interrupted)
    assert evaluate.main([*SMALL, "--calibrate", "20"]) == 1
    assert not (tmp_path / "calibrated").exists() and "interrupted" in capsys.readouterr().err
