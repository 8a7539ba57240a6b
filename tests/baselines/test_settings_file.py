"""Files of calibrated settings."""

import pytest

from baselines import settings_file
from envs import scenario_file

SETTINGS = {"hpa": {"variant": "small", "target": 0.8, "window_s": 0}, "static": {"levels": [0, 2, 0]}, "mine": {}}


def test_what_is_written_is_read_again(tmp_path):
    path = tmp_path / "deep" / "one.yaml"
    settings_file.write(path, ["made by", "  a command: x"], SETTINGS, dict.fromkeys(SETTINGS, "good: very"))
    assert settings_file.read(path) == SETTINGS
    assert path.read_text().startswith("# made by\n#   a command: x\n\n# good: very\nhpa: {variant: small")
    assert list(path.parent.iterdir()) == [path]


def test_no_file_is_no_settings(tmp_path):
    assert settings_file.read(tmp_path / "none.yaml") == {}


@pytest.mark.parametrize("text", ["- 1\n", "hpa: 3\n", "hpa: [\n", ""])
def test_another_file_is_told(tmp_path, text):
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"odd\.yaml: not"):
        settings_file.read(path)


def test_each_scenario_has_a_file_in_one_folder():
    assert settings_file.path_for("live-demo") == settings_file.FOLDER / "live-demo.yaml"
    for name in ("", "../evil", "a/b"):
        with pytest.raises(ValueError, match="no file of settings"):
            settings_file.path_for(name)


def test_a_file_says_which_form_of_the_scenario_it_is_for(tmp_path):
    scenario = scenario_file.load("live-demo")
    path = tmp_path / "one.yaml"
    settings_file.write(path, [settings_file.fitted_to(scenario)], SETTINGS, dict.fromkeys(SETTINGS, ""))
    (workload,) = scenario.workload.values()
    moved = scenario.with_(workload={"classify": workload.model_copy(update={"trace": "/elsewhere/live-demo-load.csv"})})
    slower = scenario.with_(interval_s=2 * scenario.interval_s)
    assert [settings_file.fits(path, s) for s in (scenario, moved, slower)] == [True, True, False]
    path.write_text("# by hand\nhpa: {}\n")
    assert settings_file.fits(path, slower)


@pytest.mark.parametrize("path", sorted(settings_file.FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_settings_that_come_with_tidal_make_policies(path):
    registry = pytest.importorskip("agents.registry")
    scenario = scenario_file.load(path.stem)
    kept = settings_file.read(path)
    planners = {"infadapter", "infadapter-fast"} if len(scenario.services) == 1 else {"ipa", "ipa-fast"}
    assert {"hpa", "static", *planners} <= set(kept)
    for name in kept:
        policy = registry.make(name, scenario)
        policy.reset(scenario)
        assert policy.calibrated is True
