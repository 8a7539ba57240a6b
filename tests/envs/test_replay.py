"""The replay kernel against the event kernel and the plain Python reference, to the last bit, on what all can play."""

import numpy as np
import pandas as pd
import pytest
from cases import GRID_S, Case
from every_feature import Whole
from reference import Reference
from test_kernel_agrees import Played
from test_truth_queues import LATE, service_times

from envs.cluster import SimulatedCluster
from envs.contract import Shape
from envs.model import kernel_flags
from envs.profiles import LATENCY_COLUMNS, Profile
from envs.randomness import SERVICE, gamma_table, key
from envs.replay import replay_groups, replay_queue
from envs.scenario import Scenario
from envs.scenario_file import load
from traces.samplers import POISSON, make_load

SEEDS = range(80)
END_S = 40.0


class Dice:
    """Random times, on a grid in every other case, so that many events are at the same time."""

    def __init__(self, seed):
        self.rng, self.grid = np.random.default_rng(seed), bool(seed % 2)

    def time(self, low, high):
        x = self.rng.uniform(low, high)
        return max(GRID_S, round(x / GRID_S) * GRID_S) if self.grid else x

    def times(self, count):
        x = np.sort(self.rng.uniform(0, END_S, count))
        return np.round(x / GRID_S) * GRID_S if self.grid else x


def queue_case(seed):
    """Late binding, one kind: batches, waiting, requests given up, noise."""
    dice = Dice(seed)
    rng = dice.rng
    batch, replicas, cores = int(rng.integers(1, 6)), int(rng.integers(1, 4)), int(rng.integers(1, 4))
    drop_after_s = dice.time(0.3, 3) if rng.random() < 0.6 else None
    max_wait_s = rng.choice([0.0, dice.time(0.1, 1.5), drop_after_s or 0.5])
    latency_s = [0.0, *np.cumsum([dice.time(0.2, 1.0), *(dice.time(0.1, 0.4) for _ in range(batch - 1))])]
    count = int(rng.uniform(0.3, 1.5) * replicas * cores * batch / latency_s[-1] * END_S)
    scenario = Scenario.model_validate({
        "name": f"queue-{seed}", "source": "random", "interval_s": 7.0, "binding": "late",
        "service_cv": 0.0 if dice.grid else float(rng.choice([0.0, 1.0])), "admission": {"drop_after_s": drop_after_s},
        "devices": {"cpu": {"budget": 16}}, "variants": {"v": {"accuracy": 1.0, "load_s": 1.0}},
        "services": {"s": {"variants": ["v"], "slo_s": 1.0}}, "workload": {},
        "candidates": [{"variants": ["v"], "cores": [cores], "max_count": replicas, "batch": batch,
                        "max_wait_s": float(max_wait_s)}],
        "initial": [{"candidate": 0, "level": replicas}],
        "profile": Profile(pd.DataFrame([("v", "cpu", np.nan, 1, 1, b, 0, latency_s[b]) for b in range(1, batch + 1)],
                                        columns=LATENCY_COLUMNS))})
    return Case(scenario, {"s": dice.times(count).tolist()}, [], END_S + 1)


