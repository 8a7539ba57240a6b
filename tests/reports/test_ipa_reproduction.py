"""IPA's table made again: what is played is what the artefact plans, on a cluster as slow as that. No trace is needed."""

import pytest

from baselines.ipa import IPA
from envs.contract import KindObservation, Observation, ServiceObservation
from envs.scenario_file import load
from reports.reproductions.ipa import PIPELINES, _policy, _with_small_shapes

NAN = float("nan")


def decided(policy, scenario, rps):
    policy.reset(scenario)
    kinds = {k: KindObservation(NAN, NAN, NAN, NAN, NAN) for k in scenario.kinds}
    services = {name: ServiceObservation(rps, 0) for name in scenario.services}
    load_s = {name: variant.load_s for name, variant in scenario.variants.items()}
    seen = Observation(10.0, 10.0, 1.0, scenario.initial_deployment, {}, services, kinds, {}, load_s)
    return policy.decide(seen).deployment


@pytest.mark.parametrize("name", PIPELINES)
def test_on_the_slower_cluster_the_plan_is_the_artefacts(name):
    """Its program on the profile as it is, throughputs and latencies times its factors."""
    pipeline, scenario = PIPELINES[name], load(name)
    slower = scenario.with_(profile=scenario.profile.scaled(1 / pipeline.capacity_ratio))
    for rps in (3.0, 6.0, 12.0, 30.0):
        theirs = IPA(alpha=pipeline.alpha["bursty"], beta=pipeline.beta, normalise=pipeline.normalise, least_rank=0.05,
                     forecast="last", margin=pipeline.margin, capacity_ratio=pipeline.capacity_ratio,
                     latency_ratio=pipeline.latency_ratio)
        ours = _policy(name, pipeline, "bursty", "IPA", forecast="last", memory=1)
        assert decided(ours, slower, rps) == decided(theirs, scenario, rps)


def test_small_shapes_are_those_of_nlp_with_sum_qas_own_latencies_where_it_has_them():
    own, nlp = load("sum-qa"), load("nlp")
    small = _with_small_shapes(own)
    shapes = {k.variants[0]: k.shape.units for k in small.kinds}
    assert {v: n for v, n in shapes.items() if v.startswith("xsum")} == {
        k.variants[0]: k.shape.units for k in nlp.kinds if k.variants[0].startswith("xsum")}
    for kind in small.kinds:
        source = own if kind in own.kinds else nlp
        assert small.capacity_rps(kind, kind.variants[0]) == pytest.approx(source.capacity_rps(kind, kind.variants[0]))
    assert small.initial_deployment.units("core") == 20 and small.applications == own.applications
