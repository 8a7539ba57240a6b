"""A service that sleeps by its limits and wakes by its requests, with an autoscaler beside it that puts it to sleep again."""

import pytest
import requests
import yaml
from live_system import TIMEOUT_S, variation
from running import until

pytestmark = pytest.mark.slow

WAKES = {"classify": {"variants": ["good", "quick"], "slo_s": 0.5, "wake": 0}}
LOAD_S = 0.3
PAYLOAD = {"inputs": [{"name": "payload", "datatype": "FP32", "shape": [1, 1], "data": [2.5]}]}


def test_each_first_request_waits_for_a_cold_start_and_none_is_turned_away(system, tmp_path):
    cluster = system.cluster(scenario=variation(tmp_path, binding="late", services=WAKES))
    limits = tmp_path / "limits.yaml"
    limits.write_text(yaml.safe_dump({"max_levels": [0] * 5}))
    scaler = system.autoscaler(cluster, "hpa", "--limits", limits)
    for _ in range(4):
        until(lambda: not cluster.deployment.replicas and not sum(cluster.states().values()), "it sleeps")
        url = f"{cluster.gateway}/v2/models/classify/infer"
        came = [requests.post(url, json=PAYLOAD, timeout=TIMEOUT_S) for _ in range(5)]
        assert [answer.status_code for answer in came] == [200] * 5
        assert came[0].elapsed.total_seconds() >= LOAD_S
    assert len(cluster.events("ready")) >= 1 + 4  # the first deployment's, and one for each time
    told = {fate: cluster.sums("tidal_requests_settled_total", fate=fate) for fate in ("rejected", "dropped", "failed")}
    assert set(told.values()) == {0}
    assert any("woken: requests come" in intent["bounds"] for intent in scaler.records())
    assert scaler.running.end() == 0 and cluster.running.end() == 0
