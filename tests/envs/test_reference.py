"""The reference simulator against closed forms, and against timelines worked by hand."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from cases import Case, all_off, cases, extra_kinds, fewest_features, play, random_case
from hypothesis import given, settings
from reference import FATES, Reference, draw

from envs.contract import Deployment, ReplicaKind, Shape
from envs.profiles import LATENCY_COLUMNS, Profile
from envs.scenario import Scenario

ONE_CORE = Shape(cores=1)
BOTH = [{"candidate": i, "level": 1} for i in (0, 1)]


def kind(*variants, shape=ONE_CORE, batch=1, max_wait_s=0.0):
    return ReplicaKind(variants, shape, batch, max_wait_s)


def problem(latency, replicas=1, **changes):
    """A scenario; latency is {variant: [seconds of batch 1, of batch 2, ...]}, a tuple where there are several stages."""
    rows = []
    for v, batches in latency.items():
        for n, stages in enumerate(batches, 1):
            stages = stages if isinstance(stages, tuple) else (stages,)
            rows += [(v, device, cores, len(stages), 1, n, s, x)
                     for device, cores in (("cpu", None), ("gpu", 0)) for s, x in enumerate(stages)]
    first = next(iter(latency))
    fields = {
        "name": "by-hand", "source": "worked by hand", "interval_s": 1.0, "binding": "late",
        "devices": {"cpu": {"budget": 64}, "gpu": {"budget": 64}},
        "variants": {v: {"accuracy": 0.5, "load_s": 5.0} for v in latency},
        "services": {"s": {"variants": [first], "slo_s": 100.0}},
        "candidates": [{"variants": [first], "cores": [1], "max_count": 9}],
        "initial": [{"candidate": 0, "level": replicas}] if replicas else [], "workload": {},
        "profile": Profile(pd.DataFrame(rows, columns=LATENCY_COLUMNS))}
    return Scenario(**{**fields, **changes})


def after(scenario, arrivals, deployments=(), t_end=60.0, seed=0):
    """The reference when all is over; arrivals of service "s" may be a plain list."""
    arrivals = arrivals if isinstance(arrivals, dict) else {"s": arrivals}
    return play(Reference(scenario, arrivals, seed), Case(scenario, arrivals, list(deployments), t_end), every_s=1e9)


def settled(reference, application="s"):
    """[(fate, time), ...] by number."""
    rows = sorted((number, fate, t) for name, number, fate, t, _ in reference.records if name == application)
    return [(fate, pytest.approx(t, abs=1e-9)) for _, fate, t in rows]


def mean_wait(reference, arrivals, service_s):
    return np.mean([t - arrivals[number] for _, number, _, t, _ in reference.records]) - service_s


# Closed forms


def poisson(rate, count, seed=1):
    return [float(t) for t in np.cumsum(np.random.default_rng(seed).exponential(1 / rate, count))]


def test_mean_wait_of_m_d_1():
    arrivals = poisson(7.0, 9000)
    reference = after(problem({"v": [0.1]}), arrivals, t_end=2000)
    assert mean_wait(reference, arrivals, 0.1) == pytest.approx(0.7 * 0.1 / (2 * 0.3), rel=0.15)


@pytest.mark.parametrize("cores, replicas", [(2, 1), (1, 2)])
def test_mean_wait_of_m_m_2(cores, replicas):
    arrivals = poisson(14.0, 9000)
    scenario = problem({"v": [0.1]}, replicas=replicas, service_cv=1.0,
                       candidates=[{"variants": ["v"], "cores": [cores], "max_count": 9}])
    waits = 2 * 0.7**2 / (1 + 0.7)  # Erlang's C for two servers
    assert mean_wait(after(scenario, arrivals, t_end=1500), arrivals, 0.1) == pytest.approx(waits / (20 - 14), rel=0.15)


def test_draws_are_splitmix64():
    # First outputs of the reference C code by Vigna for seed 1234567.
    assert [draw(1234567, 0, stage) for stage in range(3)] == [6457827717110365317, 3203168211198807973, 9817491932198370423]


# Serving


def test_stages_overlap():
    scenario = problem({"v": [(0.2, 0.3)]}, overhead_s=1.0, candidates=[{"variants": ["v"], "device": "gpu", "inter_op": 2}])
    reference = after(scenario, [0.0, 0.0, 0.0])
    assert settled(reference) == [("good", 1.5), ("good", 1.8), ("good", 2.1)]
    assert next(iter(reference.counters()["kinds"].values()))["busy_ns"] == 750_000_000


def test_a_batch_starts_when_full_or_when_its_oldest_has_waited():
    candidates = [{"variants": ["v"], "cores": [1], "batch": 3, "max_wait_s": 0.5}]
    scenario = problem({"v": [0.3, 0.4, 0.6]}, candidates=candidates)
    reference = after(scenario, [0.0, 0.1, 0.2,  # full at 0.2, done at 0.8
                                 0.6,  # ready at 1.1: done at 1.4 ...
                                 1.2, 1.3,  # ... when these wait for 1.7: done at 2.1
                                 1.8, 1.9, 2.0, 2.05])  # full when the server is free at 2.1: 2.7; the last at 2.7: 3.0
    assert [t for _, t in settled(reference)] == [0.8] * 3 + [1.4] + [2.1] * 2 + [2.7] * 3 + [3.0]


def test_greedy_batches_take_what_waits():
    scenario = problem({"v": [0.3, 0.4]}, candidates=[{"variants": ["v"], "cores": [1], "batch": 2}])
    assert [t for _, t in settled(after(scenario, [0.0, 0.1, 0.2, 0.25]))] == [0.3, 0.7, 0.7, 1.0]


def test_a_batch_holds_one_variant():
    scenario = problem({"v": [0.3, 0.4], "w": [1.0, 1.0]}, candidates=[{"variants": ["v", "w"], "cores": [1], "batch": 2}],
                       services={"s": {"variants": ["v"], "slo_s": 9.0}, "r": {"variants": ["w"], "slo_s": 9.0}})
    reference = after(scenario, {"s": [0.0, 0.1, 0.25], "r": [0.2]})
    assert settled(reference) == [("good", 0.3), ("good", 0.7), ("good", 0.7)]
    assert settled(reference, "r") == [("good", 1.7)]


def test_fair_queueing_serves_by_share():
    names = ("big", "small")
    scenario = problem({"v": [0.1]}, tenants={"big": {"share": 3.0}, "small": {"share": 1.0}},
                       services={name: {"variants": ["v"], "slo_s": 100.0, "tenant": name} for name in names})
    reference = after(scenario, dict.fromkeys(names, [0.0] * 40))
    assert Counter(name for name, *_ in reference.records[:40]) == {"big": 30, "small": 10}


def test_fair_queueing_fills_batches_by_share():
    names = ("big", "small")
    scenario = problem({"v": [0.1, 0.1, 0.1, 0.1]}, tenants={"big": {"share": 3.0}, "small": {"share": 1.0}},
                       candidates=[{"variants": ["v"], "cores": [1], "batch": 4}],
                       services={name: {"variants": ["v"], "slo_s": 100.0, "tenant": name} for name in names})
    records = after(scenario, dict.fromkeys(names, [0.0] * 20)).records[1:25]  # after the very first
    for i in range(0, 24, 4):
        assert Counter(name for name, *_ in records[i:i + 4]) == {"big": 3, "small": 1}


def test_a_tenant_saves_no_credit_while_it_is_away():
    names = ("x", "y")
    scenario = problem({"v": [0.1]}, tenants={"x": {}, "y": {}},
                       services={name: {"variants": ["v"], "slo_s": 100.0, "tenant": name} for name in names})
    reference = after(scenario, {"x": [0.0] * 30, "y": [1.05] * 10})
    since = [name for name, _, _, t, _ in reference.records if t > 1.15]
    assert all(a != b for a, b in pairwise(since[:18]))  # in turns


# Dispatch


def two_kinds(**changes):
    """Kinds a and b of one core that serve the same service with variants a and b."""
    fields = {"services": {"s": {"variants": ["a", "b"], "slo_s": 1.0}}, "initial": BOTH, "binding": "early",
              "candidates": [{"variants": [v], "cores": [1], "max_count": 9} for v in "ab"]}
    return problem({"a": [0.4], "b": [0.7]}, **{**fields, **changes})


def variants_of(reference):
    return "".join(v or "-" for _, v in sorted((number, v) for _, number, _, _, v in reference.records))


@pytest.mark.parametrize("rule, expected", [
    ("shortest-queue", "abab"),
    ("last-stage-clock", "ababaa"),  # clocks of (a, b): 0 0, .4 0, .4 .7, .8 .7, .8 1.4, 1.2 1.4
    ("least-expected-finish", "abaaba"),  # finishes at a or b: .4 .7, .8 .7, .8 1.4, 1.2 1.4, 1.6 1.4, 1.6 2.1
])
def test_dispatch_rules(rule, expected):
    reference = after(two_kinds(dispatch=rule), [0.0] * len(expected))
    assert variants_of(reference) == expected


def test_smooth_weighted_round_robin():
    scenario = problem({v: [0.1] for v in "abc"}, binding="early", services={"s": {"variants": list("abc"), "slo_s": 9.0}},
                       initial=[{"candidate": i, "level": 1} for i in range(3)],
                       candidates=[{"variants": [v], "cores": [1]} for v in "abc"])
    shares = {"a": 0.5, "b": 0.25, "c": 0.25}
    routes = {"s": {(kind(v), v): share for v, share in shares.items()}}
    everything = Deployment(dict.fromkeys(map(kind, "abc"), 1), routes)
    assert variants_of(after(scenario, [1.0] * 8, [(0.5, everything)])) == "abcaabca"
    # Kind c never gets ready: the old routes (none) stay.
    unready = scenario.with_(initial=[{"candidate": i, "level": 1} for i in range(2)])
    assert variants_of(after(unready, [1.0] * 4, [(0.5, Deployment({kind("a"): 1, kind("b"): 1}, routes))])) == "abab"


def test_shares_are_renormalised_over_what_is_ready():
    routes = {"s": {(kind("a"), "a"): 0.25, (kind("b"), "b"): 0.75}}
    deployment = Deployment({kind("a"): 1, kind("b"): 1}, routes)
    only_a = Deployment({kind("a"): 1}, routes)
    reference = after(two_kinds(), [1.0] * 4 + [3.0] * 4, [(0.5, deployment), (2.0, only_a)])
    assert variants_of(reference) == "babb" + "aaaa"  # credits .25 .75, .5 .5, -.25 1.25, 0 1; then a alone


def test_quota():
    scenario = problem({"v": [0.1]}, tenants={"default": {"quota_rps": 1.0, "burst": 2.0}})
    fates = [fate for fate, _ in settled(after(scenario, [0.0, 0.0, 0.0, 1.0, 1.5, 9.0, 9.0, 9.0]))]
    assert fates == ["good", "good", "rejected", "good", "rejected", "good", "good", "rejected"]


def test_deadline_admission():
    scenario = problem({"v": [0.4]}, binding="early", admission={"deadline": True},
                       services={"s": {"variants": ["v"], "slo_s": 1.0}})
    assert settled(after(scenario, [0.0, 0.0, 0.0, 0.5])) == [("good", 0.4), ("good", 0.8), ("rejected", 0.0), ("good", 1.2)]


def test_queue_limit():
    scenario = problem({"v": [0.4]}, admission={"queue_limit_s": 1.0})  # int(1 s * 0.8 / 0.4 s) = 2 may wait
    assert [fate for fate, _ in settled(after(scenario, [0.0] * 4))] == ["good", "good", "good", "rejected"]


def test_expired_requests_are_dropped_when_a_server_would_take_them():
    scenario = problem({"v": [0.4]}, admission={"drop_after_s": 0.5})
    assert settled(after(scenario, [0.0, 0.0, 0.0, 0.3])) == [("good", 0.4), ("good", 0.8), ("dropped", 0.8), ("good", 1.2)]


# Chains


def test_accuracy_of_a_chain_is_the_product():
    scenario = problem(
        {"v": [0.1], "w": [0.2]}, applications={"s": {"services": ["first", "second"], "slo_s": 0.4}}, initial=BOTH,
        services={"first": {"variants": ["v"], "slo_s": 1.0}, "second": {"variants": ["w"], "slo_s": 1.0}},
        candidates=[{"variants": [v], "cores": [1]} for v in "vw"])
    reference = after(scenario, [0.0, 0.0])
    assert settled(reference) == [("good", 0.3), ("late", 0.5)]
    counters = reference.counters()
    assert counters["applications"]["s"]["accuracy_ppb"] == 250_000_000
    assert counters["services"] == {"first": {"offered": 2}, "second": {"offered": 2}}
    bins = {i: n for i, n in enumerate(counters["applications"]["s"]["histogram"]) if n}
    assert bins == {int(x / (0.4 / 64)): 1 for x in (0.1 + 0.2, 0.2 + 0.1 + 0.2)} and sum(bins.values()) == 2


def test_a_cascade_leaves_at_its_threshold():
    rows = [{"threshold": 0.2, "leave_ratio": 0.8, "accuracy": 0.6}, {"threshold": 0.6, "leave_ratio": 0.4, "accuracy": 0.7}]
    scenario = problem(
        {"v": [0.001], "w": [0.001]},
        variants={"v": {"accuracy": 0.5, "load_s": 1, "certainty": rows}, "w": {"accuracy": 0.9, "load_s": 1}},
        services={"first": {"variants": ["v"], "slo_s": 1.0}, "second": {"variants": ["w"], "slo_s": 1.0}},
        applications={"s": {"services": ["first", "second"], "slo_s": 9.0, "cascade": True}}, thresholds={"s": [0.3]},
        initial=BOTH, candidates=[{"variants": [v], "cores": [1]} for v in "vw"])
    reference = after(scenario, [0.01 * i for i in range(2000)])
    left = variants_of(reference).count("v")
    assert left / 2000 == pytest.approx(0.7, abs=0.04)
    accuracy = reference.counters()["applications"]["s"]["accuracy_ppb"] / 1e9
    assert accuracy == pytest.approx(left * 0.625 + (2000 - left) * 0.9)
    # No threshold in the deployment: 1, where the curve is flat.
    plain = Deployment(scenario.initial_deployment.replicas)
    reference = after(scenario, [0.01 * i for i in range(1, 2000)], [(0.0, plain)])
    assert variants_of(reference).count("v") / 2000 == pytest.approx(0.4, abs=0.04)


# Change


def test_create_before_delete():
    reference = Reference(two_kinds(decision_delay_s=1.0), {"s": [1.5, 6.8, 6.9, 7.5]}, 0)
    reference.apply(Deployment({kind("a"): 2}))
    states = []
    for t in (1.0, 1.5, 6.5, 8.0):
        reference.run(t)
        gauges = reference.gauges()["kinds"]
        states.append([tuple(gauges[kind(v)][state] for state in ("ready", "pending", "draining")) for v in "ab"])
    assert states == [[(1, 0, 0), (1, 0, 0)], [(1, 1, 0), (1, 0, 0)], [(2, 0, 0), (0, 0, 0)], [(2, 0, 0), (0, 0, 0)]]
    counters = reference.counters()["kinds"]  # the new replica loads from 1 to 6; then b is gone
    assert counters[kind("a")]["held_ns"] == 15 * 10**9 and counters[kind("a")]["ready_server_ns"] == 10 * 10**9
    assert counters[kind("b")]["held_ns"] == counters[kind("b")]["ready_server_ns"] == 6 * 10**9


def test_a_draining_replica_serves_its_queue_first():
    reference = Reference(two_kinds(), {"s": [0.0] * 6}, 0)
    reference.run(0.1)
    reference.apply(Deployment({kind("a"): 1}))
    reference.run(1.0)
    assert reference.gauges()["kinds"][kind("b")] == {"ready": 0, "pending": 0, "draining": 1, "queue": 1}
    reference.run(3.0)
    assert reference.gauges()["kinds"][kind("b")]["draining"] == 0 and variants_of(reference) == "ababab"
    counters = reference.counters()["kinds"][kind("b")]
    assert counters["held_ns"] == pytest.approx(2.1e9, abs=2) and counters["ready_server_ns"] == pytest.approx(0.1e9, abs=2)


def test_pending_replicas_keep_their_remaining_time_and_the_newest_go_first():
    reference = Reference(problem({"v": [0.1]}), {}, 0)
    for t, count in ((0.0, 2), (1.0, 3), (2.0, 2)):
        reference.run(t)
        reference.apply(Deployment({kind("v"): count}))
    reference.run(5.5)
    assert reference.gauges()["kinds"][kind("v")]["ready"] == 2
    assert reference.counters()["kinds"][kind("v")]["held_ns"] == (2 * 5.5 + 1) * 1e9


def test_without_replicas_requests_are_rejected_and_with_pending_ones_they_wait():
    none = problem({"v": [0.1]}, replicas=0)
    assert settled(after(none, [1.0, 5.0])) == [("rejected", 1.0), ("rejected", 5.0)]
    assert settled(after(none, [1.0, 5.0], [(0.5, Deployment({kind("v"): 1}))])) == [("good", 5.6), ("good", 5.7)]
    early = none.with_(binding="early")
    assert settled(after(early, [1.0, 6.0], [(0.5, Deployment({kind("v"): 1}))])) == [("rejected", 1.0), ("good", 6.1)]


@pytest.mark.parametrize("binding", ["early", "late"])
@pytest.mark.parametrize("in_flight", ["lost", "requeued"])
def test_what_a_broken_replica_held_is_lost_or_placed_again(in_flight, binding):
    scenario = problem({"v": [2.0]}, replicas=2, binding=binding,
                       failures={"mean_time_s": 50.0, "detection_s": 1.0, "in_flight": in_flight})
    slots = Reference(scenario, {}, 3).slots
    breaks, slot = min((replica.breaks, slot) for slot, replica in slots.items())
    other_breaks = slots[1 - slot].breaks
    assert 0.5 < breaks < other_breaks - 8  # or choose another seed
    reference = after(scenario, [breaks - 0.5, breaks - 0.5], seed=3)
    t = breaks + 1
    fates = {fate: at for _, _, fate, at, _ in reference.records}
    if in_flight == "lost":
        assert fates["failed"] == pytest.approx(t) and fates["good"] == pytest.approx(breaks + 1.5)
    else:  # the other server is free at breaks + 1.5
        assert [at for *_, at, _ in reference.records] == pytest.approx([breaks + 1.5, breaks + 3.5])


def test_failed_loads_are_tried_again():
    scenario = problem({"v": [0.1]}, replicas=0, failures={"load_failure_ratio": 0.5})
    reference = Reference(scenario, {}, 0)
    reference.apply(Deployment({kind("v"): 40}))
    ready = []
    for t in (5.1, 10.1, 15.1):
        reference.run(t)
        ready.append(reference.gauges()["kinds"][kind("v")]["ready"])
    assert 8 < ready[0] < 32 and ready == sorted(ready)
    assert reference.gauges()["kinds"][kind("v")]["pending"] == 40 - ready[-1]


@pytest.mark.parametrize("loading, slow", [(ONE_CORE, 1.5), (Shape(device="gpu"), 1.0)])
def test_batches_that_start_while_one_loads_on_their_device_are_slower(loading, slow):
    scenario = problem({"v": [1.0]}, failures={"load_slowdown": 1.5})
    wanted = Counter([kind("v"), kind("v", shape=loading)])
    reference = after(scenario, [0.5, 2.0, 5.5, 7.5], [(1.0, Deployment(wanted))])  # it loads from 1 to 6
    assert settled(reference) == [("good", t) for t in (1.5, 2.0 + slow, 5.5 + slow, 8.5)]
    assert sum(row["busy_ns"] for row in reference.counters()["kinds"].values()) == (2 + 2 * slow) * 10**9


def test_resize_in_place():
    scenario = problem({"v": [1.0]}, binding="early", in_place_resize_s=0.5, candidates=[{"variants": ["v"], "cores": [1, 3]}])
    large, small = kind("v", shape=Shape(cores=3)), kind("v")
    grown = after(scenario, [0.0] * 4, [(0.25, Deployment({large: 1})), (3.0, Deployment({small: 1}))])
    assert settled(grown) == [("good", 1.0), ("good", 1.75), ("good", 1.75), ("good", 2.0)]
    assert grown.created == 1 and grown.gauges()["kinds"][small]["ready"] == 1


# Any case


@given(cases())
@settings(max_examples=150)
def test_every_request_settles_once(case):
    reference = play(Reference(case.scenario, case.arrivals, 5), case)
    for name, row in reference.counters()["applications"].items():
        numbers = sorted(number for application, number, *_ in reference.records if application == name)
        assert numbers == list(range(row["offered"])) == list(range(len(case.arrivals[name])))
        assert row["offered"] == sum(row[fate] for fate in FATES) and sum(row["histogram"]) == row["good"] + row["late"]
    times = [t for *_, t, _ in reference.records]
    assert times == sorted(times) and not reference.outstanding
    assert not any(row["queue"] for row in reference.gauges()["services"].values())
    for row in reference.counters()["kinds"].values():
        assert min(row.values()) >= 0


@given(cases(deployments=True))
@settings(max_examples=40)
def test_stops_and_kinds_named_ahead_change_nothing(case):
    plain = play(Reference(case.scenario, case.arrivals, 5), case)
    other = play(Reference(case.scenario, case.arrivals, 5, extra_kinds(case)), case, every_s=0.7)
    assert plain.records == other.records and plain.counters()["applications"] == other.counters()["applications"]


def test_random_cases_have_every_fate_and_can_be_cut_down():
    fates = Counter(record[2] for seed in range(40) for case in [random_case(seed)]
                    for record in play(Reference(case.scenario, case.arrivals, seed), case).records)
    assert set(fates) == set(FATES) and min(fates.values()) > 0.01 * fates.total()
    early = next(seed for seed in range(40) if random_case(seed).scenario.binding == "early")
    bare = random_case(3, **all_off())
    assert bare.scenario.binding == "late" and not bare.deployments
    assert len(bare.scenario.applications) == len(bare.scenario.services)
    assert random_case(3, routes=False).arrivals == random_case(3).arrivals
    off = fewest_features(early, lambda case: case.scenario.binding == "early")
    assert set(all_off()) - set(off) == {"early"}
