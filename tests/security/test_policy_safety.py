"""Policies that are hostile, broken or random, behind their host and inside the envelope: no invariant ever breaks.

Whatever a policy gives back, each time is decided on, by somebody; what is accepted fits the budget, the bounds, the changes
per window and the cool-down, and a cluster would take it; on a load that is not known nothing changes.
"""

import math
import os
import tempfile
import threading
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from autoscaling import autoscaler, host, journaled, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simulated_service import FakeClock

from baselines.static import Static
from envs.contract import Decision, Deployment, Policy, ReplicaKind, Shape
from envs.envelope import Limits, project
from envs.observation import missing_observation
from envs.scenario_file import load
from runtime.account import UNSAID
from runtime.actuators.dry_run import DryRun
from runtime.serving.acceptance import check

SCENARIO = load("live-demo")
SMALL, MEDIUM, LARGE = SCENARIO.kinds
INTERVAL_S, DECISIONS = SCENARIO.interval_s, 16
DEADLINE_S = 0.05
WINDOW = Limits(max_levels=(2, 2, 1), max_rise=1, max_fall=1, change_window_s=12)
FLOOR = Limits(min_levels=(0, 0, 1), max_rise=2, fall_cooldown_s=12)
CALM = Limits(rise_cooldown_s=12, max_fall=0, change_window_s=20)
LIMITS = st.sampled_from([WINDOW, FLOOR, CALM])


def wants(replicas, routes=(), thresholds=(), reason="why not", details=()):
    return lambda _: Decision(Deployment(dict(replicas), dict(routes), dict(thresholds)), reason, dict(details))


def raises(error):
    def act(_):
        raise error
    return act


def forgets_the_gaps(observation):
    """What it was shown, it spoils; then it wants all there is."""
    observation.services.clear()
    observation.applications.clear()
    observation.kinds.clear()
    return Decision(SCENARIO.deployment((2, 0, 0)), "nothing is missing")


class Wordless(Exception):
    def __str__(self):
        raise RuntimeError("no word")


class Unordered:
    def __iter__(self):
        raise ValueError("no")

    def __str__(self):
        raise RuntimeError("no word")


def kind(variant="small", batch=1, max_wait_s=0.0, **shape):
    return ReplicaKind((variant,), Shape(**{"cores": 1, **shape}), batch, max_wait_s)


COUNTS = st.integers(0, 3)
LEVELS = st.tuples(COUNTS, COUNTS, COUNTS).map(lambda levels: wants({k: n for k, n in zip(SCENARIO.kinds, levels) if n}))
NOTHING, ALL = wants({}), wants({SMALL: 2, MEDIUM: 2, LARGE: 2})
ODD_KINDS = st.sampled_from([
    kind("nobody"), kind(cores=0), kind(cores=-3), kind(cores=10**9), kind(cores=True), kind(batch=0), kind(batch=-1),
    kind(batch=10**9), kind(max_wait_s=math.nan), kind(max_wait_s=math.inf), kind(max_wait_s=-1.0), kind(device="tpu"),
    kind(inter_op=0), kind(device=""), ReplicaKind((), Shape(1)), ReplicaKind(("small", "small"), Shape(1))])
ODD = st.builds(lambda k, n: wants({k: n}), ODD_KINDS, st.sampled_from([1, 2, 10**18]))
HUGE = st.sampled_from([wants({SMALL: 10**6}), wants({SMALL: 10**30}), wants({SMALL: 2.0}), wants({SMALL: 1.5}),
                        wants({SMALL: -1}), wants({SMALL: math.nan}), wants({SMALL: math.inf})])
