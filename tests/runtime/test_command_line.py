"""The `tidal` command: what it prints, its exit codes, and one line instead of a traceback."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.__main__ import main

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "own_scenario.yaml"


@pytest.fixture
def wrong(tmp_path):
    shutil.copy(EXAMPLE.parent / "own_profile.csv", tmp_path)
    path = tmp_path / "own.yaml"
    path.write_text(EXAMPLE.read_text().replace("budget: 8", "budget: 0").replace("slo_s: 0.5", "slo_s: fast"))
    return path


def exit_code(*argv):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    return caught.value.code


def test_check_of_a_sound_file(capsys):
    assert main(["scenario", "check", str(EXAMPLE)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{EXAMPLE}: ok: 1 service(s), 2 variant(s), 2 replica kind(s), budget 8 cpu")


def test_check_prints_one_line_for_each_problem(wrong, capsys):
    assert main(["scenario", "check", str(wrong)]) == 1
    budget, slo = capsys.readouterr().out.splitlines()
    assert budget == f"{wrong}:13: devices.cpu.budget: should be greater than 0, not 0"
    assert slo.startswith(f"{wrong}:20: services.sentiment.slo_s: should be a valid number")


def test_check_as_json(wrong, capsys):
    assert main(["scenario", "check", str(wrong), "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["file"], answer["ok"]) == (str(wrong), False)
    places = [(p["line"], p["where"]) for p in answer["problems"]]
    assert places == [(13, "devices.cpu.budget"), (20, "services.sentiment.slo_s")]
    assert main(["scenario", "check", "tenants", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": "tenants", "ok": True, "problems": []}


def test_list_names_every_scenario_and_its_source(capsys):
    assert main(["scenario", "list"]) == 0
    out = capsys.readouterr().out
    for path in (ROOT / "envs" / "scenarios").glob("*.yaml"):
        assert any(line.startswith(path.stem + " ") for line in out.splitlines())
    assert "EuroMLSys 2023" in out


def test_version(capsys):
    assert exit_code("--version") == 0
    assert f'version = "{capsys.readouterr().out.split()[1]}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("argv", [(), ("scenario",), ("scenario", "check"), ("scenario", "cheque", "x"), ("--wrong",),
                                  ("profile", "fit", "x.csv", "--slo-s", "no"), ("profile", "fit", "x.csv")])
def test_a_wrong_call_is_exit_code_2(argv, capsys):
    assert exit_code(*argv) == 2
    assert "usage: tidal" in capsys.readouterr().err


def test_profile_fit_prints_a_profile_that_can_be_read(tmp_path, capsys):
    table, profile = tmp_path / "capacity.csv", tmp_path / "profile.csv"
    table.write_text("variant,device,cores,inter_op,intra_op,batch,capacity_rps\nm,cpu,1,1,1,1,8\nm,cpu,2,1,1,1,17\n")
    assert main(["profile", "fit", str(table), "--slo-s", "0.75", "--out", str(profile)]) == 0
    assert "m: 0.1" in capsys.readouterr().err
    from envs.contract import Shape
    from envs.profiles import Profile
    assert Profile.read(profile).latency_s("m", Shape(2), 1)[0] == pytest.approx(0.1, rel=0.1)


def test_a_missing_file_is_one_line_on_standard_error(tmp_path, capsys):
    assert main(["profile", "fit", str(tmp_path / "none.csv"), "--slo-s", "1"]) == 1
    assert capsys.readouterr().err == f"tidal: {tmp_path / 'none.csv'}: No such file or directory; give a CSV table\n"


def test_as_a_module_from_the_checkout(wrong):
    command = [sys.executable, "-m", "runtime", "scenario", "check", str(wrong)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr == ""


def test_what_stands_behind_train_is_that_of_train_py():
    said = ["--agent", "nobody", "--seed", "0"]
    ours, theirs = (subprocess.run([sys.executable, *command, *said], cwd=ROOT, capture_output=True, text=True)
                    for command in (["-m", "runtime", "train"], ["train.py"]))
    assert (ours.returncode, ours.stdout, ours.stderr) == (theirs.returncode, theirs.stdout, theirs.stderr)
    assert ours.returncode == 2 and "invalid choice: 'nobody'" in ours.stderr


def test_evaluate_is_evaluate_py(monkeypatch):
    def become(program, words):
        raise SystemExit(words)

    monkeypatch.setattr("os.execv", become)
    assert exit_code("evaluate", "--policies", "hpa", "-h") == [
        sys.executable, str(ROOT / "evaluate.py"), "--policies", "hpa", "-h"]
