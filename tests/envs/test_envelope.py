"""The envelope: worked cases, and properties on random deployments."""

import math
from dataclasses import replace
from itertools import pairwise

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.contract import (
    ApplicationObservation,
    Decision,
    Deployment,
    KindObservation,
    Observation,
    ReplicaKind,
    ServiceObservation,
    Shape,
)
from envs.envelope import Limits, Panic, guard, project
from envs.profiles import LATENCY_COLUMNS, Profile
from envs.scenario import Candidate, Device, InitialReplica, Scenario, Service, Variant, Workload

NAN = math.nan


def scenario(budget=20, nodes=(), gpus=4, memory_bytes=1e12):
    """Two services: `see` on cpu (sized pods of small and large, counted pods of tiny), `hear` on cpu or gpu (counts)."""
    rows = [("small", "cpu", None, 1, 1, 1, 0, 0.1), ("large", "cpu", None, 1, 1, 1, 0, 0.4),
            ("tiny", "cpu", None, 1, 1, 1, 0, 0.05), ("hear", "cpu", None, 1, 1, 1, 0, 0.5),
            ("hear", "gpu", 0, 1, 1, 1, 0, 0.02), ("hear", "gpu", 0, 2, 1, 1, 0, 0.01), ("hear", "gpu", 0, 2, 1, 1, 1, 0.01)]
    initial = (InitialReplica(candidate=0, level=2), InitialReplica(candidate=3, level=1))

    def sizes(*cores):
        return tuple(c for c in cores if c <= budget)

    return Scenario(
        name="t", source="made up for this test", interval_s=30, binding="early",
        devices={"cpu": Device(budget=budget, nodes=nodes, memory_bytes=memory_bytes), "gpu": Device(budget=gpus)},
        variants={"small": Variant(accuracy=0.6, load_s=5, memory_bytes=1e9),
                  "large": Variant(accuracy=0.8, load_s=9, memory_bytes=4e9),
                  "tiny": Variant(accuracy=0.4, load_s=2, memory_bytes=1e9),
                  "hear": Variant(accuracy=0.9, load_s=3, memory_bytes=1e9)},
        services={"see": Service(variants=("large", "small", "tiny"), slo_s=1), "hear": Service(variants=("hear",), slo_s=1)},
        candidates=(Candidate(variants=("small",), cores=sizes(2, 4, 8)),
                    Candidate(variants=("large",), cores=sizes(2, 4, 8, 16)),
                    Candidate(variants=("tiny",), cores=(1,), max_count=6),
                    Candidate(variants=("hear",), cores=(2,), max_count=4),
                    Candidate(variants=("hear",), device="gpu", max_count=4)),
        initial=initial if budget >= 6 else (),
        workload={"see": Workload(trace="none"), "hear": Workload(trace="none")},
        profile=Profile(pd.DataFrame(rows, columns=LATENCY_COLUMNS)))


def cpu(variant, cores):
    return ReplicaKind((variant,), Shape(cores=cores))


GPU = ReplicaKind(("hear",), Shape(0, 1, 1, "gpu"))
PAIR = ReplicaKind(("hear",), Shape(0, 2, 1, "gpu"))  # no candidate
ALIEN = ReplicaKind(("small", "tiny"), Shape(cores=3))  # no candidate, hosts two variants
KINDS = [cpu("small", 2), cpu("small", 4), cpu("small", 8), cpu("large", 2), cpu("large", 8), cpu("large", 16),
         cpu("tiny", 1), cpu("hear", 2), GPU, PAIR, ALIEN, cpu("small", 6), cpu("large", 24)]
deployments = st.dictionaries(st.sampled_from(KINDS), st.integers(1, 4), max_size=7)


@st.composite
def routed(draw):
    replicas = draw(deployments)
    hosts = [(k, v) for k in replicas for v in k.variants if v != "hear"]
    shares = [draw(st.integers(0, 5)) for _ in hosts]
    total = sum(shares)
    return Deployment(replicas, {"see": {h: s / total for h, s in zip(hosts, shares)}} if total else {})


