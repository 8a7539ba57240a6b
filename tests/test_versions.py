"""What outlives a process says its version: of another one it is refused, in one line with both and the way out."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from agents.manifest import AgentError
from agents.tuned_planner import TunedPlanner
from agents.tuned_planner import write as write_planner
from baselines import settings_file
from envs.contract import CONTRACT_VERSION
from envs.scenario_file import check, load
from envs.versions import refusal
from reports.bench.result import read as read_result
from runtime.worlds.handshake import PROTOCOL, Introduction, Refused, encode, shake_hands

OWN = Path(__file__).parents[1] / "examples" / "own_scenario.yaml"
LEADERBOARD = Path(__file__).parents[1] / "docs" / "leaderboard"


@pytest.mark.parametrize("found, told", [
    (2, ""), (3, "thing 3, here 2; use the Tidal that wrote it, or a newer one"),
    *((odd, f"thing {odd!r}, here 2; make it again") for odd in (1, None, True, "2", [2])),
])  # fmt: skip
def test_the_line(found, told):
    assert refusal("thing", found, 2, "make it again") == told


def test_a_scenario_file(tmp_path):
    text = OWN.read_text().replace("profile: own", f"profile: {OWN.parent}/own")
    (tmp_path / "now.yaml").write_text("format: 1\n" + text)
    assert load(tmp_path / "now.yaml").model_dump(exclude={"profile"}) == load(OWN).model_dump(exclude={"profile"})
    (tmp_path / "later.yaml").write_text("# ours\nformat: 2\nsomething: new\n" + text)
    (problem,) = check(tmp_path / "later.yaml")
    told = "later.yaml:2: format: scenario, format 2, here 1; use the Tidal that wrote it, or a newer one"
    assert str(problem).endswith(told)


def test_a_planner_with_learnt_settings(tmp_path):
    write_planner(tmp_path, "baselines.static:Static", {}, "s", {})
    path = tmp_path / "planner.json"
    told = json.loads(path.read_text())
    TunedPlanner(tmp_path)
    path.write_text(json.dumps({name: value for name, value in told.items() if name != "format"}))
    TunedPlanner(tmp_path)  # the first ones said none
    for text, why in (({**told, "format": 2}, "format 2, here 1; use the Tidal that wrote it"), ([], "not a planner's file")):
        path.write_text(json.dumps(text))
        with pytest.raises(AgentError, match=why):
            TunedPlanner(tmp_path)


def test_a_result_of_the_bench(tmp_path):
    path = tmp_path / "static.json"
    told = json.loads((LEADERBOARD / "static.json").read_text())
    path.write_text(json.dumps({**told, "format": 1}))
    assert read_result(path)["digest"] == told["digest"] == read_result(LEADERBOARD / "static.json")["digest"]
    path.write_text(json.dumps({**told, "format": 2}))
    with pytest.raises(ValueError, match=r"static\.json: result, format 2, here 1; use the Tidal that wrote it"):
        read_result(path)


def test_settings_of_another_contract_are_outdated(tmp_path):
    scenario, path = load(OWN), tmp_path / "own-scenario.yaml"
    for version, fits in ((CONTRACT_VERSION, True), (CONTRACT_VERSION + 1, False)):
        header = [f"Contract version {version}. {settings_file.fitted_to(scenario)}."]
        settings_file.write(path, header, {"hpa": {"target": 0.5}}, {"hpa": "found"})
        assert settings_file.fits(path, scenario) == fits


def test_a_process_of_another_protocol_of_the_worlds():
    async def meet():
        reader, said = asyncio.StreamReader(), []
        reader.feed_data(encode({"tidal-worlds": PROTOCOL + 1, "uid": "x", "address": "a:1", "kind": "control", "nonce": "n"}))
        writer = SimpleNamespace(write=said.append)
        with pytest.raises(Refused, match=f"it speaks {PROTOCOL + 1}, we speak worlds protocol {PROTOCOL}"):
            await shake_hands(reader, writer, Introduction("u", "b:1", "control"), "token", accepting=True)
        assert len(said) == 1  # our hello, and no proof

    asyncio.run(meet())
