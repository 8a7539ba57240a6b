"""The dispatcher against the simulator: the same arrivals, deployment and seed give every request the same fate."""

import numpy as np
import pandas as pd
import pytest
from emulation import changed, lived, made, poisson, simulated

from envs.contract import Deployment
from envs.profiles import LATENCY_COLUMNS, Profile

ONE = [{"variants": ["v"], "cores": [2], "max_count": 2}]
TWO = [{"variants": ["u"], "cores": [2], "max_count": 2}, {"variants": ["v"], "cores": [3]}]
BATCHES = [{"variants": ["v"], "cores": [1], "batch": 4, "max_wait_s": 0.08, "max_count": 2}]
BOTH_ON_ONE = [{"variants": ["u", "v"], "cores": [2], "batch": 3, "max_wait_s": 0.03, "max_count": 2}]
TABLE = {1: 0.1, 2: 0.14, 4: 0.22}
SHEDS = {"deadline": True, "queue_limit_s": 0.6, "drop_after_s": 0.7}


def routed(scenario, shares):
    """The initial deployment with routes for `s`: shares of its kinds in order, each by the kind's first variant."""
    routes = {(kind, kind.variants[0]): share for kind, share in zip(scenario.kinds, shares)}
    return Deployment(scenario.initial_deployment.replicas, {"s": routes})


def agree(scenario, arrivals_s, deployment=None):
    """Plays both and compares all there is. Returns the records."""
    return same(lived(scenario, arrivals_s, deployment), simulated(scenario, arrivals_s, deployment))


def same(live, cluster):
    """All there is, of requests and in sum, is the same. Returns the records."""
    found, wanted = live.records(), cluster.records()
    pd.testing.assert_frame_equal(found, wanted, check_dtype=False, rtol=1e-12, atol=1e-9)
    totals = cluster.totals()
    for name in ("app_count", "histogram", "service_offered"):
        np.testing.assert_array_equal(getattr(live.totals, name), getattr(totals, name), err_msg=name)
    return found


@pytest.mark.parametrize("binding", ["early", "late"])
@pytest.mark.parametrize("rate_rps", [25.0, 45.0])
def test_single_service(binding, rate_rps):
    records = agree(made({"v": 0.1}, ONE, binding=binding), {"s": poisson(rate_rps, 300)})
    assert set(records["fate"]) >= {"good"} and records["t_s"].nunique() == 300


@pytest.mark.parametrize("dispatch", ["shortest-queue", "least-expected-finish", "last-stage-clock"])
def test_dispatch_rules_and_admission(dispatch):
    scenario = made({"u": 0.06, "v": 0.1}, TWO, dispatch=dispatch, slo_s=0.5, admission=SHEDS)
    records = agree(scenario, {"s": poisson(130.0, 600)})
    assert {"good", "rejected"} <= set(records["fate"])
    assert set(records["variant"]) == {"u", "v", ""}


@pytest.mark.parametrize("binding", ["early", "late"])
def test_routes_over_several_variants(binding):
    scenario = made({"u": 0.06, "v": 0.1}, TWO, binding=binding)
    records = agree(scenario, {"s": poisson(40.0, 400)}, routed(scenario, (0.3, 0.7)))
    assert (records["variant"] == "u").mean() == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("binding", ["early", "late"])
@pytest.mark.parametrize("admission", [{}, {"queue_limit_s": 0.4}, {"drop_after_s": 0.4}], ids=["all", "limit", "drop"])
@pytest.mark.parametrize("rate_rps", [12.0, 50.0])
def test_batching(binding, admission, rate_rps):
    scenario = made({"v": TABLE}, BATCHES, binding=binding, admission=admission)
    records = agree(scenario, {"s": poisson(rate_rps, 400)})
    if rate_rps == 50.0 and admission:
        assert {"rejected", "dropped"} & set(records["fate"])


@pytest.mark.parametrize("binding", ["early", "late"])
def test_batches_of_several_variants_on_one_replica(binding):
    scenario = made({"u": {1: 0.06, 3: 0.1}, "v": {1: 0.1, 3: 0.2}}, BOTH_ON_ONE, binding=binding, applications={}, services={
        "s": {"variants": ["u"], "slo_s": 1.0}, "z": {"variants": ["v"], "slo_s": 1.0}})
    agree(scenario, {"s": poisson(20.0, 200), "z": poisson(15.0, 200, seed=4)})