def groups_case(seed):
    """Early binding, many services on groups of several stages, dispatch to the smallest last-stage clock."""
    dice = Dice(seed)
    rng = dice.rng
    models, shapes = int(rng.integers(1, 6)), [Shape(0, stages, 1, "gpu") for stages in rng.permutation(4)[:2] + 1]
    names = [f"m{i}" for i in range(models)]
    table = [(name, "gpu", 0, shape.inter_op, 1, 1, stage, dice.time(0.1, 0.6))
             for name in names for shape in shapes for stage in range(shape.inter_op)]
    hosted = {}
    for _ in range(int(rng.integers(1, 4))):
        held = tuple(sorted(rng.permutation(names)[:rng.integers(1, models + 1)].tolist()))
        hosted[shapes[int(rng.integers(2))], held] = int(rng.integers(1, 3))
    scenario = Scenario.model_validate({
        "name": f"groups-{seed}", "source": "random", "interval_s": 7.0, "binding": "early", "dispatch": "last-stage-clock",
        "admission": {"deadline": bool(rng.random() < 0.7)}, "stage_overhead_ratio": float(rng.choice([0.0, 0.25, 0.009])),
        "overhead_s": float(rng.choice([0.0, dice.time(0.01, 0.3)])), "devices": {"gpu": {"budget": 64}}, "workload": {},
        "variants": {name: {"accuracy": 1.0, "load_s": 1.0} for name in names},
        "services": {name: {"variants": [name], "slo_s": dice.time(0.5, 4)} for name in names},
        "candidates": [{"variants": held, "device": "gpu", "inter_op": shape.inter_op, "max_count": count}
                       for (shape, held), count in hosted.items()],
        "initial": [{"candidate": i, "level": count} for i, count in enumerate(hosted.values())],
        "profile": Profile(pd.DataFrame(table, columns=LATENCY_COLUMNS))})
    return Case(scenario, {name: dice.times(int(rng.integers(5, 80))).tolist() for name in names}, [], END_S + 1)


def replayed_queue(case, seed):
    """Latency of each request, nan where it was given up."""
    scenario, (kind,) = case.scenario, case.scenario.kinds
    arrival_s = np.array(case.arrivals["s"])
    table = gamma_table(scenario.service_cv)
    drop_after_s = scenario.admission.drop_after_s
    latency_s = np.array([0.0, *(scenario.profile.latency_s("v", kind.shape, b)[0] for b in range(1, kind.batch + 1))])
    factors = service_times(table, np.uint64(key(seed, SERVICE, 0)), len(arrival_s)) if scenario.service_cv else np.ones(1)
    out_s = np.empty(len(arrival_s))
    answers = replay_queue(arrival_s, latency_s, factors, kind.shape.servers * scenario.initial_deployment.replicas[kind],
                           kind.max_wait_s, np.inf if drop_after_s is None else drop_after_s, out_s)
    assert answers == np.count_nonzero(~np.isnan(out_s))
    return {("s", i): latency for i, latency in enumerate(out_s.tolist())}


def replayed_groups(case, _):
    """Latency of each request, nan where it was refused."""
    scenario = case.scenario
    groups = [kind for kind in scenario.kinds for _ in range(scenario.initial_deployment.replicas[kind])]
    n_stages = np.array([kind.shape.inter_op for kind in groups])
    first_host, hosts, latency_s = [0], [], []
    for name in scenario.services:
        for g, kind in enumerate(groups):
            if name in kind.variants:
                hosts.append(g)
                stages_s = np.array(scenario.profile.latency_s(name, kind.shape, 1))
                stages_s *= 1 + scenario.stage_overhead_ratio * kind.shape.inter_op
                latency_s.append(np.pad(stages_s, (0, n_stages.max() - len(stages_s))))
        first_host.append(len(hosts))
    requests = sorted((t, m, name, i) for m, name in enumerate(scenario.services) for i, t in enumerate(case.arrivals[name]))
    slo_s = np.array([s.slo_s if scenario.admission.deadline else np.inf for s in scenario.services.values()])
    out_s = np.empty(len(requests))
    answers = replay_groups(
        np.array([r[0] for r in requests]), np.array([r[1] for r in requests]), np.array(first_host), np.array(hosts),
        np.array(latency_s), n_stages, slo_s, scenario.overhead_s, np.zeros((len(groups), n_stages.max())), out_s)
    assert answers == np.count_nonzero(~np.isnan(out_s))
    return {(name, i): latency for (_, _, name, i), latency in zip(requests, out_s.tolist())}


def fates(case, latency_s, unanswered):
    """The records that these latencies make: (application, number) -> (fate, latency)."""
    slo_s = {name: service.slo_s for name, service in case.scenario.services.items()}
    return {(name, i): (unanswered, None) if np.isnan(x) else ("good" if x <= slo_s[name] else "late", x)
            for (name, i), x in latency_s.items()}


def settled(case, records):
    return {(name, i): (fate, t - case.arrivals[name][i] if fate in ("good", "late") else None)
            for name, i, fate, t, _ in records}


