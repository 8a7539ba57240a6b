"""Workloads: from a name to a load of the right window, mean and model."""

import json
import math

import numpy as np
import pytest

from traces import workload as workloads
from traces.errors import TraceError
from traces.gaps import fill_gaps
from traces.samplers import GAMMA, MMPP, POISSON, RECORDED, draw
from traces.splits import cut, cut_spans, read_manifest, read_shared
from traces.workload import Workload


@pytest.fixture
def folder(tmp_path):
    """Two small shared traces: a ramp of minutes with a gap across the border of its splits, and some arrivals."""
    ramp = [0 if 7 <= i < 9 else 60 * (i + 1) for i in range(12)]
    (tmp_path / "ramp.csv").write_text("t_s,requests\n" + "".join(f"{60 * i},{n}\n" for i, n in enumerate(ramp)))
    (tmp_path / "calls.csv").write_text("arrival_s\n" + "".join(f"{i * 0.5}\n" for i in range(200)))
    both = {"requests": 1, "mean_rate_rps": 1.0, "gaps_s": []}
    ramp_entry = {"name": "ramp", "file": "ramp.csv", "kind": "rates", "bin_s": 60, "span_s": 720, **both}
    ramp_entry.update(splits={"train": [0, 480], "val": [480, 720]}, gaps_s=[[420, 120]])
    calls_entry = {"name": "calls", "file": "calls.csv", "kind": "arrivals", "bin_s": None, "span_s": 100, **both}
    calls_entry.update(splits={"train": [0, 60], "val": [60, 100]})
    (tmp_path / "manifest.json").write_text(json.dumps({"traces": [ramp_entry, calls_entry]}))
    return tmp_path


def test_gaps_are_filled_from_their_own_split_only(folder):
    train = workloads.open(Workload("ramp", "train"), folder)
    assert train.load.model == POISSON
    assert train.span_s == 480.0
    # The last minute is missing: it takes the mean of the known minutes before it, 1 to 7.
    np.testing.assert_allclose(train.load.rate_rps, [1, 2, 3, 4, 5, 6, 7, 4])
    val = workloads.open(Workload("ramp", "val"), folder)
    np.testing.assert_allclose(val.load.rate_rps, [11, 10, 11, 12])
    assert val.mean_rps == pytest.approx(11)


def test_a_window_starts_at_zero_and_may_end_inside_a_bin(folder):
    opened = workloads.open(Workload("ramp", "train", start_s=120.0, length_s=150.0), folder)
    np.testing.assert_allclose(opened.load.rate_rps, [3, 4, 5])
    assert opened.span_s == 150.0
    assert opened.mean_rps == pytest.approx((3 * 60 + 4 * 60 + 5 * 30) / 150)
    with pytest.raises(ValueError, match="multiple of the trace's bin of 60 s"):
        workloads.open(Workload("ramp", start_s=30.0), folder)
    for start_s, length_s in ((720.0, None), (-60.0, None), (0.0, 1000.0), (0.0, 0.0)):
        with pytest.raises(TraceError, match="not inside the trace"):
            workloads.open(Workload("ramp", start_s=start_s, length_s=length_s), folder)


def test_multiplying_keeps_the_shape(folder):
    opened = workloads.open(Workload("ramp", "val", mean_rps=33.0, scaling="multiply"), folder)
    np.testing.assert_allclose(opened.load.rate_rps, [33, 30, 33, 36])
    assert opened.mean_rps == pytest.approx(33)
    doubled = workloads.open(Workload("ramp", "val", scale=2.0, scaling="multiply"), folder)
    np.testing.assert_allclose(doubled.load.rate_rps, [22, 20, 22, 24])


@pytest.mark.parametrize("mean_rps", [0.3, 4.0, 40.0, 333.0])
@pytest.mark.parametrize("scaling", ["superpose", "multiply"])
def test_the_mean_of_the_window_is_the_one_asked_for(folder, mean_rps, scaling):
    asked = Workload("ramp", "train", start_s=60.0, length_s=200.0, mean_rps=mean_rps, scaling=scaling)
    opened = workloads.open(asked, folder)
    assert opened.mean_rps == pytest.approx(mean_rps, rel=1e-9)
    part = np.array([60, 60, 60, 20]) / 200
    assert part @ opened.load.rate_rps == pytest.approx(mean_rps, rel=1e-9)


def test_recorded_arrivals_are_played_as_they_are(folder):
    opened = workloads.open(Workload("calls", "val", arrivals="recorded"), folder)
    assert opened.load.model == RECORDED
    np.testing.assert_array_equal(draw(opened.load, 0), np.arange(0.0, 40.0, 0.5))
    assert opened.mean_rps == 2.0
    part = workloads.open(Workload("calls", "val", start_s=10.0, length_s=5.0, arrivals="recorded"), folder)
    np.testing.assert_array_equal(part.load.recorded_s, np.arange(0.0, 5.0, 0.5))


def test_recorded_arrivals_are_thinned_and_superposed(folder):
    half = workloads.open(Workload("calls", arrivals="recorded", mean_rps=1.0, seed=4), folder)
    assert half.load.recorded_s.size == pytest.approx(100, abs=5 * math.sqrt(50))
    assert set(half.load.recorded_s) <= set(np.arange(0.0, 100.0, 0.5))
    triple = workloads.open(Workload("calls", arrivals="recorded", scale=3.0), folder)
    assert triple.load.recorded_s.size == 600
    assert triple.mean_rps == 6.0


