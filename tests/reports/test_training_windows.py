"""Windows for calibration."""

from itertools import pairwise

import numpy as np
import pytest

from reports.training_windows import JUDGING_SEED, SELECTING_SEED, training_windows
from traces.load import POISSON, RECORDED, make_load

RNG = np.random.default_rng(0)
RAMP = make_load(POISSON, RNG.permutation(200).astype(float), bin_s=600.0)  # 200 windows, all loads different


def rate(window):
    return RAMP.rate_rps[int(window.start_s / 600)]


def test_windows_that_choose_and_windows_that_judge_never_meet():
    selecting, judging = training_windows([RAMP], 100 * 600.0, 600.0, 50, 30.0)
    assert len(selecting) == len(judging) == 50
    starts = sorted({w.start_s for w in (*selecting, *judging)})
    assert len(starts) == 50 and min(b - a for a, b in pairwise(starts)) >= 600
    assert not {w.start_s for w in selecting} & {w.start_s for w in judging}
    assert starts[0] == 0 and starts[-1] == 100 * 600 - 600 and all(s % 30 == 0 for s in starts)


@pytest.mark.parametrize("count", [4, 8, 16, 40])
def test_any_windows_in_a_row_have_light_and_heavy_load_as_the_whole(count):
    for windows in training_windows([RAMP], 200 * 600.0, 600.0, 200, 30.0):
        for first in (0, 7):
            rates = sorted(rate(w) for w in windows[first : first + count])
            assert max(b - a for a, b in pairwise([0.0, *rates, 200.0])) <= 3 * 200 / count


def test_recorded_requests_are_counted():
    heavy_s = 600 * RNG.permutation(8)[:3]  # three windows of eight have requests
    load = make_load(RECORDED, recorded_s=np.sort(np.concatenate([s + np.arange(5.0) for s in heavy_s])))
    selecting, judging = training_windows([load], 8 * 600.0, 600.0, 8, 30.0)
    heavy = [sum(w.start_s in heavy_s for w in part[:4]) for part in (selecting, judging)]
    assert sorted(heavy) == [1, 2]


def test_few_windows_are_played_again_with_other_seeds():
    selecting, judging = training_windows([RAMP], 6 * 120.0, 120.0, 10, 5.0)
    assert len(set(selecting)) == len(set(judging)) == 10
    assert {w.seed for w in selecting} == {SELECTING_SEED + i for i in range(4)}
    assert {w.seed for w in judging} == {JUDGING_SEED + i for i in range(4)}


def test_in_a_span_of_one_window_both_play_it_with_seeds_of_their_own():
    selecting, judging = training_windows([RAMP], 130.0, 120.0, 3, 5.0)
    assert {w.start_s for w in (*selecting, *judging)} == {0.0}
    assert not {w.seed for w in selecting} & {w.seed for w in judging}


def test_a_window_longer_than_the_span_is_told():
    with pytest.raises(ValueError, match="does not fit"):
        training_windows([RAMP], 100.0, 120.0, 10, 5.0)
