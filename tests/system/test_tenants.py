"""A tenant that floods, or whose model raises and ends its process, leaves the others' answers as they were."""

import time

import pytest
from live_system import CPU, GPU, HERE
from running import until

TENANTS = HERE / "scenarios" / "tenants.yaml"
TOKENS = {"operator": "o" * 16, "scrape": "s" * 16, "tenants": {name: name * 4 for name in ("gold", "flood", "wild")}}
MODELS = {"quick": "echo_models:quick", "wild": "echo_models:wild"}
SLO_S = 1.0
QUOTA_RPS, BURST = 40, 20
PHASE_S = 4.0


@pytest.fixture(scope="module", params=[CPU, GPU])
def cluster(shared_system, request):
    return shared_system.cluster(scenario=TENANTS, models=MODELS, device=request.param, tokens=TOKENS)


def of(system, cluster, tenant, load):
    return system.load(cluster, load, tenant, TOKENS["tenants"][tenant])


def test_a_tenant_that_floods_leaves_the_others_attainment_where_it_was(shared_system, cluster):
    gold = of(shared_system, cluster, "gold", 30)
    began_s = time.time()
    time.sleep(PHASE_S)
    flood, flooded_s = of(shared_system, cluster, "flood", 10 * QUOTA_RPS), time.time()
    time.sleep(PHASE_S)
    ended_s, flooding = time.time(), flood.end()
    answers = gold.end().all_right()
    calm, under_flood = answers.between(began_s, flooded_s), answers.between(flooded_s, ended_s)
    assert len(calm) > 50 and len(under_flood) > 50
    assert under_flood.within(SLO_S) >= calm.within(SLO_S) - 0.01

    assert set(flooding.statuses) == {200, 429}  # what is within its quota is answered, and nothing else
    seconds = flooding.rows[-1]["sent_s"] - flooding.rows[0]["sent_s"]
    assert 0.5 * QUOTA_RPS * seconds < flooding.statuses[200] <= QUOTA_RPS * (seconds + 0.5) + BURST
    assert len(flooding) > 5 * QUOTA_RPS * seconds


def test_a_tenant_whose_model_crashes_leaves_the_others_answers_where_they_were(shared_system, cluster):
    last = cluster.events()[-1]["number"]
    gold, wild = of(shared_system, cluster, "gold", 30), of(shared_system, cluster, "wild", 8)
    until(lambda: len(cluster.events("failed", last)) >= 4, lambda: f"it crashes:\n{cluster.running.text}")
    crashing = wild.end()
    answers = gold.end().all_right()
    assert answers.within(SLO_S) > 0.99
    failed = cluster.events("failed", last)
    assert {tuple(event["kind"]["variants"]) for event in failed} == {("wild",)}
    for row in crashing.rows:  # each has an answer, and those that kill are not tried for ever
        number, status = row["number"], row["status"]
        assert row["right"] or status in ({502, 503} if number % 7 == 0 else {400} if number % 3 == 1 else {502, 503}), row
    assert {row["status"] for row in crashing.rows if row["number"] % 7 == 0} >= {502}
    until(lambda: cluster.states()["ready"] == 3, lambda: f"wild is replaced:\n{cluster.running.text}")