def test_arrivals_can_be_counted_and_played_by_another_model(folder):
    opened = workloads.open(Workload("calls", arrivals="gamma", cv=3.0, count_s=20.0), folder)
    assert opened.load.model == GAMMA
    np.testing.assert_allclose(opened.load.rate_rps, 2.0)
    odd = workloads.open(Workload("calls", count_s=30.0), folder)
    np.testing.assert_allclose(odd.load.rate_rps, 2.0)  # the last bin is 10 s long
    assert odd.mean_rps == pytest.approx(2.0)


def test_files_of_any_format(write):
    counts = write("workload.txt", "4 6 8")
    np.testing.assert_allclose(workloads.open(Workload(str(counts))).load.rate_rps, [4, 6, 8])
    clients = write("c.csv", "t_s,model,requests\n0,a,60\n0,b,60\n60,a,120\n180,b,240\n")
    np.testing.assert_allclose(workloads.open(Workload(str(clients))).load.rate_rps, [2, 2, 0, 4])
    arrivals = write("a.csv", "arrival_s\n0\n1\n2\n")
    opened = workloads.open(Workload(str(arrivals), arrivals="recorded"))
    assert (opened.span_s, opened.mean_rps) == (3.0, 1.0)
    rates = write("r.csv", "t_s,requests\n600,1\n660,2\n")
    assert workloads.open(Workload(str(rates))).span_s == 120.0


def test_generators_and_their_seed():
    one = workloads.open(Workload("twitter-like", start_s=3600.0, length_s=1800.0, seed=1))
    two = workloads.open(Workload("twitter-like", start_s=3600.0, length_s=1800.0, seed=2))
    assert one.load.rate_rps.shape == (180,)
    assert not np.array_equal(one.load.rate_rps, two.load.rate_rps)
    assert workloads.open(Workload("spike")).span_s == 86400.0
    states = ((0.0, 10.0), (2.0, 10.0))
    assert workloads.open(Workload("azure-conv-like", length_s=60.0, arrivals="mmpp", states=states)).load.model == MMPP


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"trace": "nowhere"}, "neither a generator"),
        ({"trace": "nowhere/at/all.csv"}, "no such file"),
        ({"trace": "spike", "split": "train"}, "no splits"),
        ({"trace": "ramp", "split": "test"}, "has no split 'test'"),
        ({"trace": "ramp", "arrivals": "recorded"}, "holds rates"),
        ({"trace": "calls", "arrivals": "recorded", "scaling": "multiply"}, "cannot be multiplied"),
        ({"trace": "ramp", "scale": 2.0, "mean_rps": 3.0}, "not both"),
        ({"trace": "ramp", "scale": 0.0}, "scale"),
        ({"trace": "ramp", "scale": -1.0, "scaling": "multiply"}, "factor"),
        ({"trace": "ramp", "mean_rps": math.nan}, "mean_rps"),
        ({"trace": "ramp", "arrivals": "uniform"}, "uniform"),
        ({"trace": "ramp", "scaling": "stretch"}, "stretch"),
        ({"trace": "ramp", "cv": 2.0}, "cv belongs"),
        ({"trace": "calls", "count_s": 0.0}, "count_s"),
    ],
)
def test_parts_that_do_not_fit_are_refused(folder, parts, reason):
    with pytest.raises(ValueError, match=reason):
        workloads.open(Workload(**parts), folder)


def test_a_shared_name_without_a_folder_says_what_to_set(monkeypatch):
    monkeypatch.delenv("TIDAL_TRACES", raising=False)
    with pytest.raises(TraceError, match="TIDAL_TRACES"):
        workloads.open(Workload("twitter_2021"))


def test_a_day_of_twitter_against_its_file(shared_root):
    day = workloads.open(Workload("twitter_2021", "val", 86400.0, 86400.0), shared_root)
    trace = read_manifest(shared_root)["twitter_2021"]
    begin_s, end_s = trace.splits["val"]
    raw = fill_gaps(cut(read_shared(trace), begin_s, end_s), cut_spans(trace.gaps_s, begin_s, end_s))
    expected = raw["requests"].to_numpy()[86400 : 2 * 86400]
    np.testing.assert_array_equal(day.load.rate_rps, expected)
    times = draw(day.load, 1)
    assert times.size == pytest.approx(expected.sum(), abs=5 * math.sqrt(expected.sum()))
    hours = np.histogram(times, np.arange(0.0, 86401.0, 3600.0))[0]
    np.testing.assert_allclose(hours, expected.reshape(24, -1).sum(axis=1), rtol=0.015)


def test_azure_code_replays_every_request(shared_root):
    opened = workloads.open(Workload("azure_llm_2023_code", arrivals="recorded"), shared_root)
    assert opened.load.recorded_s.size == 7724
    gaps = np.diff(draw(opened.load, 0))
    assert gaps.std() / gaps.mean() == pytest.approx(12.6, rel=5e-3)  # manifest: cv_interarrival