ROUTES = st.sampled_from([math.nan, math.inf, 1.0, -1.0, 2.0]).flatmap(lambda share: st.sampled_from([
    wants({SMALL: 1}, {"classify": {(SMALL, "small"): share}}), wants({SMALL: 1}, {"classify": {(LARGE, "small"): share}}),
    wants({SMALL: 1}, {"classify": {(SMALL, "large"): share}}), wants({SMALL: 1}, {"nobody": {(SMALL, "small"): share}}),
    wants({LARGE: 1}, {"classify": {(SMALL, "small"): share}}), wants({SMALL: 1}, {}, {("classify", 0): share})]))
WORDS = st.sampled_from([
    {"reason": None}, {"reason": 5}, {"reason": b"bytes"}, {"reason": "\ud800"}, {"reason": "x" * 10**6},
    {"reason": Unordered()},
    {"details": {"a": math.nan}}, {"details": {"a": 10**400}}, {"details": {"a": "b"}}, {"details": {3: 1.0}},
    {"details": {"a": None}}, {"details": {"a": Unordered()}}, {"details": {"\ud800": 1.0}}, {"details": {"a": 1j}},
    {"details": {f"{i}": 1.0 for i in range(5000)}}]).map(lambda words: wants({SMALL: 1, MEDIUM: 1}, **words))
NO_DECISIONS = st.sampled_from([None, "scale", 3, math.nan, SCENARIO.initial_deployment, Decision(None, ""), Decision({}, ""),
                                [], Unordered(), object]).map(lambda value: lambda _: value)
ERRORS = st.sampled_from([
    ValueError("no"), KeyError(), RecursionError(), MemoryError(), SystemExit(1), KeyboardInterrupt(), GeneratorExit(),
    StopIteration(), Wordless(), ValueError("\ud800"), UnicodeDecodeError("utf-8", b"", 0, 1, "no")]).map(raises)
STALL = "stall"
ACTS = st.one_of(LEVELS, LEVELS, st.just(NOTHING), st.just(ALL), ODD, HUGE, ROUTES, WORDS, NO_DECISIONS, ERRORS,
                 st.just(forgets_the_gaps), st.just(STALL))