def fits(deployment, scen):
    """An independent check: budget, and some placement on the nodes found by exhaustive search."""
    for name, device in scen.devices.items():
        if deployment.units(name) > device.budget:
            return False
    held = [(k.shape.units, n) for k, n in deployment.replicas.items() if k.shape.device == "cpu"]
    items = sorted((units for units, n in held for _ in range(n)), reverse=True)

    def place(i, room):
        if i == len(items):
            return True
        return any(place(i + 1, (*room[:n], room[n] - items[i], *room[n + 1:]))
                   for n in range(len(room)) if room[n] >= items[i] and room[n] not in room[:n])

    return place(0, tuple(scen.devices["cpu"].nodes) or (scen.devices["cpu"].budget,))


def test_the_least_capacity_times_accuracy_per_core_goes_first():
    # Per core (0.8 / latency x accuracy): small 8 x 0.6 = 4.8, large 2 x 0.8 = 1.6. 8 + 16 of 20 cores: large goes 16 -> 8.
    wanted = Deployment({cpu("small", 8): 1, cpu("large", 16): 1})
    deployment, notes = project(wanted, scenario())
    assert deployment.replicas == {cpu("small", 8): 1, cpu("large", 8): 1}
    assert notes == ("1 x large @16c -> large @8c",)


def test_a_services_last_replica_goes_last():
    # hear on cpu is worth least per core (1.6 x 0.9 = 1.44) but one replica of it stays; small then gives way.
    wanted = Deployment({cpu("small", 8): 2, cpu("hear", 2): 3})
    deployment, _ = project(wanted, scenario(budget=8))
    assert deployment.replicas == {cpu("small", 2): 1, cpu("small", 4): 1, cpu("hear", 2): 1}


def test_a_lowered_replica_takes_its_part_of_the_routes_along():
    wanted = Deployment({cpu("large", 8): 2, cpu("tiny", 1): 2},
                        {"see": {(cpu("large", 8), "large"): 0.5, (cpu("tiny", 1), "tiny"): 0.5}})
    deployment, _ = project(wanted, scenario(budget=16))
    assert deployment.replicas == {cpu("large", 8): 1, cpu("large", 4): 1, cpu("tiny", 1): 2}
    expected = {(cpu("large", 8), "large"): 0.25, (cpu("large", 4), "large"): 0.25, (cpu("tiny", 1), "tiny"): 0.5}
    assert deployment.routes["see"] == expected


def test_a_replica_larger_than_any_node_is_lowered_even_within_the_budget():
    deployment, notes = project(Deployment({cpu("large", 16): 1}), scenario(budget=24, nodes=(12, 12)))
    assert deployment.replicas == {cpu("large", 8): 1}
    assert notes


def test_nodes_and_node_memory_count():
    three = Deployment({cpu("small", 8): 3})
    assert project(three, scenario(budget=24, nodes=(24,)))[0] == three
    assert project(three, scenario(budget=24, nodes=(12, 12)))[0].replicas == {cpu("small", 8): 2, cpu("small", 4): 1}
    heavy = Deployment({cpu("large", 2): 3})  # 4 GB each
    assert project(heavy, scenario(memory_bytes=9e9))[0].replicas == {cpu("large", 2): 2}


def test_what_the_scenario_does_not_know_is_dropped_with_a_note():
    unknown = ReplicaKind(("mystery",), Shape(cores=1))
    elsewhere = ReplicaKind(("small",), Shape(0, 1, 1, "tpu"))
    deployment, notes = project(Deployment({unknown: 1, elsewhere: 2, cpu("small", 2): 1}), scenario())
    assert deployment.replicas == {cpu("small", 2): 1}
    assert notes == ("1 x mystery @1c dropped", "2 x small @1x1 tpu dropped")


