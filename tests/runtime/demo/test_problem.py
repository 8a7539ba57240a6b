"""The problem that the demonstration writes: a sound scenario, whatever the machine; and a load that moves."""

import numpy as np
import pytest

from envs.loads import open_loads
from envs.scenario_file import check
from runtime.autoscaler.limits_file import read_limits
from runtime.demo import load as demo_load
from runtime.demo import problem
from runtime.demo.timings import Timing, measure


@pytest.fixture(autouse=True)
def no_shared_traces(monkeypatch):
    monkeypatch.delenv("TIDAL_TRACES", raising=False)


def timings(scale):
    return {name: Timing(scale * latency_s, 0.5, 10**8) for name, latency_s in zip(problem.MODELS, (0.007, 0.019, 0.044))}


@pytest.mark.parametrize("scale, slo_s, peak_rps", [(1, 0.4, 0.8 * 2 / 0.019), (0.1, 0.25, 120.0), (10, 3.55, 0.8 * 2 / 0.19)])
def test_the_problem_follows_the_machine(tmp_path, scale, slo_s, peak_rps):
    written = problem.write(tmp_path, timings(scale), 60)
    assert list(check(written.path)) == []
    scenario = written.scenario
    assert scenario.services["classify"].slo_s == pytest.approx(slo_s)
    assert scenario.devices["cpu"].budget == 2 and scenario.initial_deployment.units("cpu") == 2
    for kind in scenario.kinds:
        latency_s = timings(scale)[kind.variants[0]].latency_s
        assert scenario.profile.latency_s(kind.variants[0], kind.shape, 1)[0] == pytest.approx(latency_s)
        assert scenario.capacity_rps(kind, kind.variants[0]) == pytest.approx(0.5 / latency_s)
    assert [kind.variants for kind in scenario.kinds] == [("resnet101",), ("resnet50",), ("resnet18",)]  # overflow goes down
    assert read_limits(written.limits, scenario).min_levels == (0, 0, 1)
    rates = open_loads(scenario, None, "val", 60).loads["classify"].rate_rps
    smooth = np.convolve(rates, np.ones(3) / 3, "same")
    assert rates.size == 60 and smooth.max() == pytest.approx(peak_rps, rel=0.01) and "20 times as fast" in written.load


def test_replicas_may_have_one_core_so_that_the_other_is_left_to_the_rest(tmp_path):
    written = problem.write(tmp_path, timings(1), 60, peak_ratio=0.5, cores=1)
    scenario = written.scenario
    assert list(check(written.path)) == [] and scenario.devices["cpu"].budget == 1
    assert [kind.variants for kind in scenario.initial_deployment.replicas] == [("resnet18",)]
    assert scenario.initial_deployment.units("cpu") == 1
    rates = open_loads(scenario, None, "val", 60).loads["classify"].rate_rps
    assert np.convolve(rates, np.ones(3) / 3, "same").max() == pytest.approx(0.5 / 0.019, rel=0.01)


def test_the_load_is_quiet_then_moves_then_is_quiet_again():
    rates, told, _ = demo_load.excerpt(60, 100.0)
    assert told == demo_load.excerpt(60, 100.0).told and "twitter-like" in told
    smooth = np.convolve(rates, np.ones(3) / 3, "same")
    assert 0.3 <= smooth.argmax() / 60 <= 0.55 and smooth.max() > 4 * np.median(smooth)


def test_time_is_compressed_and_nothing_else():
    """A second of the load is the mean of the seconds of the trace that it stands for, times one factor."""
    load = demo_load.excerpt(40, 10.0)
    assert len(load.others) == demo_load.OTHERS and all(other.shape == (40,) for other in load.others)
    day, time_of_day = load.told.partition(" from day ")[2].split(" on,")[0].split(", ")
    hours, minutes = map(int, time_of_day.split(":"))
    start_s = (int(day) - 1) * 86400 + hours * 3600 + minutes * 60
    opened = demo_load.open_workload(demo_load.Workload("twitter-like", length_s=86400.0, seed=1000))
    per_bin = opened.load.rate_rps
    ratios = []
    for shift_s in (0, 20, 40):  # the time is told to the minute
        first = (start_s + shift_s) // 10
        ratios.append(load.rates_rps / per_bin[first:first + 80].reshape(-1, 2).mean(1))
    assert any(np.ptp(ratio) < 1e-9 for ratio in ratios)


def test_models_are_timed_on_all_cores_at_once():
    found = measure({"small": "resnet18@32", "other": "resnet34@32"}, 2)
    assert list(found) == ["small", "other"]
    for timing in found.values():
        assert 0 < timing.latency_s < 30 and 0 < timing.load_s < 120 and timing.memory_bytes > 10**6