@pytest.mark.parametrize("binding", ["early", "late"])
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("rate_rps", [9.0, 30.0])
def test_pipelines(binding, batch, rate_rps):
    """Three stages, the slowest in the middle: a batch forms when the first one is free."""
    rows = [("v", "gpu", np.nan, 3, 1, size, stage, share * seconds)
            for size, seconds in TABLE.items() for stage, share in enumerate((0.3, 0.5, 0.2))]
    kind = {"variants": ["v"], "device": "gpu", "inter_op": 3, "batch": batch, "max_wait_s": 0.08 if batch > 1 else 0.0,
            "max_count": 2}
    scenario = made({"v": 0.1}, [kind], binding=binding, devices={"gpu": {"budget": 6}}, overhead_s=0.011,
                    stage_overhead_ratio=0.009, profile=Profile(pd.DataFrame(rows, columns=LATENCY_COLUMNS)))
    agree(scenario, {"s": poisson(rate_rps, 300)})


@pytest.mark.parametrize("binding", ["early", "late"])
@pytest.mark.parametrize("batch", [1, 4])
def test_replicas_that_are_resized_in_place_under_load(binding, batch):
    """One core becomes three, and one again while three batches are under way; then two of one core are made of it."""
    kinds = [{"variants": ["v"], "cores": [cores], "batch": batch, "max_count": 2} for cores in (1, 2, 3)]
    scenario = made({"v": TABLE}, kinds, binding=binding, interval_s=1.0, in_place_resize_s=0.23, slo_s=20.0,
                    initial=[{"candidate": 0, "level": 1}], admission={"drop_after_s": 60.0})  # so that no batch goes ahead
    one, two, three = scenario.kinds
    wanted = [{three: 1}, {one: 1}, {two: 1, one: 1}, {three: 1}, {two: 2}]
    deployments = {n: Deployment(replicas) for n, replicas in enumerate(wanted, 1)}
    live, cluster = changed(scenario, {"s": poisson(25.0 if batch == 1 else 45.0, 250)}, deployments)
    same(live, cluster)
    events = [event.what for event in live.cluster.events.after()]
    assert events.count("resizing") >= 4


@pytest.mark.parametrize("binding", ["early", "late"])
@pytest.mark.parametrize("cascade", [False, True], ids=["chain", "cascade"])
def test_chain_of_two(binding, cascade):
    rows = [{"threshold": 0.0, "leave_ratio": 1.0, "accuracy": 0.7}, {"threshold": 1.0, "leave_ratio": 0.2, "accuracy": 0.9}]
    scenario = made(
        {"u": 0.06, "v": 0.1}, TWO, binding=binding,
        variants={"u": {"accuracy": 0.7, "load_s": 0, "certainty": rows}, "v": {"accuracy": 0.9, "load_s": 0}},
        services={"first": {"variants": ["u"], "slo_s": 1.0}, "second": {"variants": ["v"], "slo_s": 1.0}},
        applications={"both": {"services": ["first", "second"], "slo_s": 0.6, "cascade": cascade}},
        thresholds={"both": [0.5]} if cascade else {}, admission={"queue_limit_s": 0.5})
    records = agree(scenario, {"both": poisson(35.0, 400)})
    assert set(records["variant"]) >= ({"u", "v"} if cascade else {"v"})
    assert "dropped" in set(records["fate"]) or cascade


@pytest.mark.parametrize("binding", ["early", "late"])
@pytest.mark.parametrize("batch", [1, 4])
def test_tenants(binding, batch):
    tenants = {"calm": {"share": 1.0}, "flood": {"share": 2.0, "quota_rps": 30.0, "burst": 5.0}}
    services = {name: {"variants": ["v"], "slo_s": 1.0, "tenant": tenant} for name, tenant in (("s", "calm"), ("z", "flood"))}
    scenario = made({"v": TABLE}, [{**BATCHES[0], "batch": batch}], binding=binding, tenants=tenants, services=services)
    records = agree(scenario, {"s": poisson(12.0, 200), "z": poisson(60.0, 600, seed=5)})
    assert "rejected" in set(records[records["application"] == "z"]["fate"])
