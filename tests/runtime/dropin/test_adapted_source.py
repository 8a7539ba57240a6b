"""The source over somebody else's metrics: closed forms on samples made by hand, and every system on a real Prometheus."""

import json
import math
import time
from pathlib import Path

import pytest
from exporter import LATENCY_S, RPS, RUNNING, SYSTEMS, WAITING
from running import until

from agents import registry
from agents.network_policy import NetworkPolicy
from baselines.hpa import HPA
from envs.scenario_file import load
from runtime.__main__ import main
from runtime.sources.adapted import AdaptedSource
from runtime.sources.adapter import named

ENGINE = load(Path(__file__).parent / "engine.yaml")
T_S = 1000.0
RULES = {"hpa", "kpa", "keda", "target-tracking", "static"}


def series(name, per_s, scrape_s=1.0, first_s=T_S - 8, last_s=T_S, level=None, **labels):
    """A counter that rises evenly, or a gauge; a sample each `scrape_s`, at times of its own."""
    times = [first_s + i * scrape_s for i in range(round((last_s - first_s) / scrape_s) + 1)]
    values = [[t, str(per_s * t if level is None else level)] for t in times]
    return {"metric": {"__name__": name, "model_name": "m", **labels}, "values": values}


def histogram(name, per_s, edges, **labels):
    """`edges`: by upper edge, answers per second up to it."""
    return [series(f"{name}_bucket", rate, le=le, **labels) for le, rate in edges.items()] + [
        series(f"{name}_count", per_s, **labels), series(f"{name}_sum", per_s * LATENCY_S, **labels)]


def read(rows, adapter="vllm", scenario=ENGINE, deployment=None, t_s=T_S):
    """The observation that a Prometheus with these rows gives."""
    source = AdaptedSource(scenario, named(adapter), "http://127.0.0.1:9", {}, scenario.interval_s)
    source._rows = lambda _: rows
    return source.read(t_s, deployment or scenario.initial_deployment), source


TWO = [row for pod, phase in (("a", 0.0), ("b", 0.4)) for row in (
    series("vllm:request_success_total", 10, instance=pod, first_s=T_S - 8 + phase, last_s=T_S - 1 + phase),
    series("vllm:num_requests_running", 0, level=3, instance=pod, first_s=T_S - 8 + phase, last_s=T_S - 1 + phase),
    series("vllm:num_requests_waiting", 0, level=2, instance=pod, first_s=T_S - 8 + phase, last_s=T_S - 1 + phase))]


def test_rates_levels_and_replicas_of_two_engines_that_are_scraped_at_different_times():
    wanted = ENGINE.deployment((3,))
    seen, source = read(TWO, deployment=wanted)
    (kind,) = wanted.replicas
    row = seen.kinds[kind]
    assert source.trouble == "" and seen.age_s == pytest.approx(0.6)
    assert seen.applications["chat"].offered_rps == pytest.approx(20) == seen.services["chat"].offered_rps
    assert (row.ready, row.pending, row.draining) == (2, 1, 0)
    assert row.busy_ratio == pytest.approx(6 / 16) and seen.services["chat"].queue == 4  # of 2 replicas with 8 places
    assert (seen.devices["gpu"].held, seen.devices["gpu"].free) == (3, 1)
    assert math.isnan(seen.applications["chat"].p99_s)  # no histogram: missing, not zero


def test_violations_and_quantiles_are_linear_in_a_bucket():
    edges = {"0.1": 4, "0.3": 8, "0.7": 10, "+Inf": 10}
    rows = [*TWO[:3], *histogram("vllm:e2e_request_latency_seconds", 10, edges, instance="a")]
    seen = read(rows)[0].applications["chat"]
    assert seen.violation_ratio == pytest.approx(0.1)  # 0.5 s is half way from 0.3 to 0.7: 9 of 10 are within
    assert seen.accuracy == pytest.approx(0.9 * 0.9) and math.isnan(seen.rejected_ratio)
    assert seen.p50_s == pytest.approx(0.15) and seen.p95_s == pytest.approx(0.6)


