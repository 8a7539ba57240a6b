"""Calibration on made-up rewards."""

import math

import pytest

from baselines.calibrate import LEAST_BUDGET, calibrate

SPACE = {"gain": [1, 2, 3, 4], "offset": [-1, 0, 1]}
SELECTING, JUDGING = range(10_000), range(10_000, 20_000)


def reward(settings, window):
    """Best at gain 3, offset 1; the defaults are gain 1, offset 0; windows differ more than settings do."""
    return -abs(settings.get("gain", 1) - 3) - abs(settings.get("offset", 0) - 1) + 10 * (window % 7)


def player(calls, of=reward):
    def play(asked):
        calls.extend(asked)
        return (of(settings, window) for settings, window in asked)

    return play


def found(budget=400, of=reward, space=SPACE, seed=0, calls=None):
    return calibrate(space, budget, SELECTING, JUDGING, player([] if calls is None else calls, of), seed)


def test_the_best_settings_of_a_small_space_are_found():
    best = found(1000)
    assert best.settings == best.best == {"gain": 3, "offset": 1}
    assert best.difference == pytest.approx(3) and best.error == pytest.approx(0)
    assert list(best.table.columns) == ["gain", "offset", "windows", "reward"]
    assert len(best.table) == 1 + 7 + 12  # the defaults, these with one setting changed, all
    assert not best.table[["gain", "offset"]].duplicated().any()
    assert best.table["windows"].is_monotonic_decreasing and best.table["windows"].iloc[0] > best.table["windows"].iloc[-1]


@pytest.mark.parametrize("budget", [LEAST_BUDGET, 11, 40, 99, 300])
@pytest.mark.parametrize("space", [SPACE, {"gain": [2]}, {"gain": list(range(5000))}])
def test_the_budget_counts_simulator_calls_whatever_the_space(budget, space):
    calls = []
    calibration = found(budget, space=space, calls=calls)
    assert len(calls) == calibration.calls and calibration.calls in (budget, budget - 1)


def test_settings_meet_the_same_windows_and_are_judged_on_others():
    calls = []
    calibration = found(200, calls=calls)
    judged = [(settings, window) for settings, window in calls if window in JUDGING]
    default = [window for settings, window in judged if not settings]
    best = [window for settings, window in judged if settings == calibration.best]
    assert default == best and len(judged) == 2 * calibration.judged >= 40
    first = [window for settings, window in calls[: 2 * len(calibration.table)]]
    assert set(first) <= set(SELECTING) and calls[-len(judged) :] == judged


def test_half_of_the_settings_are_the_defaults_with_one_changed():
    calls = []
    space = {"gain": list(range(100)), "offset": list(range(100))}
    found(1000, space=space, calls=calls)
    tried = {tuple(settings.items()) for settings, _ in calls}
    assert len(tried) == 33 and sorted(map(len, tried)) == [0] + [1] * 16 + [2] * 16


def test_settings_that_act_alike_play_on_once():
    calls = []
    found(1000, of=lambda settings, window: float(settings.get("gain", 1)), calls=calls)
    played = {}
    for settings, window in calls:
        played.setdefault(tuple(settings.items()), set()).add(window)
    longest = [dict(settings).get("gain", 1) for settings, windows in played.items() if len(windows & set(SELECTING)) > 60]
    assert len(longest) == len(set(longest))


def test_what_only_shines_on_the_choosing_windows_is_not_used():
    def lucky(settings, window):
        return 0.0 if not settings else (1.0 if window in SELECTING else -1.0)

    calibration = found(of=lucky)
    assert calibration.settings == {} and calibration.best and calibration.difference == -1


def test_among_equals_the_defaults_stay():
    calibration = found(of=lambda settings, window: 1.0)
    assert calibration.settings == {} and calibration.difference == 0


def test_the_best_beside_good_defaults_is_judged_too():
    calibration = found(of=lambda settings, window: 1.0 if not settings else 0.5)
    assert calibration.settings == {} and calibration.best and calibration.judged


def test_a_seed_fixes_the_draw():
    space = {"gain": list(range(1000))}
    tables = [found(60, space=space, seed=seed).table for seed in (1, 1, 2)]
    assert tables[0].equals(tables[1]) and not tables[0].equals(tables[2])


@pytest.mark.parametrize(
    ("budget", "space", "told"),
    [(LEAST_BUDGET - 1, SPACE, "too small"), (50, {}, "nothing to calibrate"), (50, {"gain": []}, "nothing to calibrate")],
)
def test_what_cannot_be_calibrated_is_told(budget, space, told):
    with pytest.raises(ValueError, match=told):
        found(budget, space=space)


def test_a_reward_that_is_no_number_is_told():
    with pytest.raises(ValueError, match="not a number"):
        found(of=lambda settings, window: math.nan)
