"""The guess of a profile: recovered where the record tells it, refused where it does not."""

import math
from dataclasses import replace

import numpy as np
import pytest

from envs.scenario_file import load
from reports.replay.guess import fewest_servers, guess, stand_in, waiting_s
from reports.replay.guess_file import write
from reports.replay.recording import Latencies, RecordError, recording

SERVICE_S, SERVERS = 0.05, 4


def day(replicas=3, most=0.85, least=0.02, extra_s=0.0, **more):
    """A day of minutes of an M/M/c service: mean latencies by Erlang's formula at each minute's load."""
    busy = least + (most - least) * (1 - np.cos(2 * np.pi * np.arange(1440) / 1440)) / 2
    rps = busy * SERVERS / SERVICE_S
    latency_s = np.array([SERVICE_S + waiting_s(x, SERVICE_S, SERVERS) for x in rps]) + extra_s * busy
    answers = np.rint(rps * replicas * 60)
    return recording("a day", np.nan, 60.0, answers, answers=answers, latency_sum_s=answers * latency_s,
                     replicas=np.full(1440, float(replicas)), scrape_s=60.0, **more)


def test_erlangs_formula():
    assert waiting_s(8.0, 0.1, 1) == pytest.approx(0.1 * 0.8 / 0.2)  # M/M/1
    a = 1.5  # M/M/2: C = a^2 / (2 + a) at two servers
    assert waiting_s(15.0, 0.1, 2) == pytest.approx(a**2 / (2 + a) * 0.1 / (2 - a))


def test_the_fewest_servers_that_answer_so_fast():
    for servers in (1, 2, 5, 20):
        rps = 0.9 * servers / SERVICE_S
        seen_s = SERVICE_S + waiting_s(rps, SERVICE_S, servers)
        assert fewest_servers(rps, SERVICE_S, 1.0, seen_s * 1.001) == servers
        assert fewest_servers(rps, SERVICE_S, 1.0, seen_s * 0.9) == servers + 1


def test_service_time_and_servers_are_recovered_from_a_day_of_a_known_queue():
    found = guess(day(most=0.9))
    assert found.service_s == pytest.approx(SERVICE_S, rel=0.02) and found.servers == SERVERS
    assert 0.05 <= found.doubt.service < 0.1
    assert "near its capacity" not in guess(day(most=0.5)).told[1]  # never pressed: only a lower limit


def test_what_servers_say_they_computed_comes_first():
    base = day()
    found = guess(day(extra_s=5.0, compute_sum_s=0.04 * base.answers))
    assert found.service_s == pytest.approx(0.04)


def test_the_spread_comes_from_the_histogram_in_quiet_times():
    rng = np.random.default_rng(0)
    edges = np.linspace(0.002, 0.5, 250)
    samples = rng.gamma(4, SERVICE_S / 4, 20_000)  # CV 0.5
    row = np.histogram(samples, [0, *edges, np.inf])[0]
    base = day()
    counts = np.outer(base.answers / base.answers.mean(), row)
    assert guess(day(latencies=Latencies(60.0, edges, counts))).cv == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize(("record", "match"), [
    (lambda: replace(day(), replicas=np.full(1440, np.nan)), "how many replicas"),
    (lambda: recording("a day", np.nan, 60.0, np.ones(1440), replicas=np.ones(1440)), "no latencies"),
    (lambda: day().cut(0, 1200), "too few"),
    (lambda: day(least=0.8, most=0.99), "cannot be told apart")])
def test_what_the_record_cannot_tell_is_refused_in_one_line_with_the_way_out(record, match):
    with pytest.raises(RecordError, match=match) as refused:
        guess(record())
    assert "--scenario" in str(refused.value) and "\n" not in str(refused.value)


def test_the_guess_is_a_scenario_that_loads_and_says_what_was_found(tmp_path):
    record = day()
    found = guess(record)
    scenario = load(write(found, record, 0.2, tmp_path))
    kind = scenario.kinds[0]
    assert scenario.profile.latency_s("model", kind.shape, 1) == pytest.approx((found.service_s,), rel=1e-5)
    assert kind.shape.cores == SERVERS and scenario.candidates[0].max_count == 6
    assert scenario.initial_deployment.replicas == {kind: 3}
    assert all(sentence in (tmp_path / "scenario.yaml").read_text() for sentence in found.told)


def test_of_a_token_engine_only_what_rules_on_load_need(tmp_path):
    record = recording("an engine", np.nan, 60.0, np.full(100, 240.0), replicas=np.full(100, 2.0), tokens=True)
    scenario = load(write(stand_in(record), record, 1.0, tmp_path))
    assert scenario.capacity_rps(scenario.kinds[0], "model") == pytest.approx(2.0)
    assert scenario.service_cv == 0 and math.isfinite(scenario.devices["cpu"].budget)
