"""Deployments through JSON text and back, exactly; and what is said about JSON that is none."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.contract import Deployment, ReplicaKind, Shape
from runtime.deployment_json import DeploymentError, from_json, kind_from_json, kind_to_json, to_json

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
shapes = st.builds(Shape, cores=st.integers(1, 64)) | st.builds(
    Shape, cores=st.just(0), inter_op=st.integers(1, 8), intra_op=st.integers(1, 8), device=names)
seconds = st.floats(0, 1e9)
kinds = st.builds(ReplicaKind, st.lists(names, min_size=1, max_size=3).map(tuple), shapes, st.integers(1, 512), seconds)


@st.composite
def deployments(draw):
    replicas = draw(st.dictionaries(kinds, st.integers(0, 10**6), max_size=4))
    routes = {}
    for service in draw(st.lists(names, unique=True, max_size=3)):
        weights = draw(st.dictionaries(st.tuples(kinds, names), st.integers(0, 1000), min_size=1, max_size=4))
        if total := sum(weights.values()):
            routes[service] = {route: weight / total for route, weight in weights.items()}
    thresholds = draw(st.dictionaries(st.tuples(names, st.integers(0, 9)), st.floats(0, 1), max_size=3))
    return Deployment(replicas, routes, thresholds)


@given(deployments())
def test_what_was_written_is_read_back_exactly(deployment):
    text = json.dumps(to_json(deployment), allow_nan=False)
    back = from_json(json.loads(text))
    assert back == deployment and hash(back) == hash(deployment)
    assert json.dumps(to_json(back), allow_nan=False) == text


@given(kinds)
def test_a_kind_is_read_back_exactly(kind):
    assert kind_from_json(json.loads(json.dumps(kind_to_json(kind)))) == kind


SHAPE = {"cores": 4, "inter_op": 1, "intra_op": 1, "device": "cpu"}
KIND = {"variants": ["large"], "shape": SHAPE, "batch": 1, "max_wait_s": 0}
GOOD = {"replicas": [{"kind": KIND, "count": 2}],
        "routes": [{"service": "see", "kind": KIND, "variant": "large", "share": 1.0}],
        "thresholds": [{"application": "see", "stage": 0, "threshold": 0.5}]}


def test_the_form_is_as_documented():
    kind = ReplicaKind(("large",), Shape(4))
    assert from_json(GOOD) == Deployment({kind: 2}, {"see": {(kind, "large"): 1.0}}, {("see", 0): 0.5})


@pytest.mark.parametrize("path, value, told", [
    ((), [], "deployment: "),
    (("replicas",), None, "replicas: Input should be a valid list, not 'None'"),
    (("replicas", 0, "count"), -1, "replicas.0.count: Input should be greater than or equal to 0, not '-1'"),
    (("replicas", 0, "count"), 1.5, "replicas.0.count: "),
    (("replicas", 0, "count"), "2", "replicas.0.count: "),
    (("replicas", 0, "count"), True, "replicas.0.count: "),
    (("replicas", 0, "kind", "batch"), 0, "replicas.0.kind.batch: "),
    (("replicas", 0, "kind", "variants"), [], "replicas.0.kind.variants: "),
    (("replicas", 0, "kind", "variants"), "large", "replicas.0.kind.variants: "),
    (("replicas", 0, "kind", "shape", "device"), "", "replicas.0.kind.shape.device: "),
    (("replicas", 0, "kind", "max_wait_s"), float("nan"), "replicas.0.kind.max_wait_s: "),
    (("routes", 0, "share"), float("nan"), "routes.0.share: "),
    (("routes", 0, "share"), 0.5, "routes of service see: shares must be >= 0 and sum to 1, not [0.5]"),
    (("thresholds", 0, "threshold"), 2, "thresholds.0.threshold: "),
    (("typo",), 1, "typo: Extra inputs are not permitted, not '1'"),
    (("replicas",), GOOD["replicas"] * 2, "replicas: large @4c is there twice"),
    (("routes",), GOOD["routes"] * 2, "routes of see: "),
])
def test_what_is_wrong_is_named(path, value, told):
    wrong = copy.deepcopy(GOOD)
    if path:
        place = wrong
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
    else:
        wrong = value
    with pytest.raises(DeploymentError) as caught:
        from_json(wrong)
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize("key", ["replicas", "routes", "thresholds"])
def test_a_missing_part_is_named(key):
    with pytest.raises(DeploymentError, match=f"{key}: Field required"):
        from_json({k: v for k, v in GOOD.items() if k != key})
