"""Splits by the manifest, windows, and the filling of gaps."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traces.errors import TraceError
from traces.gaps import fill_gaps
from traces.readers import sum_clients
from traces.splits import (
    cut,
    cut_spans,
    find_root,
    read_manifest,
    read_shared,
    read_shared_clients,
    split_bounds,
)


def _entry(**changes):
    entry = {
        "name": "small",
        "file": "small.csv",
        "kind": "rates",
        "bin_s": 60,
        "span_s": 600,
        "requests": 55,
        "mean_rate_rps": 0.1,
        "splits": {"train": [0, 480], "val": None},
        "gaps_s": [[120, 60]],
    }
    return {**entry, **changes}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "small.csv").write_text("t_s,requests\n" + "".join(f"{60 * i},{i + 1}\n" for i in range(10)))
    (tmp_path / "manifest.json").write_text(json.dumps({"traces": [_entry()]}))
    return tmp_path


def test_manifest_and_splits(folder):
    trace = read_manifest(folder)["small"]
    assert trace.gaps_s == ((120.0, 60.0),)
    assert trace.low_runs_s == ()
    assert split_bounds(trace, "train") == (0.0, 480.0)
    assert split_bounds(trace, None) == (0.0, 600.0)
    assert read_shared(trace)["requests"].sum() == 55
    with pytest.raises(TraceError, match="has no split 'val'"):
        split_bounds(trace, "val")
    with pytest.raises(TraceError, match="no clients file"):
        read_shared_clients(trace)


def test_the_folder_is_found_by_argument_or_environment(folder, monkeypatch, tmp_path_factory):
    monkeypatch.setenv("TIDAL_TRACES", str(folder))
    assert find_root() == folder
    with pytest.raises(TraceError, match=r"no manifest\.json"):
        find_root(tmp_path_factory.mktemp("empty"))
    monkeypatch.delenv("TIDAL_TRACES")
    with pytest.raises(TraceError, match="set TIDAL_TRACES"):
        find_root()


@pytest.mark.parametrize("text", ["{", '{"traces": [{"name": "a"}]}', "[]", json.dumps({"traces": [_entry(kind="odd")]})])
def test_a_faulty_manifest_is_named(folder, text):
    (folder / "manifest.json").write_text(text)
    with pytest.raises(TraceError, match=r"manifest\.json"):
        read_manifest(folder)


def test_cut_starts_a_window_at_zero():
    rates = pd.DataFrame({"t_s": [0.0, 60.0, 120.0], "requests": [1.0, 2.0, 3.0]})
    assert cut(rates, 60.0, 120.0).to_numpy().tolist() == [[0.0, 2.0]]
    arrivals = pd.DataFrame({"arrival_s": [0.0, 1.0, 2.5, 4.0]})
    assert cut(arrivals, 1.0, 4.0)["arrival_s"].tolist() == [0.0, 1.5]
    assert cut_spans(((0.0, 10.0), (50.0, 20.0), (90.0, 5.0)), 5.0, 60.0) == ((0.0, 5.0), (45.0, 10.0))


def test_a_gap_is_a_straight_line_between_the_means_of_its_sides():
    rates = pd.DataFrame({"t_s": 300.0 * np.arange(8), "requests": [9.0, 1.0, 3.0, 0.0, 0.0, 8.0, 12.0, 99.0]})
    filled = fill_gaps(rates, ((900.0, 600.0),))
    # Means of 10 minutes: 2 and 10; the two middles stand at a quarter and three quarters.
    assert filled["requests"].tolist() == [9.0, 1.0, 3.0, 4.0, 8.0, 8.0, 12.0, 99.0]
    assert rates["requests"].iloc[3] == 0.0


def test_gaps_at_the_ends_take_their_only_side():
    rates = pd.DataFrame({"t_s": 600.0 * np.arange(4), "requests": [0.0, 4.0, 6.0, 0.0]})
    assert fill_gaps(rates, ((0.0, 600.0), (1800.0, 600.0)))["requests"].tolist() == [4.0, 4.0, 6.0, 6.0]
    with pytest.raises(ValueError, match="every bin"):
        fill_gaps(rates, ((0.0, 2400.0),))


@settings(max_examples=100)
@given(
    st.lists(st.integers(0, 1000), min_size=2, max_size=60),
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=5),
)
def test_filling_changes_nothing_outside_gaps_and_stays_between_known_counts(counts, gaps):
    rates = pd.DataFrame({"t_s": 60.0 * np.arange(len(counts)), "requests": np.array(counts, dtype=float)})
    spans = tuple((60.0 * a, 60.0 * b) for a, b in gaps)
    missing = np.zeros(len(counts), dtype=bool)
    for a, b in gaps:
        missing[a : a + b] = True
    if missing.all():
        return
    filled = fill_gaps(rates, spans)["requests"].to_numpy()
    known = np.array(counts)[~missing]
    np.testing.assert_array_equal(filled[~missing], known)
    assert (filled >= known.min() - 1e-9).all() and (filled <= known.max() + 1e-9).all()
    np.testing.assert_array_equal(fill_gaps(rates.assign(requests=filled), ())["requests"], filled)


# Totals and mean rates as printed in the README of the shared traces.
PRINTED = {
    "azure_llm_2023_code": (7_724, 2.994),
    "azure_llm_2023_conv": (15_543, 5.888),
    "alibaba_genai_2024": (17_764, 0.01189),
    "azure_llm_2024_code": (10_551_172, 24.42),
    "servegen_m_large": (184_233_804, 213.2),
    "servegen_mm_image": (643_622, 9.932),
    "twitter_2021": (87_731_455, 64.77),
    "worldcup_1998": (1_127_643_859, 201.8),
    "nab_elb": (179_795, 0.2081),
}


@pytest.mark.parametrize("name", PRINTED)
def test_shared_files_hold_what_their_readme_prints(shared_root, name):
    trace = read_manifest(shared_root)[name]
    frame = read_shared(trace)
    requests, mean_rps = PRINTED[name]
    total = len(frame) if trace.form == "arrivals" else frame["requests"].sum()
    assert total == requests == trace.requests
    if trace.form == "arrivals":
        seconds = trace.span_s
    else:
        bins = frame["t_s"].to_numpy()
        in_gap = np.zeros(bins.size, dtype=bool)
        for begin_s, length_s in trace.gaps_s:
            in_gap |= (bins >= begin_s) & (bins < begin_s + length_s)
        total = frame["requests"].to_numpy()[~in_gap].sum()
        seconds = trace.bin_s * (~in_gap).sum()
    assert total / seconds == pytest.approx(mean_rps, rel=6e-4)


def test_clients_add_up_to_their_rates(shared_root):
    trace = read_manifest(shared_root)["servegen_m_small"]
    total = sum_clients(read_shared_clients(trace), 600.0)["requests"].to_numpy()
    np.testing.assert_array_equal(total, read_shared(trace)["requests"].to_numpy()[: total.size])


def test_every_second_of_twitter_gaps_is_zero_and_gets_filled(shared_root):
    trace = read_manifest(shared_root)["twitter_2021"]
    rates = read_shared(trace)
    filled = fill_gaps(rates, trace.gaps_s)
    assert len(trace.gaps_s) == 17
    for begin_s, length_s in trace.gaps_s:
        inside = slice(int(begin_s), int(begin_s + length_s))
        assert rates["requests"].iloc[inside].sum() == 0
        assert filled["requests"].iloc[inside].min() > 20
