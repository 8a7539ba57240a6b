"""Scenarios as files again."""

import shutil
from pathlib import Path

import pytest

from envs import scenario_written
from envs.digest import digest
from envs.scenario import Failures
from envs.scenario_file import load


@pytest.mark.parametrize("name", ["resnet-variants", "tenants", "cascade", "video", "edge"])
def test_what_is_written_is_read_back_as_it_was(name, tmp_path):
    scenario = load(name)
    path = scenario_written.write(scenario, tmp_path, "made by a test\nin two lines")
    assert digest(load(path)) == digest(scenario)
    assert path.read_text().startswith("# made by a test\n# in two lines\n")


def test_settings_that_few_scenarios_have_are_written_too(tmp_path):
    failures = Failures(mean_time_s=7.0, in_flight="lost")
    scenario = load("live-demo").with_(failures=failures, in_place_resize_s=0.5, overhead_s=0.01)
    assert load(scenario_written.write(scenario, tmp_path, "")).failures == scenario.failures
    assert digest(load(tmp_path / "scenario.yaml")) == digest(scenario)


def test_a_load_that_lies_beside_the_scenario_is_found_from_another_folder(tmp_path, monkeypatch):
    beside = Path(load("live-demo").workload["classify"].trace).parent
    for file in beside.glob("live-demo*"):
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    written = load(scenario_written.write(load("live-demo.yaml"), Path("another/folder"), ""))
    assert Path(written.workload["classify"].trace) == tmp_path / "live-demo-load.csv"