def played(cluster, case):
    cluster.run(case.t_end)
    cluster.finish()
    return settled(case, cluster.records().itertuples(index=False, name=None))


def by_reference(case, seed):
    reference = Reference(case.scenario, case.arrivals, seed)
    reference.run(case.t_end)
    reference.finish()
    return settled(case, reference.records)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("make, replay, unanswered", [
    (queue_case, replayed_queue, "dropped"), (groups_case, replayed_groups, "rejected")], ids=["queue", "groups"])
def test_replay_is_what_the_event_kernel_plays(make, replay, unanswered, seed):
    case = make(seed)
    expected = fates(case, replay(case, seed), unanswered)
    assert played(Played(case, seed), case) == expected
    assert by_reference(case, seed) == expected


def test_the_cases_have_what_they_are_for():
    """Every fate, full and waiting batches, noise: or else the comparison would say little."""
    for make, replay in ((queue_case, replayed_queue), (groups_case, replayed_groups)):
        unanswered = [np.isnan(list(replay(make(seed), seed).values())).mean() for seed in SEEDS]
        assert 0.02 < np.mean(unanswered) < 0.6
    kinds = [queue_case(seed).scenario.kinds[0] for seed in SEEDS]
    assert {kind.batch for kind in kinds} == {1, 2, 3, 4, 5} and {kind.max_wait_s > 0 for kind in kinds} == {True, False}
    assert {queue_case(seed).scenario.service_cv for seed in SEEDS} == {0.0, 1.0}


def test_a_clock_goes_on_where_the_last_call_stopped():
    arrival_s = Dice(0).times(100)

    def play(parts):
        clock, latencies_s = np.zeros((1, 2)), []
        for part in parts:
            out_s = np.empty(len(part))
            replay_groups(part, np.zeros(len(part), np.int64), np.array([0, 1]), np.array([0]), np.array([[0.2, 0.5]]),
                          np.array([2]), np.array([2.0]), 0.0, clock, out_s)
            latencies_s.append(out_s)
        return np.concatenate(latencies_s)

    whole = play([arrival_s])
    assert 0 < np.isnan(whole).sum() < 50
    assert np.array_equal(whole, play(np.array_split(arrival_s, 3)), equal_nan=True)


# A kernel compiled for few features plays them as the one with all of them.


class Lean(Played):
    """With the features that the scenario asks for."""

    def _features(self):
        return SimulatedCluster._features(self)


def test_late_batching_alone_is_played_as_with_every_feature():
    asked = [seed for seed in range(200)
             if kernel_flags((s := queue_case(seed).scenario), s.kinds, True) == LATE]
    assert len(asked) > 10
    for seed in asked:
        case = queue_case(seed)
        lean, whole = Lean(case, seed), Played(case, seed)
        assert lean.flags == LATE != whole.flags
        assert played(lean, case) == played(whole, case)
        assert np.array_equal(lean.totals().histogram, whole.totals().histogram)
        assert np.array_equal(lean.totals().kind_ns, whole.totals().kind_ns)


def test_the_resnets_alone_are_played_as_with_every_feature():
    """The flags of the built-in scenario, through an hour of changing deployments."""
    scenario = load("resnet-variants")
    loads = {"classify": make_load(POISSON, np.array([40.0, 160.0, 320.0, 90.0]), bin_s=900.0)}
    lean, whole = (make(scenario, loads, seed=3, record=record) for make, record in ((SimulatedCluster, False), (Whole, True)))
    rng = np.random.default_rng(3)
    for _ in range(120):
        levels = np.zeros(len(scenario.candidates), np.int64)
        levels[rng.permutation(len(levels))[:2]] = rng.integers(1, 9, 2)
        observations = []
        for cluster in (lean, whole):
            cluster.apply(scenario.deployment(levels))
            observations.append(cluster.advance())
        assert repr(observations[0]) == repr(observations[1])
    lean.finish()
    whole.finish()
    assert all(np.array_equal(a, b) for a, b in zip(lean.totals(), whole.totals()))
    counts = whole.records().fate.value_counts()
    assert {"good", "late", "rejected"} <= set(counts.index) and counts.sum() > 400_000