FLAPS = st.builds(lambda a, b: [a, b] * (DECISIONS // 2), LEVELS, LEVELS)
SCRIPTS = st.one_of(
    st.lists(ACTS, min_size=1, max_size=DECISIONS), FLAPS, st.just([NOTHING]), st.just([ALL]), st.just([STALL]))
GAPS = st.lists(st.sampled_from(["", "", "", "missing", "stale"]), min_size=DECISIONS + 1, max_size=DECISIONS + 1)


class Hostile(Policy):
    """Does what its script says, again and again."""

    memory_intervals = 2

    def __init__(self, script, released):
        self._script, self._at, self._released = script, 0, released

    def reset(self, scenario):
        pass

    def decide(self, observation):
        act = self._script[self._at % len(self._script)]
        self._at += 1
        if act == STALL:
            self._released.wait()
        return act(observation)


class Metrics:
    """A load that is known, or not."""

    trouble = ""

    def __init__(self, gaps):
        self._gaps = gaps

    def read(self, t_s, deployment):
        gap = self._gaps[round(t_s / INTERVAL_S)]
        seen = missing_observation(SCENARIO, SCENARIO.kinds, deployment, t_s)
        service = replace(seen.services["classify"], offered_rps=math.nan if gap == "missing" else 20.0)
        return replace(seen, age_s=99.0 if gap == "stale" else 1.0, services={"classify": service})


class Strict(DryRun):
    """Takes what a cluster would take, and keeps each change."""

    def __init__(self):
        super().__init__(SCENARIO.initial_deployment)
        self.changes = []

    def apply(self, deployment, version, decision_id, grounds=UNSAID):
        check(deployment, SCENARIO)
        before = self.current().deployment
        outcome = super().apply(deployment, version, decision_id, grounds)
        assert outcome.status == "applied"
        self.changes.append((INTERVAL_S * int(decision_id.rpartition("/")[2]), before, deployment))
        return outcome


def within(limits, changes):
    """Whether a history keeps what an operator was promised, by its own arithmetic."""
    levels = [(-math.inf, SCENARIO.levels(SCENARIO.initial_deployment))]
    for (t_s, before, after) in changes:
        now, then = SCENARIO.levels(before), SCENARIO.levels(after)
        assert after.units("cpu") <= SCENARIO.devices["cpu"].budget and project(after, SCENARIO) == (after, ())
        recent = [now] + [old for (_, old), (until_s, _) in pairwise(levels) if until_s > t_s - limits.change_window_s]
        for c, (n, o) in enumerate(zip(then, now)):
            assert n <= max(o, limits.max_levels[c] if limits.max_levels else math.inf)
            assert n >= min(o, limits.min_levels[c] if limits.min_levels else 0)
            assert n <= max(o, min(w[c] for w in recent) + (math.inf if limits.max_rise is None else limits.max_rise))
            assert n >= min(o, max(w[c] for w in recent) - (math.inf if limits.max_fall is None else limits.max_fall))
            assert n <= o or t_s - levels[-1][0] >= limits.rise_cooldown_s
            assert n >= o or t_s - levels[-1][0] >= limits.fall_cooldown_s
        if now != then:
            levels.append((t_s, then))


def play(script, limits, gaps):
    released, actuator = threading.Event(), Strict()
    with tempfile.TemporaryDirectory() as folder:
        hosted = host(Hostile(script, released), SCENARIO, Static(), deadline_s=DEADLINE_S)
        scaler = autoscaler(SCENARIO, hosted, Metrics(gaps), actuator, Path(folder), FakeClock(last_s=INTERVAL_S * DECISIONS),
                            limits=limits)
        try:
            run(scaler)
        finally:
            released.set()
        intents = journaled(Path(folder))
    assert [i["t_s"] for i in intents] == [INTERVAL_S * n for n in range(DECISIONS + 1)]  # nobody kept it from deciding
    assert {i["by"] for i in intents} <= {"policy", "baseline", "hold"}
    within(limits, actuator.changes)
    assert not any(gaps[round(t_s / INTERVAL_S)] for t_s, _, _ in actuator.changes)
    return actuator, intents


@pytest.fixture(autouse=True, scope="module")
def quick_disk():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(SCRIPTS, LIMITS, GAPS)
def test_no_policy_breaks_an_invariant(script, limits, gaps):
    play(script, limits, gaps)


@pytest.mark.slow
@settings(max_examples=5000, suppress_health_check=list(HealthCheck))
@given(SCRIPTS, LIMITS, GAPS)
def test_no_policy_breaks_an_invariant_in_thousands_of_runs(script, limits, gaps):
    play(script, limits, gaps)


def test_a_policy_that_always_wants_all_gets_what_fits_and_one_that_flaps_is_slowed():
    known = [""] * (DECISIONS + 1)
    all_, intents = play([ALL], Limits(), known)
    assert len(all_.changes) == 1 and {i["by"] for i in intents} == {"policy"}  # it is at the budget at once, and stays
    free, _ = play([wants({SMALL: 1}), wants({LARGE: 1})], Limits(), known)
    slowed, _ = play([wants({SMALL: 1}), wants({LARGE: 1})], Limits(rise_cooldown_s=60), known)
    assert len(free.changes) > 3 * len(slowed.changes) > 0


def test_words_that_no_journal_can_hold_are_the_policys_fault_and_the_breaker_opens():
    _, intents = play([wants({SMALL: 1}, details={"a": "b"})], Limits(), [""] * (DECISIONS + 1))
    assert {i["by"] for i in intents} == {"baseline"} and "a detail that is no number: 'a'" in intents[0]["failure"]
    _, intents = play([wants({SMALL: 1}, reason="\ud800" + "x" * 5000)], Limits(), [""] * (DECISIONS + 1))
    assert {i["by"] for i in intents} == {"policy"} and intents[0]["proposal"]["reason"] == "?" + "x" * 999
