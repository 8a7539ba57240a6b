"""A short trial of each sort: a whole live system with everything failing keeps what it promises; and is not played twice."""

import json

import pytest

from runtime.__main__ import main


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2], ids=["workers", "emulated"])
def test_a_short_trial_breaks_nothing(tmp_path, capsys, seed):
    asked = ["chaos", "--seed", str(seed), "--seconds", "10", "--folder", str(tmp_path)]
    assert main(asked) == 0, capsys.readouterr().out
    first = capsys.readouterr().out
    [kept] = tmp_path.iterdir()
    result = json.loads(kept.read_text())
    assert result["faults"] and result["requests"] > 200 and not result["broken"]
    assert result["lost"] == result["doubled"] == 0
    assert main(asked) == 0
    assert capsys.readouterr().out == first  # from what is kept


@pytest.mark.parametrize("wrong", [["--seconds", "1"], ["--seconds", "nan"], ["--seeds", "0"], ["--seed", "-1"]])
def test_what_makes_no_sense_is_refused_before_anything_is_done(wrong, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["chaos", *wrong, "--folder", str(tmp_path / "never")])
    assert ended.value.code == 2 and wrong[0] in capsys.readouterr().err
    assert not (tmp_path / "never").exists()


def test_a_result_that_broke_something_says_how_to_play_it_again(tmp_path, capsys):
    """As kept by an earlier run."""
    kept = {"seed": 5, "seconds": 30.0, "replicas": "workers", "requests": 9, "answered": 8, "at_once": 7, "refused": 0,
            "lost": 1, "doubled": 0, "broken": ["answered or refused: request 3: no answer"], "faults": []}
    (tmp_path / "5-30.json").write_text(json.dumps(kept))
    assert main(["chaos", "--seed", "5", "--folder", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert "request 3: no answer" in told and "tidal chaos --seed 5 --seconds 30" in told
    assert "without the faults of Ray's nodes" in told  # of which the fifth seed has some