@settings(max_examples=300)
@given(routed(), st.integers(4, 30), st.sampled_from([(), (8, 8), (16, 4), (4,)]), st.integers(1, 6))
def test_projection_is_feasible_idempotent_and_changes_nothing_feasible(wanted, budget, nodes, gpus):
    scen = scenario(min(budget, sum(nodes) or budget), nodes, gpus)
    deployment, notes = project(wanted, scen)
    assert fits(deployment, scen)
    assert project(deployment, scen) == (deployment, ())
    assert bool(notes) == (deployment != wanted)
    if not nodes and fits(wanted, scen):
        assert deployment is wanted
    assert all(kind in deployment.replicas for shares in deployment.routes.values() for kind, _ in shares)


@settings(max_examples=150)
@given(routed(), st.integers(8, 30), st.integers(0, 20))
def test_a_smaller_budget_never_leaves_more(wanted, smaller, more):
    wanted = Deployment({k: n for k, n in wanted.replicas.items() if k.shape.units <= 8})
    few, many = (project(wanted, scenario(b))[0] for b in (smaller, smaller + more))
    assert few.units("cpu") <= many.units("cpu")
    for variants in {k.variants for k in KINDS}:
        held = [sum(k.shape.units * n for k, n in d.replicas.items() if k.variants == variants) for d in (few, many)]
        assert held[0] <= held[1]


def observed(in_force, t_s=60.0, age_s=1.0, rps=10.0, hear_rps=1.0):
    services = {"see": ServiceObservation(rps, 0), "hear": ServiceObservation(hear_rps, 0)}
    kinds = {k: KindObservation(n, 0, 0, 0, 0.5) for k, n in in_force.replicas.items()}
    return Observation(t_s, 30.0, age_s, in_force, {}, services, kinds, {}, {})


def want(*levels):
    return Decision(scenario().deployment(levels), "wanted")


@pytest.mark.parametrize("gap", [{"age_s": NAN}, {"age_s": 31.0}, {"rps": NAN}, {"hear_rps": NAN}])
def test_missing_or_stale_observations_hold_the_deployment_in_force(gap):
    scen = scenario()
    decision, notes, history = guard(want(3, 0, 2, 1, 0), observed(scen.initial_deployment, **gap), scen)
    assert decision.deployment == scen.initial_deployment
    assert len(notes) == 1 and notes[0].startswith("held: ")
    assert history == ()


def test_a_load_of_zero_is_not_missing():
    scen = scenario()
    decision, notes, _ = guard(want(1, 0, 0, 1, 0), observed(scen.initial_deployment, rps=0.0), scen)
    assert (decision.deployment, notes) == (want(1, 0, 0, 1, 0).deployment, ())


def test_age_limit_can_be_set():
    scen = scenario()
    old = observed(scen.initial_deployment, age_s=45.0)
    assert guard(want(3, 0, 0, 1, 0), old, scen, Limits(max_age_s=60))[0] == want(3, 0, 0, 1, 0)


def test_bounds():
    scen, limits = scenario(), Limits(min_levels=(1, 0, 0, 1, 0), max_levels=(3, 1, 2, 2, 4))
    decision, notes, _ = guard(want(0, 3, 5, 4, 0), observed(scen.initial_deployment), scen, limits)
    assert scen.levels(decision.deployment) == (1, 1, 2, 2, 0)
    assert len(notes) == 4


def test_change_per_window_is_counted_from_the_lowest_and_highest_level_in_it():
    scen, limits = scenario(), Limits(max_rise=2, max_fall=1, change_window_s=60)
    levels, history, seen = [(2, 0, 0, 1, 0)], (), []
    for step, wanted in enumerate([(2, 0, 6, 1, 0)] * 4 + [(2, 0, 0, 1, 0)] * 4):
        seen_now = observed(scen.deployment(levels[-1]), t_s=30.0 * step)
        decision, _, history = guard(want(*wanted), seen_now, scen, limits, history)
        levels.append(scen.levels(decision.deployment))
        seen.append(levels[-1][2])
    # By hand: 2 at t = 0, where it was 0; 4 at t = 60, when the 0 is out of the window (0, 60]. Then it is asked to fall:
    # 3 at t = 120 (highest in the window: 4), 2 at t = 180, when the 4 is out of it.
    assert seen == [2, 2, 4, 4, 3, 3, 2, 2]


