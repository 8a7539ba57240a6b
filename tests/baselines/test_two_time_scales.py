"""Routes that follow what is ready."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from observed import NAN, card, counted, observe, pod
from scipy.optimize import linprog

from baselines.hpa import HPA
from baselines.static import Static
from baselines.two_time_scales import TwoTimeScales, best_quotas
from envs.contract import Deployment, ReplicaKind, ServiceObservation, Shape

HEAVY, LIGHT = (card("heavy"), "heavy"), (pod("light", 1), "light")


def shares(scenario, wanted, rps, **seen):
    policy = TwoTimeScales(Static(wanted), fast_margin=1.0)
    policy.reset(scenario)
    return policy.decide(observe(scenario, wanted, rps, **seen)).deployment.routes.get("see", {})


BOTH = Deployment({card("heavy"): 2, pod("light", 1): 3})


@pytest.mark.parametrize(
    ("rps", "ready", "expected"),
    [
        # Ready: 2 cards x 8 req/s, 3 cores x 40 req/s. The more accurate first.
        (10.0, None, {HEAVY: 1.0}),
        (0.0, None, {HEAVY: 1.0}),
        (40.0, None, {HEAVY: 0.4, LIGHT: 0.6}),
        (40.0, {card("heavy"): 1, pod("light", 1): 3}, {HEAVY: 0.2, LIGHT: 0.8}),
        # More than all that is ready: by capacity.
        (200.0, None, {HEAVY: 16 / 136, LIGHT: 120 / 136}),
        # Only one kind is ready; nothing is; the load is missing: the planner's own (none).
        (40.0, {pod("light", 1): 3}, {LIGHT: 1.0}),
        (40.0, {}, {}),
        (NAN, None, {}),
    ],
)
def test_shares_over_what_is_ready(rps, ready, expected):
    assert shares(counted(load_s=200), BOTH, rps, ready=ready) == pytest.approx(expected)


def test_the_fast_margin_counts_on_the_load():
    scenario = counted()
    policy = TwoTimeScales(Static(BOTH), fast_margin=2.0)
    policy.reset(scenario)
    decision = policy.decide(observe(scenario, BOTH, 16.0))
    assert decision.deployment.routes["see"] == pytest.approx({HEAVY: 0.5, LIGHT: 0.5})
    assert decision.deployment.replicas == BOTH.replicas


def test_what_waits_is_worked_off_within_an_interval():
    scenario = counted()
    policy = TwoTimeScales(Static(BOTH), fast_margin=1.0)
    policy.reset(scenario)
    seen = observe(scenario, BOTH, 16.0)
    waiting = replace(seen, services={"see": ServiceObservation(16.0, 480.0)})  # 480 / 30 s = 16 req/s more
    assert policy.decide(waiting).deployment.routes["see"] == pytest.approx({HEAVY: 0.5, LIGHT: 0.5})
    unknown = replace(seen, services={"see": ServiceObservation(16.0, NAN)})
    assert policy.decide(unknown).deployment.routes == {}


@pytest.mark.parametrize(
    ("load_s", "pending", "fast"),
    [
        (20.0, {card("heavy"): (15.0,)}, False),  # 40 s to load, 25 s left: ready before the next decision in 30 s
        (20.0, {card("heavy"): (5.0,)}, True),  # 35 s left
        (20.0, {}, True),  # 40 s left
        (10.0, {}, False),  # 20 s left
    ],
)
def test_while_a_wanted_kind_is_about_to_come_the_planners_routes_stay(load_s, pending, fast):
    scenario = counted(load_s=load_s)
    found = shares(scenario, BOTH, 40.0, ready={pod("light", 1): 3}, pending=pending)
    assert found == ({LIGHT: 1.0} if fast else {})


def test_old_replicas_still_ready_are_used():
    wanted = Deployment({card("heavy"): 4})
    assert shares(counted(load_s=200), wanted, 30.0, ready={pod("light", 1): 1}) == {LIGHT: 1.0}


def test_replicas_that_host_several_variants_change_between_them():
    # One core hosting both: 10 req/s of slow at 0.9, or 40 req/s of fast at 0.6. 25 req/s: half the time each.
    both = ReplicaKind(("slow", "fast"), Shape(cores=1))
    hosts = {both: [("slow", 10.0, 0.9), ("fast", 40.0, 0.6)]}
    assert best_quotas(hosts, 25.0) == pytest.approx({(both, "slow"): 5.0, (both, "fast"): 20.0})
    assert best_quotas(hosts, 8.0) == {(both, "slow"): 8.0}
    assert best_quotas(hosts, 100.0) == {(both, "slow"): 0.0, (both, "fast"): 40.0}


@settings(max_examples=200)
@given(st.lists(st.lists(st.tuples(st.integers(1, 60), st.sampled_from([0.3, 0.5, 0.6, 0.8, 0.9])), min_size=1, max_size=4),
                min_size=1, max_size=4), st.floats(0.05, 0.999))
@example([[(29, 0.5), (44, 0.3)]], 1 / 3)  # a first piece that rounding leaves a hair short
def test_the_closed_form_is_the_linear_program(kinds, fullness):
    hosts = {pod(f"k{i}", 1): [(f"v{j}", float(c), a) for j, (c, a) in enumerate(row)] for i, row in enumerate(kinds)}
    load = fullness * sum(max(c for c, _ in row) for row in kinds)
    quotas = best_quotas(hosts, load)
    flat = [(i, c, a) for i, row in enumerate(kinds) for c, a in row]
    used = [[1 / c if i == k else 0.0 for i, c, _ in flat] for k in range(len(kinds))]
    best = linprog([-a for _, _, a in flat], A_ub=used, b_ub=np.ones(len(kinds)), A_eq=[[1.0] * len(flat)], b_eq=[load])
    accuracy = {(kind, v): a for kind, row in hosts.items() for v, _, a in row}
    assert sum(quotas.values()) == pytest.approx(load)
    assert sum(q * accuracy[route] for route, q in quotas.items()) == pytest.approx(-best.fun, rel=1e-6)
    for kind, row in hosts.items():
        assert sum(quotas.get((kind, v), 0.0) / c for v, c, _ in row) <= 1 + 1e-9


def test_infadapter_is_the_default_and_takes_settings(resnet):
    policy = TwoTimeScales(forecast="last", margin=1.0, hold=2)
    policy.reset(resnet)
    running = Deployment({pod("resnet50", 10): 1, pod("resnet18", 4): 1})
    first = policy.decide(observe(resnet, running, 100.0)).deployment
    assert first.replicas != running.replicas
    # While that plan is held and all of it is ready, the shares follow the load.
    calm = policy.decide(observe(resnet, first, 20.0, t_s=60.0))
    assert calm.deployment.replicas == first.replicas and calm.reason.startswith("hold 1 of 2")
    assert calm.deployment.routes["classify"]


def test_a_kind_that_two_services_share_is_divided_by_their_loads():
    scenario = counted(services=("see", "hear"))
    shared = scenario.with_(services={**scenario.services, "hear": scenario.services["hear"].model_copy(
        update={"variants": ("light", "hum")})})
    wanted = Deployment({pod("light", 1): 2, card("heavy"): 1, pod("hum", 1): 1})
    policy = TwoTimeScales(Static(wanted), fast_margin=1.0)
    policy.reset(shared)
    routes = policy.decide(observe(shared, wanted, {"see": 30.0, "hear": 10.0})).deployment.routes
    # light carries 80 req/s: 60 for see, 20 for hear. see: heavy 8, light 22. hear: hum (0.8) first, all 10 of its 16.
    assert routes["see"] == pytest.approx({HEAVY: 8 / 30, LIGHT: 22 / 30})
    assert routes["hear"] == pytest.approx({(pod("hum", 1), "hum"): 1.0})


def test_settings_go_to_one_place(resnet):
    with pytest.raises(ValueError, match="settings hold"):
        TwoTimeScales(HPA(), hold=3)
    with pytest.raises(ValueError, match="fast_margin"):
        TwoTimeScales(fast_margin=0)
