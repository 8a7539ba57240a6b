"""A recorded day in a real Prometheus, under each system's names: the load that is read is the load that was written."""

import json
import shutil

import numpy as np
import pytest
from recorded_day import BEGAN_S, EDGES_S, SCRAPE_S, STEPS, Day, backfill, exposition, histogram_of, prometheus, requests_of

import evaluate
from reports.replay import command
from reports.replay.from_prometheus import read_prometheus
from reports.replay.recording import RecordError
from runtime.sources import history

pytestmark = pytest.mark.skipif(not (shutil.which("prometheus") and shutil.which("promtool")),
                                reason="no prometheus and promtool: install the package prometheus")

TIMED = {  # by adapter: its counter of requests, labels, histogram of latencies and the units in a second of it
    "vllm": ("vllm:request_success_total", 'model_name="m",finished_reason="stop"', "vllm:e2e_request_latency_seconds", 1),
    "sglang": ("sglang:num_requests_total", 'model_name="m"', "sglang:e2e_request_latency_seconds", 1),
    "tensorrt-llm": ("trtllm:request_success_total", 'model_name="m"', "trtllm:e2e_request_latency_seconds", 1),
    "ray-serve": ("ray_serve_deployment_request_counter_total", 'application="a",deployment="d"',
                  "ray_serve_deployment_processing_latency_ms", 1e3),
    "kserve": (None, 'model_name="m"', "request_predict_seconds", 1),
    "seldon": ("model_infer_request_success_total", 'model="m"', "rest_server_requests_duration_seconds", 1),
    "tf-serving": (":tensorflow:serving:request_count", 'model_name="m",status="OK"',
                   ":tensorflow:serving:request_latency", 1e6),
    "http": ("http_requests_total", 'code="200"', "http_request_duration_seconds", 1),
}
COUNTED = {"vllm": "vllm:num_requests_running", "sglang": "sglang:num_running_reqs",
           "ray-serve": "ray_serve_deployment_replica_healthy"}


