"""Loads of an evaluation: means are kept, held-out draws differ, windows are spread evenly."""

import numpy as np
import pandas as pd
import pytest

from envs.loads import open_loads, spread
from envs.scenario import Workload
from envs.scenario_file import load
from traces.errors import TraceError


@pytest.fixture(scope="module")
def scenario():
    return load("resnet-variants")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "steps.csv"
    pd.DataFrame({"t_s": 60.0 * np.arange(120), "requests": np.tile([600.0, 1800.0], 60)}).to_csv(path, index=False)
    return path


def mean_rps(loads, application="classify"):
    return float(loads.loads[application].rate_rps.mean())


def test_another_trace_is_played_at_the_scenarios_mean_load(scenario, file):
    wanted = scenario.workload["classify"].mean_rps
    loads = open_loads(scenario, str(file), "val", 3600.0)
    assert mean_rps(loads) == pytest.approx(wanted, rel=1e-6)
    assert loads.trace == "steps" and loads.span_s == 7200.0
    assert f"({wanted / 20:.3g} x the trace)" in loads.told  # the file's own mean is 20 req/s


def test_a_scale_of_the_scenario_gives_the_mean_that_is_kept(scenario, file):
    scaled = scenario.with_(workload={"classify": Workload(trace=str(file), scale=2.0, scaling="multiply")})
    own = open_loads(scaled, None, "val", 3600.0)
    assert mean_rps(own) == pytest.approx(40.0)
    assert "(2 x the trace)" in own.told
    assert mean_rps(open_loads(scaled, "spike", "val", 3600.0)) == pytest.approx(40.0, rel=1e-3)


def test_the_validation_load_of_a_generator_is_another_draw(scenario):
    held_out, training = (open_loads(scenario, None, split, 3600.0) for split in ("val", "train"))
    assert not np.allclose(held_out.loads["classify"].rate_rps, training.loads["classify"].rate_rps)
    assert "held-out draw" in held_out.told and "training draw" in training.told
    again = open_loads(scenario, None, "val", 3600.0)
    assert np.array_equal(held_out.loads["classify"].rate_rps, again.loads["classify"].rate_rps)


def test_a_generated_load_is_long_enough(scenario):
    assert open_loads(scenario, None, "val", 10 * 86_400.0).span_s == 10 * 86_400.0


def test_an_unknown_trace_is_an_error_of_the_user(scenario, monkeypatch):
    monkeypatch.delenv("TIDAL_TRACES", raising=False)
    with pytest.raises(TraceError):
        open_loads(scenario, "no-such-trace", "val", 3600.0)


def test_windows_are_spread_from_the_start_to_the_end_on_the_grid():
    assert spread(36_000.0, 3600.0, 4, 30.0) == [0.0, 10_800.0, 21_600.0, 32_400.0]
    assert spread(36_000.0, 3600.0, 1, 30.0) == [0.0]
    starts = spread(259_200.0, 3600.0, 7, 30.0)
    assert all(s % 30 == 0 for s in starts) and starts[-1] + 3600 <= 259_200 and np.ptp(np.diff(starts)) <= 30
    with pytest.raises(ValueError, match="does not fit"):
        spread(1800.0, 3600.0, 2, 30.0)