def test_cooldown_after_a_change():
    scen, limits = scenario(), Limits(fall_cooldown_s=90)
    start = scen.initial_deployment
    up, _, history = guard(want(3, 0, 0, 1, 0), observed(start, t_s=0), scen, limits)
    assert [c.t_s for c in history] == [0]
    held, notes, history = guard(want(1, 0, 0, 1, 0), observed(up.deployment, t_s=60), scen, limits, history)
    assert held.deployment == up.deployment and notes == ("small: level 1 -> 3, in force 3",)
    higher, _, _ = guard(want(3, 0, 2, 1, 0), observed(up.deployment, t_s=60), scen, limits, history)
    assert scen.levels(higher.deployment) == (3, 0, 2, 1, 0)  # a rise is free
    down, _, _ = guard(want(1, 0, 0, 1, 0), observed(up.deployment, t_s=90), scen, limits, history)
    assert scen.levels(down.deployment) == (1, 0, 0, 1, 0)


def test_a_swap_whose_rise_is_cut_keeps_what_was_there():
    scen = scenario()
    swap = want(0, 3, 0, 1, 0)
    routes = {"see": {(cpu("large", 8), "large"): 1.0}}
    swap = replace(swap, deployment=replace(swap.deployment, routes=routes))
    decision, _, _ = guard(swap, observed(scen.initial_deployment), scen, Limits(max_rise=1))
    assert scen.levels(decision.deployment) == (2, 1, 0, 1, 0)
    assert decision.deployment.routes == {}  # so that the requests go to all of them


def suffering(in_force, t_s, violation_ratio):
    row = ApplicationObservation(10.0, violation_ratio, violation_ratio, 0, 0, 0, 0.5, 0.1, 0.2, 0.3)
    return replace(observed(in_force, t_s=t_s), applications={"see": row})


# Capacity of `see` in force: one small of 4 cores (1 / 0.1 s x 4 = 40 req/s). Of `hear`: one on 2 cores (4 req/s).
@pytest.mark.parametrize("levels, refused", [
    ((1, 0, 0, 1, 0), "panic: see would fall from 40 to 20 req/s"),
    ((0, 3, 0, 1, 0), "panic: see would fall from 40 to 20 req/s"),  # large, 8 cores: 8 / 0.4 s
    ((0, 0, 2, 1, 0), ""),  # two of tiny: 2 / 0.05 s, as much
    ((3, 0, 0, 1, 0), ""),
    ((2, 0, 0, 0, 1), ""),  # another service may fall
])
def test_in_a_panic_no_service_loses_capacity(levels, refused):
    scen, limits = scenario(), Limits(panic_violation_ratio=0.1, panic_window_s=60)
    start = scen.initial_deployment
    decision, notes, history = guard(want(*levels), suffering(start, 0, 0.1), scen, limits)
    assert decision.deployment == (start if refused else want(*levels).deployment)
    assert notes == ((refused,) if refused else ())
    assert history[0] == Panic(0, "see")


@pytest.mark.parametrize("t_s, violation_ratio, ends", [(30, 0.0, False), (59, NAN, False), (60, 0.0, True), (60, 0.1, False)])
def test_a_panic_ends_when_it_has_not_been_seen_for_its_window(t_s, violation_ratio, ends):
    scen, limits = scenario(), Limits(panic_violation_ratio=0.1, panic_window_s=60)
    start = scen.initial_deployment
    _, _, history = guard(Decision(start, ""), suffering(start, 0, 0.4), scen, limits)
    lower = want(1, 0, 0, 1, 0)
    decision, _, _ = guard(lower, suffering(start, t_s, violation_ratio), scen, limits, history)
    assert decision.deployment == (lower.deployment if ends else start)


def test_without_a_threshold_there_is_no_panic():
    scen = scenario()
    lower = want(1, 0, 0, 1, 0)
    assert guard(lower, suffering(scen.initial_deployment, 0, 1.0), scen)[0] == lower


