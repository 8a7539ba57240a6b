"""`tidal explain`: the decision at a time, in lines and as JSON."""

import json
import time
from datetime import datetime

import pytest
from autoscaling import autoscaler, host, run
from simulated_service import FakeClock
from test_autoscaler_process import SCENARIO, Alternating, Steady

from baselines.static import Static
from envs.envelope import Limits
from envs.scenario import Device
from runtime.__main__ import main
from runtime.actuators.actuator import Outcome
from runtime.actuators.dry_run import DryRun

START_S = 1_795_000_000.0


class Refusing(DryRun):
    def apply(self, deployment, version, decision_id, grounds):
        return Outcome("conflict", "9", "somebody else changed the deployment")


def play(folder, start_s=START_S, intervals=3, policy=None, actuator=None, scenario=SCENARIO, **more):
    clock = FakeClock(start_s, start_s + 5 * (intervals - 1))
    run(autoscaler(scenario, policy or Alternating(), more.pop("source", Steady()),
                   actuator or DryRun(SCENARIO.initial_deployment), folder, clock, **more))


def explained(capsys, folder, *more):
    assert main(["explain", "--journal", str(folder), *more]) == 0
    return capsys.readouterr().out


def test_the_last_decision_in_lines(tmp_path, capsys):
    play(tmp_path, intervals=2)
    lines = explained(capsys, tmp_path).splitlines()
    number = round(START_S / 5) + 1
    assert lines[0].startswith(datetime.fromtimestamp(START_S + 5).strftime("%Y-%m-%d %H:%M:%S"))
    assert lines[0].endswith(f"/{number} (act, live-demo)")
    text = {line[:11].strip(): line[11:] for line in lines[1:] if line[:11].strip()}
    assert text["in force"] == "1 x small @1c  (version 2)"
    assert text["seen"] == "5 s, 1 s old"
    assert "           classify: missing req/s, violations missing, accuracy missing, p99 missing s" in lines
    assert "           classify: 0 waiting" in lines
    assert text["proposed"] == "2 x small @1c" and f"           by policy: at {START_S + 5:g}" in lines
    assert text["bound by"] == "nothing" and text["decided"] == "2 x small @1c"
    assert text["outcome"] == "applied (version 3)"


def test_what_it_costs_is_told_where_prices_have_a_currency(tmp_path, capsys):
    priced = SCENARIO.with_(currency="EUR", devices={"cpu": Device(budget=2, price=0.25)})
    play(tmp_path, intervals=2, scenario=priced)
    assert "costs      0.5 EUR/h, in force 0.25\n" in explained(capsys, tmp_path)  # two small in place of one, of a core each


@pytest.mark.parametrize("more, told", [
    ({"limits": Limits(max_rise=0)}, ["bound by   small: level 2 -> 0, in force 0", "large: level 0 -> 1, in force 1",
                                      "decided    1 x large @1c", "outcome    unchanged: this was in force already"]),
    ({"mode": "advisory"}, ["outcome    advised, not acted on"]),
    ({"actuator": Refusing(SCENARIO.initial_deployment)},
     ["outcome    conflict: somebody else changed the deployment (version 9)"]),
    ({"mode": "shadow", "shadow": Static()}, ["shadow     policy: 1 x large @1c"]),
    ({"source": Steady(**{f"at_{START_S + 5}": {"age_s": float("nan")}})},
     ["seen       nothing: all numbers are missing", "bound by   held: no observation"]),
])
def test_what_came_in_between_is_told(more, told, tmp_path, capsys):
    play(tmp_path, intervals=2, **more)
    out = explained(capsys, tmp_path)
    for line in told:
        assert line in out


def test_who_decided_in_the_policy_s_place(tmp_path, capsys):
    class Broken(Static):
        def decide(self, observation):
            raise ValueError("broken")

    play(tmp_path, policy=host(Broken(), SCENARIO, Alternating()))
    assert "the policy did not decide: policy: ValueError: broken" in explained(capsys, tmp_path)


def test_a_time_of_day_an_iso_time_and_seconds_find_the_decision_in_force_then(tmp_path, capsys):
    start_s = (time.time() - 3600) // 60 * 60
    play(tmp_path, start_s, intervals=3)
    then = datetime.fromtimestamp(start_s + 7)
    for at in (then.strftime("%H:%M:%S"), then.isoformat(), str(start_s + 7)):
        found = json.loads(explained(capsys, tmp_path, "--json", "--at", at))
        assert found["decision"]["t_s"] == start_s + 5
        assert found["outcome"]["decision_id"] == found["decision"]["decision_id"]
    minute = datetime.fromtimestamp(start_s).strftime("%H:%M")
    assert json.loads(explained(capsys, tmp_path, "--json", "--at", minute))["decision"]["t_s"] == start_s


def test_an_open_decision_is_told_as_open(tmp_path, capsys):
    play(tmp_path)
    [path] = tmp_path.glob("*.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    assert '"outcome"' in lines[-2] and '"stop"' in lines[-1]
    path.write_text("".join(lines[:-2]))
    assert "outcome    open: the process ended before it knew" in explained(capsys, tmp_path)


@pytest.mark.parametrize("at, told", [(None, "no decision\n"), ("10", "no decision at or before ")])
def test_where_there_is_none(at, told, tmp_path, capsys):
    if at:
        play(tmp_path)
    assert main(["explain", "--journal", str(tmp_path), *(["--at", at] if at else [])]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"tidal: {tmp_path}: ") and told in err


def test_mistakes(tmp_path, capsys):
    assert main(["explain", "--journal", str(tmp_path / "none")]) == 1
    assert "none: no such folder; give the one that tidal autoscale has as --journal" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["explain", "--journal", str(tmp_path), "--at", "yesterday"])
    assert caught.value.code == 2 and "'yesterday' is no time such as 12:03" in capsys.readouterr().err