def lines_of(day):
    """Everything that all systems export."""
    lines = []
    for system, (counter, labels, histogram, unit) in TIMED.items():
        series = histogram_of(day, histogram, labels, unit)
        lines += exposition(day, series + (requests_of(day, counter, labels) if counter else []),
                            [(COUNTED[system], labels, pod, 1) for pod in range(3)] if system in COUNTED else [])
    triton = [(f"nv_inference_request_{fate}", 'model="m"', pod, n) for pod in range(3)
              for fate, n in (("success", day.shares[pod] - day.shares[pod] // 50), ("failure", day.shares[pod] // 50))]
    for name, seconds in (("request", day.latency_s), ("compute_infer", day.latency_s / 2)):
        triton += [(f"nv_inference_{name}_duration_us", 'model="m"', pod, 1e6 * seconds[pod]) for pod in range(3)]
    tidal = [("tidal_requests_offered_total", 'application="classify"', pod, day.shares[pod]) for pod in range(3)]
    tidal += [("tidal_requests_settled_total", f'application="classify",fate="{fate}"', pod, n) for pod in range(3)
              for fate, n in (("answered", day.shares[pod] - day.shares[pod] // 20), ("late", day.shares[pod] // 20))]
    tidal += [row for row in histogram_of(day, "tidal_request_latency_seconds", 'application="classify"')
              if row[0].endswith("_bucket")]  # of its own histogram Tidal exports no sum
    replicas = [("tidal_kind_replicas", f'kind="k",state="{state}"', pod, int(state == "ready")) for pod in range(3)
                for state in ("ready", "failed")]
    return lines + exposition(day, triton) + exposition(day, tidal, replicas)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The day, and the URL of a Prometheus that holds it."""
    day, folder = Day(), tmp_path_factory.mktemp("day")
    backfill(folder, lines_of(day))
    with prometheus(folder) as url:
        yield day, url


def read(url, system, **select):
    return read_prometheus(url, BEGAN_S, BEGAN_S + STEPS * SCRAPE_S, select, system)


@pytest.mark.parametrize("system", [*TIMED, "triton", "tidal"])
def test_the_load_that_is_read_is_the_load_that_was_written(recorded, system):
    day, url = recorded
    found = read(url, system)
    assert found.step_s == SCRAPE_S and found.steps == STEPS and found.tokens == (system in ("vllm", "sglang", "tensorrt-llm"))
    assert (found.known == day.seen).all()  # a gap is a gap, and nothing else is
    known = day.seen.copy()
    known[300] = False  # a restart: what was counted between the last scrape and the restart is lost, as scraping loses it
    assert np.array_equal(found.requests[known], day.requests[known])
    edges = np.concatenate([[day.pods[0]], day.pods])  # pods seen at each scrape, those of the step before it
    inside = day.seen & np.roll(day.seen, 1) & np.roll(day.seen, -1) & (edges[:-1] == edges[1:])
    assert np.array_equal(found.replicas[inside], day.pods[inside])


@pytest.mark.parametrize("system", TIMED)
def test_latencies_are_read_in_seconds_and_violations_lie_between_what_the_buckets_allow(recorded, system):
    day, url = recorded
    found = read(url, system)
    assert found.latencies.edges_s == pytest.approx(EDGES_S)
    told = np.flatnonzero(day.seen & (np.arange(STEPS) != 300))
    assert found.latency_sum_s[told] == pytest.approx(day.latency_s.sum(0)[told], rel=1e-6)
    late = day.buckets.sum((0, 1)) / day.buckets.sum()
    few, many = (n / found.latencies.counts.sum() for n in found.latencies.above(0.3))
    assert few == pytest.approx(late[4:].sum(), abs=0.002) and many == pytest.approx(late[3:].sum(), abs=0.002)
    few, many = found.latencies.above(0.4)  # an edge: nothing is left open
    assert few == many


def test_what_is_read_in_small_pieces_is_the_same(recorded, monkeypatch):
    _, url = recorded
    whole = read(url, "triton")
    monkeypatch.setattr(history, "MOST_POINTS", 97)
    pieces = read(url, "triton")
    for name in ("requests", "replicas", "latency_sum_s"):
        assert np.array_equal(getattr(whole, name), getattr(pieces, name), equal_nan=True)


def test_what_only_some_systems_tell(recorded):
    day, url = recorded
    triton, tidal = read(url, "triton"), read(url, "tidal")
    assert triton.latencies is None and any("mean latencies only" in note for note in triton.notes)
    quiet = day.seen & (np.arange(STEPS) != 300)
    assert triton.failed[quiet].sum() == (day.shares // 50).sum(0)[quiet].sum()
    assert triton.compute_sum_s[quiet] == pytest.approx(day.latency_s.sum(0)[quiet] / 2, rel=1e-6)
    assert tidal.latencies.edges_s == pytest.approx(EDGES_S) and np.isnan(tidal.latency_sum_s).all() and not tidal.notes
    assert tidal.violations[quiet].sum() == (day.shares // 20).sum(0)[quiet].sum()


def test_what_cannot_be_read_is_refused_in_one_line(recorded):
    _, url = recorded
    with pytest.raises(RecordError, match=r"has metrics of .*say which with --system"):
        read(url, None)
    with pytest.raises(RecordError, match="there are kserve, "):
        read(url, "nonsense")
    with pytest.raises(RecordError, match="no metrics of a known system"):
        read_prometheus(url, BEGAN_S - 90_000, BEGAN_S - 3600, {}, None)
    with pytest.raises(RecordError, match=r"no series of vLLM|no metrics"):
        read(url, "vllm", model_name="another")
    with pytest.raises(RecordError, match=r"127\.0\.0\.1") as refused:
        read("http://127.0.0.1:1", "vllm")
    assert "\n" not in str(refused.value)


def test_a_token_engine_is_played_by_rules_on_load_alone(recorded, tmp_path, monkeypatch, capsys):
    day, url = recorded
    monkeypatch.setattr(command, "GUESS", tmp_path / "guess")
    words = ["--replay", f"prometheus:{url}", "--system", "vllm", "--slo", "5", "--from", "2026-11-01T06:00Z",
             "--to", "2026-11-01T09:00Z", "--seeds", "1", "--no-report", "--json", str(tmp_path / "out.json")]  # fmt: skip
    assert evaluate.main([*words, "--policies", "hpa,static"]) == 0
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    found = {(row["figure"], row["policy"]): row["value"] for row in rows}
    assert found["held", "recorded"] == pytest.approx(day.pods[360:540].mean(), abs=0.02)
    assert found["held", "static"] == pytest.approx(2)  # as it was at six
    assert ("violations", "hpa") not in found and found["held", "hpa"] >= 2
    assert "cannot be told for this engine" in capsys.readouterr().out
    assert evaluate.main([*words, "--policies", "infadapter"]) == 2
    assert "continuous batching" in capsys.readouterr().err
    assert evaluate.main([*words, "--scenario", "resnet-variants"]) == 2
    assert "no scenario describes it" in capsys.readouterr().err