def test_panics_do_not_count_as_changes():
    scen, limits = scenario(), Limits(panic_violation_ratio=0.1, fall_cooldown_s=90, change_window_s=90, max_rise=1)
    start = scen.initial_deployment
    _, _, history = guard(Decision(start, ""), suffering(start, 0, 0.4), scen, limits)
    higher = want(3, 0, 0, 1, 0)
    assert guard(higher, suffering(start, 30, 0.0), scen, limits, history)[0] == higher
    other = want(2, 0, 0, 0, 1)  # hear moves from cpu to gpu: a fall, and no cool-down holds it
    assert guard(other, suffering(start, 30, 0.0), scen, limits, history)[0] == other


def test_replicas_on_their_way_are_not_asked_for_again():
    scen, limits = scenario(), Limits(max_rise=2)
    wanted = scen.deployment((2, 0, 4, 1, 0))
    seen = observed(wanted)  # four of tiny are in force; none of them is ready yet
    pending = {k: KindObservation(0.0, float(n), 0.0, 0.0, NAN, (5.0,) * n) for k, n in wanted.replicas.items()}
    decision, notes, _ = guard(want(2, 0, 6, 1, 0), replace(seen, kinds=pending), scen, limits)
    assert (scen.levels(decision.deployment), notes) == ((2, 0, 6, 1, 0), ())  # 4 -> 6, not 0 -> 2 or 4 + 4 -> 6
    assert guard(Decision(wanted, ""), replace(seen, kinds=pending), scen, limits)[0].deployment == wanted


@settings(max_examples=300)
@given(routed(), deployments.map(Deployment), st.integers(4, 40), st.sampled_from([0.0, 10.0, NAN]),
       st.builds(Limits, max_rise=st.none() | st.integers(0, 3), max_fall=st.none() | st.integers(0, 3),
                 change_window_s=st.sampled_from([0.0, 90.0]), rise_cooldown_s=st.sampled_from([0.0, 90.0]),
                 fall_cooldown_s=st.sampled_from([0.0, 90.0]), panic_violation_ratio=st.sampled_from([None, 0.1])),
       st.sampled_from([0.0, 0.2]))
def test_no_guarded_decision_is_over_budget(wanted, in_force, budget, rps, limits, violation_ratio):
    scen = scenario(budget)
    history = ()
    for t_s in (0.0, 30.0, 60.0):
        rows = suffering(in_force, t_s, violation_ratio).applications
        seen = replace(observed(in_force, t_s=t_s, rps=rps), applications=rows)
        decision, _, history = guard(Decision(wanted, ""), seen, scen, limits, history)
        assert fits(decision.deployment, scen)
        if math.isnan(rps) and fits(in_force, scen):
            assert decision.deployment == in_force
        in_force = decision.deployment
    assert guard(Decision(in_force, ""), observed(in_force, t_s=90.0), scen, limits, history)[0].deployment == in_force


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 6), st.integers(0, 4), st.integers(0, 4)),
                min_size=1, max_size=8), st.integers(1, 3), st.integers(1, 3), st.sampled_from([30.0, 60.0, 90.0]))
def test_levels_stay_within_the_change_limit_over_every_window(wishes, rise, fall, window_s):
    scen = scenario(budget=1000)
    limits = Limits(max_rise=rise, max_fall=fall, change_window_s=window_s)
    track, history = [(-1e9, scen.levels(scen.initial_deployment))], ()
    for step, wish in enumerate(wishes):
        t_s = 30.0 * step
        decision, _, history = guard(want(*wish), observed(scen.deployment(track[-1][1]), t_s=t_s), scen, limits, history)
        track.append((t_s, scen.levels(decision.deployment)))
        recent = [levels for (_, levels), (until_s, _) in pairwise(track) if until_s > t_s - window_s]
        for i, level in enumerate(track[-1][1]):
            assert level - min(row[i] for row in recent) <= rise
            assert max(row[i] for row in recent) - level <= fall
