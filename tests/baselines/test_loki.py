"""Loki: hardware scaling and accuracy scaling against all plans, and which of the two is taken when."""

import itertools

import numpy as np
import pytest
from observed import NAN, counted, missing, observe
from scipy.optimize import linprog

from baselines.accuracy_scaling import TIE
from baselines.loki import FastLoki, Loki
from baselines.loki_milp import Problem, scale_accuracy
from envs import scenario_file

LIMIT_S = 10.0


def drawn(seed):
    """Two stages of two variants, each in two kinds, on one device type."""
    rng = np.random.default_rng(seed)
    units = np.tile([[1], [2]], (4, 1))
    return Problem(
        stage=np.repeat([0, 1], 4), variant=np.repeat(np.arange(4), 2), accuracy=np.repeat([0.9, 0.7, 0.8, 0.6], 2),
        throughput_rps=rng.uniform(4, 20, 8).round(1), latency_s=rng.uniform(0.1, 0.6, 8).round(2), cost=units[:, 0] / 6,
        units=units, candidate=np.arange(8), most=np.full(8, 2), budget=np.array([6]), limit_s=0.8)


def best_by_hand(p, load_rps):
    """All choices of a kind (or none) for each variant and of its count; shares of the paths by a linear program."""
    paths, best = p.paths(), None
    accuracy = np.array([p.accuracy[p.variant == v][0] for v in range(4)])
    through = np.array([[v in path for path in paths] for v in range(4)], float)
    for kinds in itertools.product((None, 0, 1), repeat=4):
        options = [2 * v + k for v, k in enumerate(kinds) if k is not None]
        slowest = [max((p.latency_s[o] for o in options if p.stage[o] == s), default=0.0) for s in (0, 1)]
        if len({p.stage[o] for o in options}) < 2 or sum(slowest) > p.limit_s:
            continue
        for counts in itertools.product((1, 2), repeat=len(options)):
            n = np.zeros(8)
            n[options] = counts
            if n @ p.units[:, 0] > p.budget[0]:
                continue
            carried = np.bincount(p.variant, n * p.throughput_rps, 4) / load_rps
            found = linprog(-accuracy[paths].prod(1), through, carried, np.ones((1, 4)), [1.0])
            if found.status == 0:
                value = -found.fun - TIE * float(n @ p.cost)
                best = value if best is None else max(best, value)
    return best


@pytest.mark.parametrize("seed", range(6))
def test_no_mix_is_more_accurate(seed):
    problem, load_rps = drawn(seed), 14.0
    plan, best = scale_accuracy(problem, load_rps, LIMIT_S), best_by_hand(problem, load_rps)
    assert (plan is None) == (best is None)
    if plan is not None:
        accuracy = np.array([problem.accuracy[problem.variant == v][0] for v in range(4)])
        assert plan.proven and sum(plan.shares) == pytest.approx(2.0)
        assert _value(problem, plan, accuracy) == pytest.approx(best, abs=1e-6)


def _value(p, plan, accuracy):
    """The objective of a plan's shares: paths that pair the accurate with the accurate are the best with these shares."""
    first, second = plan.shares[0], plan.shares[2]
    both, neither = min(first, second), min(1 - first, 1 - second)
    pairs = ((both, 0, 2), (neither, 1, 3), (first - both, 0, 3), (second - both, 1, 2))
    return sum(part * accuracy[a] * accuracy[b] for part, a, b in pairs) - TIE * float(plan.replicas @ p.cost)


def decided(policy, scenario, rps):
    policy.reset(scenario)
    policy.decide(missing(scenario))
    return policy.decide(observe(scenario, scenario.initial_deployment, rps))


def exact(**settings):
    return {"forecast": "last", "margin": 1.0, "capacity_ratio": 1.0, **settings}


@pytest.fixture(scope="module")
def video():
    return scenario_file.load("video")


@pytest.mark.parametrize("rps", [1.0, 3.0, 7.0])
def test_hardware_scaling_takes_the_fewest_units_for_the_most_accurate(video, rps):
    """Every pair of batches of YOLOv5x (8 cores) and ResNet152 (2 cores)."""
    fewest = []
    for crop, classify in itertools.product((k for k in video.kinds if k.variants == ("yolov5x",)),
                                            (k for k in video.kinds if k.variants == ("resnet152",))):
        rows = [(k, video.profile.latency_s(k.variants[0], k.shape, k.batch)[0]) for k in (crop, classify)]
        if sum(latency_s for _, latency_s in rows) <= 6.89 / 2:
            fewest.append(sum(k.shape.units * int(np.ceil(rps * latency_s / k.batch)) for k, latency_s in rows))
    decision = decided(Loki(**exact()), video, rps)
    assert {k.variants[0] for k in decision.deployment.replicas} == {"yolov5x", "resnet152"}
    assert decision.deployment.units("core") == min(fewest) and decision.details["accuracy_scaled"] == 0


def test_accuracy_is_scaled_only_when_the_hardware_is_spent(video):
    """Three replicas of YOLOv5x (4.12 req/s) and their ResNet152s fit 32 cores; beyond 12.4 req/s accuracy falls."""
    products, scaled = [], []
    for rps in (9.0, 13.0, 20.0, 60.0):
        decision = decided(Loki(**exact()), video, rps)
        scaled.append(decision.details["accuracy_scaled"])
        shares = decision.deployment.routes
        products.append(np.prod([sum(q * video.variants[v].accuracy for (_, v), q in shares[s].items()) for s in shares]))
        carried = {s: sum(n * video.capacity_rps(k, k.variants[0]) for k, n in decision.deployment.replicas.items()
                          if k.variants[0] in video.services[s].variants) for s in shares}
        assert min(carried.values()) >= rps * (1 - 1e-6) and decision.deployment.units("core") <= 32
    assert scaled == [0, 1, 1, 1] and products == sorted(products, reverse=True) and products[0] > products[-1]


def test_beyond_all_capacity_the_mix_that_carries_most():
    """`counted` carries 10 x 40 + 4 x 8 req/s."""
    decision = decided(Loki(**exact()), counted(), 1000.0)
    assert decision.details["overloads"] == 1 and {k.variants[0]: n for k, n in decision.deployment.replicas.items()} == {
        "light": 10, "heavy": 4}
    assert sum(q for (_, v), q in decision.deployment.routes["see"].items() if v == "heavy") == pytest.approx(32 / 432)


def test_a_missing_load_is_not_zero_and_routes_follow_what_is_ready(video):
    scenario = counted()
    policy = FastLoki()
    first = decided(policy, scenario, 100.0)
    assert policy.decide(observe(scenario, first.deployment, NAN)).deployment.replicas == first.deployment.replicas
    assert "routes over what is ready" in policy.decide(observe(scenario, first.deployment, 20.0)).reason


def test_other_scenarios_are_refused(video):
    with pytest.raises(ValueError, match="plans one application"):
        Loki().reset(counted(services=("see", "hear")))
    hurried = video.with_(applications={"video": video.applications["video"].model_copy(update={"slo_s": 0.1})})
    with pytest.raises(ValueError, match="half of the SLO"):
        Loki().reset(hurried)
