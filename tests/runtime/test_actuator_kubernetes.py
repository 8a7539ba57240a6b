"""The scale subresource, by the official client, against a server that keeps its published contract (`scale_api.py`)."""

import json

import pytest

pytest.importorskip("kubernetes", reason="the extra kubernetes is not installed")

import kubernetes
from scale_api import Objects, ScaleApi
from simulated_service import serving

from envs.contract import Deployment
from envs.scenario_file import load
from runtime.actuators.actuator import ActuatorError
from runtime.actuators.kubernetes import KubernetesWorkload, Place, client
from runtime.actuators.workloads import Workloads

KINDS = load("live-demo").kinds


@pytest.fixture
def objects():
    return Objects(small=2, large=0)


@pytest.fixture
def actuator(objects):
    with serving(ScaleApi, objects=objects) as url:
        made = Workloads({kind: workload(url, name) for kind, name in zip(KINDS, ("small", "large"))}, timeout_s=10.0)
        yield made
        made.close()


def workload(url, name):
    settings = kubernetes.client.Configuration(host=url)
    return KubernetesWorkload(kubernetes.client.ApiClient(settings), Place.read(f"serving/deployments/{name}"))


def of(small, large):
    return Deployment(dict(zip(KINDS, (small, large))))


def test_what_is_applied_is_in_force(actuator, objects):
    before = actuator.current()
    assert (before.deployment, before.decision_id) == (of(2, 0), "")
    assert actuator.apply(of(1, 3), before.version, "j/1").status == "applied"
    after = actuator.current()
    assert (after.deployment, after.decision_id) == (of(1, 3), "j/1") and after.version != before.version
    assert [body["metadata"]["name"] for body in objects.puts] == ["large", "small"]  # what rises first


def test_the_same_decision_twice_is_done_once(actuator, objects):
    version = actuator.current().version
    first = actuator.apply(of(3, 0), version, "j/1")
    assert actuator.apply(of(3, 0), version, "j/1") == first and len(objects.puts) == 1


def test_another_writer_since_the_deployment_was_read_is_a_conflict(actuator, objects):
    version = actuator.current().version
    objects.set("small", 4)
    found = actuator.apply(of(3, 0), version, "j/1")
    assert found.status == "conflict" and "somebody else scales" in found.detail
    assert (objects.of("small")[0], objects.puts) == (4, [])


def test_another_writer_between_read_and_write_is_a_conflict(actuator, objects):
    objects.before_put = lambda: objects.set("small", 4)
    found = actuator.apply(of(3, 0), actuator.current().version, "j/1")
    assert found.status == "conflict" and "4 replicas, not 2" in found.detail
    assert objects.of("small")[0] == 4


def test_a_change_of_the_status_alone_is_no_conflict(actuator, objects):
    def status_once():
        objects.before_put = lambda: None
        objects.set("small")

    objects.before_put = status_once
    assert actuator.apply(of(3, 0), actuator.current().version, "j/1").status == "applied"
    assert objects.of("small")[0] == 3 and len(objects.puts) == 2


def test_one_whose_status_never_rests_is_given_up(actuator, objects):
    objects.before_put = lambda: objects.set("small")
    found = actuator.apply(of(3, 0), actuator.current().version, "j/1")
    assert found.status == "conflict" and objects.of("small")[0] == 2


def test_another_writer_after_us_is_told(actuator, objects, caplog):
    actuator.apply(of(3, 0), actuator.current().version, "j/1")
    objects.set("small", 7)
    assert actuator.current().decision_id == ""
    assert "somebody else scales: 7 x" in caplog.text


@pytest.mark.parametrize("answer, status", [
    ((403, "Forbidden", "deployments.apps is forbidden"), "refused"),
    ((422, "Invalid", "spec.replicas: must be at least 0"), "refused"),
    ((500, "InternalError", "etcd is away"), "unknown"),
])
def test_what_the_server_says_is_told(actuator, objects, answer, status):
    objects.answer = answer
    found = actuator.apply(of(3, 0), actuator.current().version, "j/1")
    assert found.status == status and answer[2] in found.detail and "serving/deployments/small" in found.detail


def test_what_it_has_no_place_for_is_refused(actuator, objects):
    other = Deployment({KINDS[2]: 1})
    found = actuator.apply(other, actuator.current().version, "j/1")
    assert found.status == "refused" and str(KINDS[2]) in found.detail and not objects.puts


def test_what_is_not_there_and_nobody_there():
    with serving(ScaleApi, objects=Objects()) as url:
        absent = Workloads({KINDS[0]: workload(url, "nothing")}, timeout_s=10.0)
        with pytest.raises(ActuatorError, match="HTTP 404 not found"):
            absent.current()
        absent.close()
    gone = Workloads({KINDS[0]: workload(url, "nothing")}, timeout_s=0.5)
    with pytest.raises(ActuatorError):
        gone.current()
    assert gone.apply(of(1, 0), "2", "j/1").status == "unknown"
    gone.close()


def test_places():
    assert vars(Place.read("a/deployments/b")) == {
        "namespace": "a", "plural": "deployments", "version": "v1", "group": "apps", "name": "b"}
    assert vars(Place.read("a/inferenceservices.v1beta1.serving.kserve.io/b")) == {
        "namespace": "a", "plural": "inferenceservices", "version": "v1beta1", "group": "serving.kserve.io", "name": "b"}
    for wrong in ("deployments/b", "a/deployments", "a/deployments.apps/b", ""):
        with pytest.raises(ValueError, match="give NAMESPACE/TYPE/NAME"):
            Place.read(wrong)


def test_a_file_of_kubectl_says_where_it_is(objects, tmp_path):
    with serving(ScaleApi, objects=objects) as url:
        (tmp_path / "config").write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": url}}], "users": [{"name": "u", "user": {"token": "a secret"}}]}))
        found = KubernetesWorkload(client(tmp_path / "config"), Place.read("serving/deployments/small"))
        assert found.replicas() == 2 and found.scale(3, 2).status == "applied" and objects.of("small")[0] == 3
        found.close()


def test_without_a_configuration_the_way_out_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    for config in (None, tmp_path / "none"):
        with pytest.raises(ValueError, match="give --kube-config FILE"):
            client(config)
