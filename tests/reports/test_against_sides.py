"""What the two sides' figures are, what is counted as equal, and the page of them."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from envs.contract import Deployment, ReplicaKind, Shape
from envs.scenario_file import load
from reports.against.comparison import _figures
from reports.against.live import Lived, _decided_s, _lives, _ready
from reports.against.page import page
from reports.against.side import FIGURES, Side, cost_of, counts_within, same_decisions, units_within
from reports.against.table import lines
from reports.record import record
from runtime.deployment_json import kind_to_json

SMALL, LARGE, OTHER = (ReplicaKind((v,), Shape(cores=c)) for v, c in (("good", 2), ("good", 3), ("wild", 1)))


def side(latency_s, *, cost=0.5, decisions=(), ready=(), starts_s=(2.0, 4.0), slo_s=0.1):
    requests = pd.DataFrame({"application": "a", "latency_s": latency_s, "in_time": np.array(latency_s) <= slo_s})
    return Side(requests, 10.0, 0.8, cost, decisions, ready, starts_s)


def lived(one):
    return Lived(one, (), 0.03, 0.0, {"hpa": 2})


def test_figures_are_of_all_requests_and_latencies_of_those_answered():
    figures = side([*np.linspace(0.001, 0.1, 100), 0.2, *[np.nan] * 99]).figures()
    assert figures["attainment"] == 0.5 and figures["goodput"] == 10.0 and figures["start"] == 3.0
    assert figures["p50"] == pytest.approx(0.051) and figures["p99"] == pytest.approx(0.1)


def test_nobody_is_started_and_no_request_answered():
    figures = side([np.nan, np.nan], starts_s=()).figures()
    assert figures["attainment"] == 0 and np.isnan(figures["p99"]) and np.isnan(figures["start"])


def test_cost_is_of_the_whole_budget_by_price():
    scenario = load("tenants")  # 4 GPUs
    gpu = scenario.kinds[0]
    assert cost_of([(gpu, 10.0), (gpu, 5.0)], 10.0, scenario) == pytest.approx(15 / 40)


def test_a_pod_of_another_size_is_another_kind_but_the_same_variant():
    a, b = [{SMALL: 1}, {SMALL: 1, OTHER: 1}], [{LARGE: 1}, {SMALL: 3, OTHER: 1}]
    assert counts_within(a, b) == 0.5  # two more of one kind in the second interval
    assert units_within(a, b) == 0.5 and units_within(a, b, most=4) == 1
    assert counts_within(a, a) == 1


def test_the_same_is_wanted_where_replicas_are_the_same():
    one, two = Deployment({SMALL: 1}), Deployment({SMALL: 2})
    routed = Deployment({SMALL: 1}, {"a": {(SMALL, "good"): 1.0}})
    assert same_decisions([one, two, one], [one, one, routed]) == pytest.approx(2 / 3)


def test_lives_are_told_by_events():
    def event(t_s, what, replica, why=""):
        return {"t_s": t_s, "what": what, "why": why, "replica": replica, "kind": kind_to_json(SMALL)}

    lives = _lives([event(0, "pending", 0, "start"), event(2, "ready", 0), {**event(10, "deployment", None), "kind": None},
                    event(10, "pending", 1, "deployment"), event(12, "ready", 1), event(12, "draining", 0),
                    event(13, "gone", 0), event(20, "failed", 1), event(20, "pending", 2, "replica 1 failed")])
    assert [_ready(lives, t_s).get(SMALL, 0) for t_s in (1, 5, 12, 19, 21)] == [0, 1, 1, 1, 0]
    assert [one.wanted for one in lives] == [False, True, False]
    assert [(one.ready_s, one.gone_s) for one in lives] == [(2, 13), (12, np.inf), (np.inf, np.inf)]
    assert _decided_s(10.03, 0.0, 5.0) == 10.0


def test_differences_are_in_percent_or_in_points_and_judged():
    simulated, written, live = side([0.1] * 100), side([0.09] * 100), [side([0.108] * 100), side([0.112] * 100)]
    found = _figures(simulated, written, [lived(one) for one in live])
    assert found["p99"]["difference"] == pytest.approx(10) and found["p99"]["live"] == pytest.approx([0.108, 0.112])
    assert found["attainment"]["difference"] == -100 and found["cost"]["difference"] == 0
    told = {line.what: line for line in lines(result(found))}
    assert told["answered within the SLO, %"].reached is False and told["cost, % of budget"].reached
    assert told["latency p99, ms"].spread == "108 to 112" and told["latency p50, ms"].reached is None
    assert told["decisions on what was seen live, equal"].reached is False


def result(figures):
    return {"case": "<case>", "told": "told", "scenario": "demo", "policy": "hpa", "speed": 2.0, "seconds": 10.0,
            "intervals": 2, "interval_s": 5.0, "requests": 100, "repeats": 2, "figures": figures, "command": "evaluate.py",
            "times": {"message_s": 0.001, "hold_s": 0.0, "decide_s": 0.04}, "fed_equal": [1.0, 0.5],
            "closed_loop": [{"same_replicas_wanted": 1.0, "counts_within_1": 1.0, "units_within_1": 1.0}] * 2,
            "by": [{}, {}], "sent_late": [0.0, 0.001], "kept_up": True}  # fmt: skip


def test_the_page_needs_nothing_else_and_holds_its_record():
    found = result(_figures(side([0.1] * 9), side([0.1] * 9), [lived(side([0.1] * 9))]))
    text = page([found], record([], ["evaluate.py"], cases=[found]))
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?!#|"#)""", text) and "://" not in text
    assert json.loads(re.search(r'id="data">(.*?)</script>', text, re.S).group(1))["cases"][0]["repeats"] == 2
    assert "<case>" not in text and "&lt;case&gt;" in text
    assert set(FIGURES) >= {"attainment", "p99", "cost"}
