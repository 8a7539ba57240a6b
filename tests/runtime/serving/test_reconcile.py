"""Reconciling, decision by decision, as docs/simulator.md says it."""

import pytest

from envs.contract import Deployment, ReplicaKind, Shape
from envs.scenario_file import load
from runtime.serving.reconcile import Standing, plan

DEMO = load("live-demo")
SMALL, MEDIUM, LARGE = DEMO.kinds
WIDE = ReplicaKind(("large",), Shape(cores=2))
TO_LARGE = {"classify": {(LARGE, "large"): 1.0}}
BOTH = {"classify": {(LARGE, "large"): 0.5, (SMALL, "small"): 0.5}}


def there(*rows):
    return [Standing(number, *row) for number, row in enumerate(rows)]


def steps(wanted, replicas, routes=None, routed=None, **more):
    return plan(Deployment(wanted, routed or {}), replicas, routes or {}, scenario=DEMO,
                kinds=[SMALL, MEDIUM, LARGE, WIDE], **more)


@pytest.mark.parametrize("why, wanted, replicas, start, stop, drain", [
    ("nothing to do", {LARGE: 1}, there((LARGE, "ready")), (), (), ()),
    ("pending ones that are still wanted are kept", {LARGE: 2}, there((LARGE, "pending"), (LARGE, "ready")), (), (), ()),
    ("what is missing is started, kind by kind", {LARGE: 2, SMALL: 1}, there((LARGE, "ready")), (SMALL, LARGE), (), ()),
    ("draining and failed ones count not", {LARGE: 2}, there((LARGE, "draining"), (LARGE, "failed")), (LARGE, LARGE), (), ()),
    ("newest pending first", {LARGE: 1}, there((LARGE, "pending"), (LARGE, "pending"), (LARGE, "pending")), (), (2, 1), ()),
    ("pending before ready", {LARGE: 1}, there((LARGE, "ready"), (LARGE, "pending")), (), (1,), ()),
    ("the shortest queue", {LARGE: 1}, there((LARGE, "ready", 3), (LARGE, "ready", 1), (LARGE, "ready", 2)), (), (), (1, 2)),
    ("then the highest number", {LARGE: 1}, there((LARGE, "ready"), (LARGE, "ready"), (LARGE, "ready")), (), (), (2, 1)),
    ("create before delete", {SMALL: 1}, there((LARGE, "ready")), (SMALL,), (), ()),
    ("while the successor loads", {SMALL: 1}, there((LARGE, "ready"), (SMALL, "pending")), (), (), ()),
    ("until it is ready", {SMALL: 1}, there((LARGE, "ready"), (SMALL, "ready")), (), (), (0,)),
    ("to nothing, at once", {}, there((LARGE, "ready"), (SMALL, "pending")), (), (1,), (0,)),
    ("a size is another kind", {WIDE: 1}, there((LARGE, "ready")), (WIDE,), (), ()),
])
def test_what_is_done(why, wanted, replicas, start, stop, drain):
    found = steps(wanted, replicas)
    assert (found.start, found.stop, found.drain, found.resize) == (start, stop, drain, ())


def test_another_service_does_not_keep_a_replica():
    tenants = load("tenants")
    apart = tenants.with_(services={
        "gold": tenants.services["gold"].model_copy(update={"variants": ("heavy",)}),
        "silver": tenants.services["silver"].model_copy(update={"variants": ("light",)})}, workload={})
    light, heavy = apart.kinds
    found = plan(Deployment({light: 1}), there((heavy, "ready")), {}, scenario=apart, kinds=apart.kinds)
    assert (found.start, found.drain) == ((light,), (0,))


@pytest.mark.parametrize("wanted, replicas, resize, start", [
    ({WIDE: 1}, there((LARGE, "ready")), ((0, WIDE),), ()),
    ({WIDE: 2}, there((LARGE, "ready"), (LARGE, "pending")), ((0, WIDE),), (WIDE,)),
    ({WIDE: 1, LARGE: 1}, there((LARGE, "ready", 4), (LARGE, "ready", 2)), ((1, WIDE),), ()),
    ({LARGE: 1}, there((WIDE, "ready"), (LARGE, "ready")), (), ()),
    ({MEDIUM: 1}, there((LARGE, "ready")), (), (MEDIUM,)),
])
def test_in_place(wanted, replicas, resize, start):
    found = steps(wanted, replicas, in_place=True)
    assert (found.resize, found.start) == (resize, start)


@pytest.mark.parametrize("why, wanted, replicas, before, after", [
    ("all kinds are ready", BOTH, there((LARGE, "ready"), (SMALL, "ready")), TO_LARGE, BOTH),
    ("one is not yet", BOTH, there((LARGE, "ready"), (SMALL, "pending")), TO_LARGE, TO_LARGE),
    ("there were none before", BOTH, there((LARGE, "ready"), (SMALL, "pending")), {}, {}),
    ("none are wanted", {}, there((LARGE, "ready")), TO_LARGE, {}),
    ("once in force they stay", TO_LARGE, there((LARGE, "failed")), TO_LARGE, TO_LARGE),
    ("a share of 0 waits for nobody", {"classify": {(LARGE, "large"): 1.0, (SMALL, "small"): 0.0}},
     there((LARGE, "ready")), {}, {"classify": {(LARGE, "large"): 1.0, (SMALL, "small"): 0.0}}),
])
def test_routes(why, wanted, replicas, before, after):
    assert steps({LARGE: 1, SMALL: 1}, replicas, before, wanted).routes == after
