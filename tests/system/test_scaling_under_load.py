"""A cluster that is scaled, resized and switched all the time loses no request, and answers none twice."""

import pytest
from live_system import CUDA, EMULATED, WORKERS, page
from made_policies import Changes
from running import until

from runtime.deployment_json import from_json


@pytest.mark.parametrize("replicas", [EMULATED, WORKERS, CUDA])
def test_scaling_resizing_and_switching_under_load_loses_nothing(system, replicas):
    cluster = system.cluster(**replicas)
    load = system.load(cluster, 60)
    scaler = system.autoscaler(cluster, "made_policies:Changes")
    until(lambda: cluster.version > len(Changes.LEVELS), lambda: f"all changes:\n{scaler.running.text}")
    assert scaler.running.end() == 0, scaler.running.text
    answers = load.end().all_right()
    assert set(answers.variants) == {"quick", "good"}
    wanted = [from_json(intent["deployment"]) for intent in scaler.records() if intent["acts"]]
    assert {kind.batch for deployment in wanted for kind in deployment.replicas} == {1, 2, 4}
    assert {kind.shape.cores for deployment in wanted for kind in deployment.replicas} == {1, 2}
    cluster.settles()
    told = page(cluster.page_text())
    settled = {fate: told["tidal_requests_settled_total", ("application", "classify"), ("fate", fate)]
               for fate in ("answered", "late", "rejected", "dropped", "failed")}
    assert settled["answered"] + settled["late"] == len(answers)  # each once
    assert settled["rejected"] == settled["dropped"] == settled["failed"] == 0
    assert cluster.running.end() == 0, cluster.running.text
