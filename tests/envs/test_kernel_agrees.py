"""The compiled kernel and the plain Python reference agree to the last bit, whatever features are mixed."""

import os
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cases import Case, cases, extra_kinds, play, random_case
from every_feature import Whole
from hypothesis import HealthCheck, given, settings, strategies
from reference import FATES, Cause, Reference, Variates

from envs.contract import Deployment, ReplicaKind, Shape
from envs.profiles import LATENCY_COLUMNS, Profile
from envs.scenario import Scenario
from traces.samplers import RECORDED, make_load


class Played(Whole):
    """The simulated cluster with the reference's interface: run to any time, then finish."""

    def __init__(self, case: Case, seed: int):
        loads = {name: make_load(RECORDED, recorded_s=np.array(times)) for name, times in case.arrivals.items() if len(times)}
        super().__init__(case.scenario, loads, seed=seed, record=True, kinds=extra_kinds(case))

    def run(self, t_end):
        counts = self._arrivals(t_end)
        self._kernel.run(self.model, self.state, self._times, counts, np.zeros_like(counts), t_end)
        self._keep_records()
        self.t_s = t_end
        self._truth = self._sample(t_end)

    def gauges(self):
        sample = self._sample(self.t_s)
        kinds = {kind: {"ready": int(sample.ready[k]), "pending": int(sample.pending[k]),
                        "draining": int(sample.draining[k]), "queue": int(sample.kind_waiting[k])}
                 for k, kind in enumerate(self.kinds)}
        services = {z: {"queue": int(n)} for z, n in zip(self.scenario.services, sample.service_waiting)}
        return {"kinds": kinds, "services": services}

    def counters(self):
        s = self._truth
        columns = ("offered", "good", "late", "rejected", "dropped", "failed", "accuracy_ppb")
        return {
            "applications": {name: {**dict(zip(columns, s.app_count[a].tolist())), "histogram": s.histogram[a].tolist()}
                             for a, name in enumerate(self.scenario.applications)},
            "services": {name: {"offered": int(n)} for name, n in zip(self.scenario.services, s.service_offered)},
            "kinds": {kind: dict(zip(("held_ns", "ready_server_ns", "busy_ns"), s.kind_ns[k].tolist()))
                      for k, kind in enumerate(self.kinds)},
        }


def had_any(counts: dict) -> dict:
    """Without the rows of kinds that have nothing: one program may know a kind before the other."""
    return {**counts, "kinds": {kind: row for kind, row in counts["kinds"].items() if any(row.values())}}


def compare_on_the_way(theirs: Reference, ours: Any, case: Case) -> None:
    """Every counter and every gauge at each stop must be equal, not nearly equal, and every counter at the end."""
    stops = sorted({t for t, _ in case.deployments} | set(np.arange(3.0, case.t_end, 3.0)) | {case.t_end})
    for t in stops:
        for cluster in (theirs, ours):
            cluster.run(t)
        assert had_any(ours.gauges()) == had_any(theirs.gauges()), f"gauges at {t}"
        assert had_any(ours.counters()) == had_any(theirs.counters()), f"counters at {t}"
        for at, deployment in case.deployments:
            if at == t:
                theirs.apply(deployment)
                ours.apply(deployment)
    theirs.finish()
    ours.finish()
    theirs_counters, ours_counters = theirs.counters(), ours.counters()
    assert ours_counters["applications"] == theirs_counters["applications"]
    assert ours_counters["services"] == theirs_counters["services"]


def compare(case: Case, seed: int) -> None:
    """Every fate too."""
    theirs = Reference(case.scenario, case.arrivals, seed, extra_kinds(case))
    ours = Played(case, seed)
    compare_on_the_way(theirs, ours, case)
    expected = sorted((a, n, fate, t, v if fate in ("good", "late") else "") for a, n, fate, t, v in theirs.records)
    mine = sorted(ours.records().itertuples(index=False, name=None))
    assert mine == expected


CASES = int(os.environ.get("TIDAL_CASES", "40"))


