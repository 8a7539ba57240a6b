"""The adapters: every file is sound, names have their fallbacks, and the system is told by its metrics."""

import pytest
from pydantic import ValidationError

from runtime.metrics import CONTRACT
from runtime.sources.adapter import Adapter, Gauge, Timing, adapters, first, fitting

ALL = tuple(adapters().values())
SYSTEMS = {"vllm", "sglang", "tensorrt-llm", "triton", "ray-serve", "kserve", "seldon", "tf-serving", "tidal", "http"}


def names_of(adapter):
    """All metrics that a Prometheus of this system may have."""
    counters = [*adapter.offered, *adapter.failed, *adapter.violations, *adapter.accuracy]
    gauges = [*adapter.replicas, *adapter.held, *adapter.running, *adapter.waiting, *adapter.memory]
    return {*(m for c in counters for m in c.metrics), *(n for t in (*adapter.latency, *adapter.compute) for n in t.sums),
            *(g.name for g in gauges)}


def test_there_is_one_for_each_system_and_tokens_are_told_apart():
    assert set(adapters()) == SYSTEMS
    assert {a.name for a in ALL if a.engine == "tokens"} == {"vllm", "sglang", "tensorrt-llm"}


@pytest.mark.parametrize("adapter", ALL, ids=lambda adapter: adapter.name)
def test_a_system_is_told_by_its_own_metrics(adapter):
    assert fitting(names_of(adapter)) == [adapter]
    assert fitting(names_of(adapter) | names_of(adapters()["http"])) == [adapter]  # general names never win over own ones
    assert all(choice.at for choice in adapter.offered)


def test_nothing_fits_what_is_no_serving_system():
    assert fitting({"up", "node_cpu_seconds_total"}) == []


def test_the_first_name_that_is_there_is_used():
    triton, vllm = adapters()["triton"], adapters()["vllm"]
    assert first(vllm.offered, {"vllm:request_success_total", "vllm:num_incoming_requests_total"}).at == "arrival"
    assert first(vllm.memory, {"vllm:gpu_cache_usage_perc"}).name == "vllm:gpu_cache_usage_perc"
    assert first(triton.latency, {"nv_inference_request_duration_us"}) is None  # a sum without its count
    for alone in ({"request_predict_seconds_bucket"}, {"request_predict_seconds_sum", "request_predict_seconds_count"}):
        assert first(adapters()["kserve"].latency, alone)


def test_our_own_names_are_those_of_the_metric_contract():
    known = {series.name for series in CONTRACT} | {f"{s.name}_{part}" for s in CONTRACT for part in ("sum", "count")}
    assert names_of(adapters()["tidal"]) <= known


@pytest.mark.parametrize(("part", "fields"), [(Timing, {"sum": "a"}), (Timing, {}), (Gauge, {"count": "a"}),
                                              (Gauge, {"gauge": "a", "count": "b", "by": ["pod"]}),
                                              (Adapter, {"name": "x", "title": "x", "source": "x", "offered": []})])
def test_a_faulty_part_is_refused(part, fields):
    with pytest.raises(ValidationError):
        part(**fields)
