"""Recordings: what files say, what is missing, times, and how far a histogram tells violations."""

from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from reports.replay.from_csv import read_csv
from reports.replay.play import known_intervals
from reports.replay.recording import Latencies, RecordError, duration, recording
from reports.replay.spans import is_relative, moment
from traces.errors import TraceError

BEGAN_S = 1_793_491_200


def written(folder, text):
    path = folder / "load.csv"
    path.write_text(text)
    return path


def test_steps_with_what_is_known_beside_the_load(tmp_path):
    rows = [f"{BEGAN_S + 15 * i},{100 + i},{2 + (i > 5)},{i}" for i in range(10) if i not in (3, 4)]
    found = read_csv(written(tmp_path, "t_s,requests,replicas,violations\n" + "\n".join(rows) + "\n"))
    assert (found.step_s, found.began_s, found.scrape_s) == (15, BEGAN_S, 15)
    assert found.gaps_s == [(45, 75)] and np.isnan(found.requests[3:5]).all()
    assert found.total == sum(100 + i for i in range(10)) - 103 - 104
    assert np.isnan(found.latency_sum_s).all() and found.replicas[-1] == 3 and found.violations[9] == 9
    assert found.filled[3:5] == pytest.approx(103.5, abs=3) and found.filled[5] == 105
    assert "30 s of it missing" in found.told and "2026-11-01 00:00 UTC" in found.told


def test_single_requests_keep_their_times(tmp_path):
    found = read_csv(written(tmp_path, "arrival_s\n0.25\n0.5\n2.75\n"))
    assert found.arrival_s.tolist() == [0.25, 0.5, 2.75] and found.requests.tolist() == [2, 0, 1]
    assert np.isnan(found.began_s) and found.scrape_s == 0
    assert found.cut(1, 3).arrival_s.tolist() == [1.75]


@pytest.mark.parametrize(("text", "error", "match"), [
    ("t_s,requests\n0,1\n10,2\n25,3\n40,1\n", TraceError, "not on the steps"),
    ("t_s,requests\n0,1\n10,\n10,3\n20,1\n", TraceError, "repeated"),
    ("t_s,requests\n0,0\n10,0\n", RecordError, "no requests"),
    ("t_s,requests\n0,1\n", TraceError, "one step only"),
    ("t_s,requests\n0,1\n10,x\n", TraceError, ":3: .*'x' is not a number"),
    ("when,what\n0,1\n", RecordError, "unknown format.*give the columns t_s,requests")])
def test_a_faulty_file_is_refused_with_its_line(tmp_path, text, error, match):
    with pytest.raises(error, match=match):
        read_csv(written(tmp_path, text))


def test_a_part_keeps_what_was_in_force_at_its_start():
    found = recording("x", BEGAN_S, 10.0, np.arange(1.0, 13.0), replicas=np.arange(12.0),
                      deployments=((0, "a"), (4, "b"), (9, "c")))
    part = found.cut(60, 110)
    assert part.requests.tolist() == [7, 8, 9, 10, 11] and part.replicas[0] == 6 and part.began_s == BEGAN_S + 60
    assert part.deployments == ((0, "b"), (3, "c"))
    assert found.cut(0, 120) is found
    with pytest.raises(RecordError, match="nothing of it lies between"):
        found.cut(200, 300)


def test_an_interval_counts_only_where_all_of_it_was_recorded():
    requests = np.ones(12)
    requests[5] = np.nan  # 50 s to 60 s
    assert known_intervals(recording("x", 0.0, 10.0, requests), 30.0, 4).tolist() == [True, False, True, True]
    assert known_intervals(recording("x", 0.0, 10.0, requests), 5.0, 24).tolist() == [i not in (10, 11) for i in range(24)]


def test_an_slo_inside_a_bucket_leaves_violations_open_and_one_at_an_edge_does_not():
    found = Latencies(60.0, np.array([0.1, 0.2, 0.4]), np.array([[50.0, 30, 15, 5], [0, 0, 0, 10]]))
    assert found.above(0.2) == (30, 30)
    assert found.above(0.3) == (15, 30)
    assert found.above(1.0) == (0, 15)


def test_times_are_dates_with_a_zone_or_how_long_before_the_end():
    berlin = timezone(timedelta(hours=1))
    assert moment("2026-11-01T00:00+01:00", 0) == datetime(2026, 11, 1, tzinfo=berlin).timestamp() == BEGAN_S - 3600
    assert moment("2026-11-01T00:00Z", 0) == BEGAN_S
    assert moment("2026-11-01 00:00", 0) == datetime(2026, 11, 1).timestamp()
    assert [moment(t, 1e6) for t in ("now", "30s", "90m", "1.5h", "7d")] == [1e6, 999_970, 994_600, 994_600, 395_200]
    assert is_relative("7d") and is_relative(None) and not is_relative("2026-11-01")
    for wrong in ("yesterday", "7 parsecs", "-3h", ""):
        with pytest.raises(ValueError, match="is no time"):
            moment(wrong, 0)


def test_durations_as_people_say_them():
    assert [duration(s) for s in (12, 600, 9000, 200_000, 604_800)] == ["12 s", "10 min", "2.5 h", "2 d 8 h", "7 d"]
