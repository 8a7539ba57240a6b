"""Profiles: look-up, interpolation, measured capacities, and what is refused."""

import pickle

import pandas as pd
import pytest

from envs.contract import Shape
from envs.profiles import CAPACITY_COLUMNS, LATENCY_COLUMNS, Profile, ProfileError

GPU = Shape(0, 2, 1, "gpu")


def latencies(*rows):
    return pd.DataFrame(rows, columns=LATENCY_COLUMNS)


def capacities(*rows):
    return pd.DataFrame(rows, columns=CAPACITY_COLUMNS)


def test_empty_cores_stand_for_any_number_and_a_given_number_wins():
    profile = Profile(latencies(("a", "cpu", None, 1, 1, 1, 0, 0.2), ("a", "cpu", 4, 1, 1, 1, 0, 0.3)))
    assert profile.latency_s("a", Shape(2), 1) == (0.2,)
    assert profile.latency_s("a", Shape(4), 1) == (0.3,)


def test_batches_between_the_measured_ones_lie_on_straight_lines():
    rows = [("a", "gpu", 0, 2, 1, b, s, 0.01 * (s + 1) * b) for b in (1, 3, 8) for s in (0, 1)]
    profile = Profile(latencies(*rows))
    for batch in range(1, 9):
        assert profile.latency_s("a", GPU, batch) == pytest.approx((0.01 * batch, 0.02 * batch))


def test_rows_may_come_in_any_order():
    profile = Profile(latencies(("a", "gpu", 0, 2, 1, 1, 1, 0.2), ("a", "gpu", 0, 2, 1, 1, 0, 0.1)))
    assert profile.latency_s("a", GPU, 1) == (0.1, 0.2)


@pytest.mark.parametrize("variant, shape, batch, reason", [
    ("b", Shape(1), 1, "no row for variant 'b' on shape 1c"),
    ("a", GPU, 1, "no row for variant 'a' on shape 2x1 gpu"),
    ("a", Shape(1), 5, "measured for batches 1 to 4, not 5"),
])
def test_a_look_up_that_fails_says_why(variant, shape, batch, reason):
    profile = Profile(latencies(("a", "cpu", None, 1, 1, 1, 0, 0.2), ("a", "cpu", None, 1, 1, 4, 0, 0.2)))
    with pytest.raises(ProfileError, match=reason) as caught:
        profile.latency_s(variant, shape, batch)
    assert caught.value.problems == ()


def test_capacities_are_those_measured_or_none():
    profile = Profile(latencies(("a", "cpu", None, 1, 1, 1, 0, 0.2)), capacities(("a", "cpu", 2, 1, 1, 1, 7.5)))
    assert profile.measured_capacity_rps("a", Shape(2), 1) == 7.5
    assert profile.measured_capacity_rps("a", Shape(3), 1) is None


def test_stages_that_are_missing_are_counted_not_listed():
    with pytest.raises(ProfileError, match="with inter_op 2000000000 it needs 0 to"):
        Profile(latencies(("a", "gpu", 0, 2_000_000_000, 1, 1, 0, 0.1)))


def test_stages_must_be_complete_and_given_once():
    row = ("a", "gpu", 0, 2, 1, 1, 0, 0.1)
    for rows in ([row], [row, row], [row, (*row[:6], 2, 0.1)]):
        with pytest.raises(ProfileError, match="with inter_op 2 it needs 0 to 1, each once"):
            Profile(latencies(*rows))


def test_files_are_read_with_comments_and_further_columns(tmp_path):
    file = tmp_path / "p.csv"
    file.write_text("# made here\n\n" + ",".join(LATENCY_COLUMNS) + ",note\n a , cpu ,,1,1,1,0,0.2,slow # as measured\n")
    assert Profile.read(file).latency_s("a", Shape(8), 1) == (0.2,)


def test_all_problems_of_both_files_are_told_with_their_lines(tmp_path):
    first, second = tmp_path / "p.csv", tmp_path / "c.csv"
    first.write_text("# made here\n" + ",".join(LATENCY_COLUMNS) + "\na,cpu,x,1,1,1,0,0\n")
    second.write_text(",".join(CAPACITY_COLUMNS) + "\na,cpu,1,1,1,1,inf\na,cpu,,1,1,1,5\n")
    with pytest.raises(ProfileError) as caught:
        Profile.read(first, second)
    assert [(p.file, p.line, p.where) for p in caught.value.problems] == [
        (str(first), 3, "cores"), (str(first), 3, "latency_s"), (str(second), 2, "capacity_rps"), (str(second), 3, "cores")]


def test_a_cell_beyond_all_measure_is_a_problem_of_its_file(tmp_path):
    (file := tmp_path / "p.csv").write_text(",".join(LATENCY_COLUMNS) + "\n" + "a" * 200_000 + "\n")
    with pytest.raises(ProfileError, match=r"p\.csv.*field limit"):
        Profile.read(file)


def test_profiles_survive_pickling():
    profile = Profile(latencies(("a", "cpu", None, 1, 1, 1, 0, 0.2)), capacities(("a", "cpu", 2, 1, 1, 1, 7.5)))
    copy = pickle.loads(pickle.dumps(profile))
    assert copy.latency_s("a", Shape(2), 1) == (0.2,)
    assert copy.measured_capacity_rps("a", Shape(2), 1) == 7.5