def test_without_gauges_littles_law_tells_how_busy_replicas_are_and_what_waits():
    rows = [series("trtllm_request_success_total", 60, instance="a"),
            *histogram("trtllm_e2e_request_latency_seconds", 60, {"1": 60, "+Inf": 60}, instance="a")]
    seen, _ = read(rows, "tensorrt-llm")
    (row,) = seen.kinds.values()
    assert row.busy_ratio == 1.0 and seen.services["chat"].queue == pytest.approx(60 * LATENCY_S - 8)


def test_where_servers_tell_what_they_computed_only_the_rest_has_waited():
    rows = [series(":tensorflow:serving:request_count", 60, status="OK", instance="a")]
    for part, seconds in (("request", 0.2), ("runtime", 0.1)):  # told in microseconds
        rows += [series(f":tensorflow:serving:{part}_latency_sum", 60 * seconds * 1e6, instance="a"),
                 series(f":tensorflow:serving:{part}_latency_count", 60, instance="a")]
    seen, _ = read(rows, "tf-serving")
    (row,) = seen.kinds.values()
    assert row.busy_ratio == pytest.approx(6 / 8) and seen.services["chat"].queue == pytest.approx(12 - 8)
    assert seen.applications["chat"].failed_ratio == 0 and math.isnan(seen.applications["chat"].p99_s)


def test_what_a_system_does_not_tell_is_missing_and_never_zero():
    seen, _ = read(TWO[:1])  # requests are counted, and nothing else
    chat, (row,) = seen.applications["chat"], seen.kinds.values()
    assert chat.offered_rps == pytest.approx(10)
    for number in (chat.violation_ratio, chat.failed_ratio, chat.accuracy, chat.p50_s, row.ready, row.busy_ratio,
                   seen.services["chat"].queue, seen.devices["gpu"].held, seen.devices["gpu"].free):  # fmt: skip
        assert math.isnan(number)


def test_where_several_kinds_are_in_force_nobody_knows_whose_replicas_they_are():
    scenario = load("live-demo")
    first, second = scenario.candidates[0].kinds[0], scenario.candidates[1].kinds[0]
    both = type(scenario.initial_deployment)({first: 1, second: 1})
    seen, _ = read(TWO, scenario=scenario, deployment=both)
    assert all(math.isnan(seen.kinds[kind].ready) for kind in (first, second))
    assert seen.applications["classify"].offered_rps == pytest.approx(20)  # over 4 s


def test_a_counter_that_begins_again_and_a_dead_exporter():
    fell = series("vllm:request_success_total", 10, instance="a")
    fell["values"][-2:] = [[T_S - 1, "5"], [T_S, "15"]]  # restarted: 5, then 10 more
    seen, _ = read([fell])
    assert seen.applications["chat"].offered_rps == pytest.approx((10 + 10 + 5 + 10) / 4)
    seen, _ = read(TWO, t_s=T_S + 30)
    assert seen.age_s == pytest.approx(30.6)  # the envelope holds


def test_what_cannot_be_read_is_missing_then_stale_and_says_why():
    seen, source = read([])
    assert "nothing counts requests" in source.trouble and math.isnan(seen.applications["chat"].offered_rps)
    source._rows = lambda _: TWO
    source.read(T_S, ENGINE.initial_deployment)
    source._rows = lambda _: [series("vllm:request_success_total", 1, first_s=T_S)]
    stale = source.read(T_S + 10, ENGINE.initial_deployment)
    assert "one sample only" in source.trouble and stale.age_s == pytest.approx(10.6)
    source = AdaptedSource(ENGINE, named("vllm"), "http://127.0.0.1:9", {}, 4)
    assert math.isnan(source.read(T_S, ENGINE.initial_deployment).age_s) and "127.0.0.1:9" in source.trouble
    source.close()


