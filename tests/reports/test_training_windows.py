"""Windows for calibration."""

from itertools import pairwise

import pytest

from reports.training_windows import JUDGING_SEED, SELECTING_SEED, training_windows


def test_windows_that_choose_and_windows_that_judge_never_meet():
    selecting, judging = training_windows(100 * 600.0, 600.0, 50, 30.0)
    assert len(selecting) == len(judging) == 50
    starts = sorted({w.start_s for w in (*selecting, *judging)})
    assert len(starts) == 50 and min(b - a for a, b in pairwise(starts)) >= 600
    assert not {w.start_s for w in selecting} & {w.start_s for w in judging}
    assert starts[0] == 0 and starts[-1] == 100 * 600 - 600 and all(s % 30 == 0 for s in starts)


@pytest.mark.parametrize("count", [4, 8, 16])
def test_every_beginning_covers_the_whole_span(count):
    for windows in training_windows(200 * 600.0, 600.0, 200, 30.0):
        starts = sorted(w.start_s for w in windows[:count])
        gaps = [b - a for a, b in zip([0.0, *starts], [*starts, 200 * 600.0])]
        assert max(gaps) <= 3 * 200 * 600 / count


def test_few_windows_are_played_again_with_other_seeds():
    selecting, judging = training_windows(6 * 120.0, 120.0, 10, 5.0)
    assert len(set(selecting)) == len(set(judging)) == 10
    assert {w.seed for w in selecting} == {SELECTING_SEED + i for i in range(4)}
    assert {w.seed for w in judging} == {JUDGING_SEED + i for i in range(4)}


def test_in_a_span_of_one_window_both_play_it_with_seeds_of_their_own():
    selecting, judging = training_windows(130.0, 120.0, 3, 5.0)
    assert {w.start_s for w in (*selecting, *judging)} == {0.0}
    assert not {w.seed for w in selecting} & {w.seed for w in judging}


def test_a_window_longer_than_the_span_is_told():
    with pytest.raises(ValueError, match="does not fit"):
        training_windows(100.0, 120.0, 10, 5.0)