@pytest.mark.parametrize("seed", range(CASES))
def test_kernel_and_reference_agree_on_everything(seed):
    compare(random_case(seed), seed)


# What any order of events must keep, of the kernel alone


EXAMPLES = int(os.environ.get("TIDAL_CASES", "300"))
MANY = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))


@given(cases(), strategies.integers(0, 2**16))
@MANY
def test_kernel_and_reference_agree_with_any_features_off(case, seed):
    compare(case, seed)


@given(cases(), strategies.integers(0, 2**16))
@MANY
def test_every_request_settles_once_and_not_before_it_came(case, seed):
    cluster = play(Played(case, seed), case)
    records = cluster.records()
    assert cluster.outstanding == 0 and not any(row["queue"] for row in cluster.gauges()["services"].values())
    for name, counts in cluster.counters()["applications"].items():
        mine = records[records.application == name]
        assert mine.number.tolist() == list(range(counts["offered"])) == list(range(len(case.arrivals[name])))
        assert mine.fate.value_counts().to_dict() == {fate: counts[fate] for fate in FATES if counts[fate]}
        assert sum(counts["histogram"]) == counts["good"] + counts["late"]
        answered = mine.fate.isin(["good", "late"]).to_numpy()
        latency_s = mine.t_s.to_numpy() - np.array(case.arrivals[name])
        assert (latency_s[answered] > 0).all() and (latency_s >= 0).all()
        assert ((latency_s <= case.scenario.applications[name].slo_s) == (mine.fate == "good"))[answered].all()
    for row in cluster.counters()["kinds"].values():
        assert min(row.values()) >= 0


def one_queue(seed: int) -> Case:
    """Late binding, one kind without batches, whose replicas come and go; noise, requests given up, a bounded queue."""
    dice = np.random.default_rng(seed)
    kind = ReplicaKind(("v",), Shape(int(dice.integers(1, 4))))
    scenario = Scenario.model_validate({
        "name": "one-queue", "source": "random", "interval_s": 3.0, "binding": "late", "workload": {},
        "service_cv": float(dice.choice([0.0, 0.5, 2.0])), "overhead_s": float(dice.choice([0.0, 0.2])),
        "devices": {"cpu": {"budget": 16}}, "variants": {"v": {"accuracy": 1.0, "load_s": float(dice.uniform(0, 3))}},
        "services": {"s": {"variants": ["v"], "slo_s": 1.0}},
        "admission": {"drop_after_s": dice.choice([None, 2.0]), "queue_limit_s": dice.choice([None, 3.0])},
        "candidates": [{"variants": ["v"], "cores": [kind.shape.cores], "max_count": 5}],
        "initial": [{"candidate": 0, "level": 2}],
        "profile": Profile(pd.DataFrame([("v", "cpu", np.nan, 1, 1, 1, 0, 0.3)], columns=LATENCY_COLUMNS))})
    deployments = [(float(t), Deployment({kind: int(dice.integers(0, 6))})) for t in np.sort(dice.uniform(0, 15, 5))]
    return Case(scenario, {"s": np.sort(dice.uniform(0, 16, 16 * int(dice.integers(2, 25)))).tolist()}, deployments, 16.0)


@given(strategies.integers(0, 2**32 - 1))
@MANY
def test_a_queue_of_one_variant_starts_in_order_of_arrival(seed):
    """Whatever comes and goes, an answer's start (its finish less its time of service) follows those of earlier requests."""
    case = one_queue(seed)
    records = play(Played(case, seed), case).records()
    answered = records[records.fate.isin(["good", "late"])]
    variates = Variates(seed, {Cause.SERVICE: case.scenario.service_cv})
    start_s = [t_s - case.scenario.overhead_s - 0.3 * variates.factor(Cause.SERVICE, 0, number)
               for number, t_s in zip(answered.number, answered.t_s)]
    assert (np.diff(start_s) > -1e-9).all()
    assert (np.array(start_s) > np.array(case.arrivals["s"])[answered.number] - 1e-9).all()