@pytest.mark.parametrize("t_s", [math.inf, -math.inf, math.nan])
def test_a_time_that_is_none_is_trouble(t_s):
    rows = [series("vllm:request_success_total", 10)]
    rows[0]["values"][-1][0] = t_s
    stale, source = read(rows)
    assert source.trouble == "vLLM: the times of vllm:request_success_total are no times"
    assert math.isnan(stale.applications["chat"].offered_rps)


def test_a_scenario_of_several_services_is_refused():
    with pytest.raises(ValueError, match="run an autoscaler for each"):
        AdaptedSource(load("tenants"), named("vllm"), "http://127.0.0.1:9", {}, 4)


@pytest.mark.parametrize("system", [name for name in SYSTEMS if name != "tidal"])
def test_every_system_is_observed_through_a_real_prometheus(scraped, system):
    source = AdaptedSource(ENGINE, named(system), scraped.url, {"job": system}, 4)
    scraped.waits_for_samples(system, count=12)  # 4 s and more

    def steady():  # a machine that was held up has counted too little
        seen = source.read(time.time(), ENGINE.initial_deployment)
        return seen if seen.applications["chat"].offered_rps == pytest.approx(RPS, rel=0.3) else None

    seen = until(steady, f"{RPS} req/s are seen")
    source.close()
    (row,) = seen.kinds.values()
    assert source.trouble == "" and seen.age_s < 4 and row.ready == 1
    told = named(system)
    if told.waiting and system not in ("http", "seldon"):  # their exporters do not tell it
        assert seen.services["chat"].queue == WAITING
    if told.running and system != "http":
        assert row.busy_ratio == pytest.approx(RUNNING / 8)
    if system != "triton":
        assert seen.applications["chat"].violation_ratio == 0 and 0.1 < seen.applications["chat"].p50_s < 0.25


def test_rules_on_load_are_valid_for_token_engines_and_planners_are_refused():
    for name in registry.BASELINES:
        policy = _made(name)
        if name in RULES:
            named("vllm").check_policy(name, policy)
        else:
            with pytest.raises(ValueError, match="continuous batching"):
                named("vllm").check_policy(name, policy)
        named("triton").check_policy(name, policy)


def test_an_agent_without_a_planner_under_it_is_valid_for_token_engines():
    agent = NetworkPolicy(registry.PRETRAINED / "resnet-variants-ppo")
    assert not agent.manifest.base
    named("vllm").check_policy("ppo", agent)


def _made(name):
    import importlib

    module, _, kind = registry.BASELINES[name].partition(":")
    return getattr(importlib.import_module(module), kind)


def advising(url, journal, *more):
    return ["autoscale", "--scenario", str(Path(__file__).parent / "engine.yaml"), "--source", "prometheus", "--url", url,
            "--system", "vllm", "--actuator", "dry-run", "--mode", "advisory", "--journal", str(journal), *more]


def test_a_planner_is_refused_for_an_engine_in_one_line(capsys, tmp_path):
    assert main(advising("http://127.0.0.1:9", tmp_path, "--policy", "infadapter")) == 1
    assert "infadapter plans on the latency of a batch, and vLLM has none" in capsys.readouterr().err


@pytest.mark.slow
def test_an_engine_is_advised_by_a_rule(scraped, tmp_path):
    running = scraped.processes.tidal(
        *advising(scraped.url, tmp_path, "--select", "job=vllm", "--policy", "hpa", "--fallback", "static"))
    running.waits_for(r"by hpa: .*busy 0\.5")
    assert running.end() == 0
    intents = [json.loads(line) for file in tmp_path.glob("journal-*") for line in file.read_text().splitlines()]
    assert any(record["type"] == "intent" for record in intents)


def test_hpa_decides_on_such_an_observation():
    policy = HPA(metric="rps")
    policy.reset(ENGINE)
    decision = policy.decide(read(TWO)[0])
    assert decision.deployment.units("gpu") == 3  # 20 req/s at 0.8 x 12 each
