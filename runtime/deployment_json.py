"""A deployment as JSON, as the control API and the journal write it, and back, exactly.

    {"replicas": [{"kind": KIND, "count": 2}],
     "routes": [{"service": "classify", "kind": KIND, "variant": "large", "share": 0.25}],
     "thresholds": [{"application": "search", "stage": 0, "threshold": 0.8}]}

    KIND = {"variants": ["large"], "shape": {"cores": 4, "inter_op": 1, "intra_op": 1, "device": "cpu"},
            "batch": 1, "max_wait_s": 0.0}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from envs.contract import Deployment, ReplicaKind, Shape

Name = Annotated[str, Field(strict=True, min_length=1)]
Whole = Annotated[int, Field(strict=True, ge=0)]
AtLeastOne = Annotated[int, Field(strict=True, ge=1)]
Ratio = Annotated[float, Field(strict=True, ge=0, le=1)]
Seconds = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]


class DeploymentError(ValueError):
    """JSON that is not a deployment; the text names the place and what should be there."""


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Shape(_Form):
    cores: Whole
    inter_op: AtLeastOne
    intra_op: AtLeastOne
    device: Name


class _Kind(_Form):
    variants: Annotated[list[Name], Field(min_length=1)]
    shape: _Shape
    batch: AtLeastOne
    max_wait_s: Seconds

    def kind(self) -> ReplicaKind:
        return ReplicaKind(tuple(self.variants), Shape(**self.shape.model_dump()), self.batch, self.max_wait_s)


class _Replicas(_Form):
    kind: _Kind
    count: Whole


class _Route(_Form):
    service: Name
    kind: _Kind
    variant: Name
    share: Ratio


class _Threshold(_Form):
    application: Name
    stage: Whole
    threshold: Ratio


class _Deployment(_Form):
    replicas: list[_Replicas]
    routes: list[_Route]
    thresholds: list[_Threshold]


F = TypeVar("F", bound=_Form)
K = TypeVar("K")
V = TypeVar("V")


def to_json(deployment: Deployment) -> dict[str, Any]:
    """A deployment as plain lists, dicts, numbers and words."""
    return {
        "replicas": [{"kind": kind_to_json(kind), "count": count} for kind, count in deployment.replicas.items()],
        "routes": [
            {"service": service, "kind": kind_to_json(kind), "variant": variant, "share": share}
            for service, shares in deployment.routes.items()
            for (kind, variant), share in shares.items()
        ],
        "thresholds": [
            {"application": application, "stage": stage, "threshold": threshold}
            for (application, stage), threshold in deployment.thresholds.items()
        ],
    }


def from_json(value: Any) -> Deployment:
    """The deployment that `to_json` wrote.

    Raises:
        DeploymentError: something is missing, unknown, of the wrong type or out of range, or is said twice.
    """
    form = _validated(_Deployment, value)
    replicas = _table("replicas", ((entry.kind.kind(), entry.count) for entry in form.replicas))
    routes: dict[str, list[tuple[tuple[ReplicaKind, str], float]]] = {}
    for entry in form.routes:
        routes.setdefault(entry.service, []).append(((entry.kind.kind(), entry.variant), entry.share))
    thresholds = _table("thresholds", (((t.application, t.stage), t.threshold) for t in form.thresholds))
    try:
        return Deployment(replicas, {s: _table(f"routes of {s}", shares) for s, shares in routes.items()}, thresholds)
    except DeploymentError:
        raise
    except ValueError as error:
        raise DeploymentError(str(error)) from error


def kind_to_json(kind: ReplicaKind) -> dict[str, Any]:
    """A replica kind as plain values."""
    return asdict(kind) | {"variants": list(kind.variants)}


def kind_from_json(value: Any) -> ReplicaKind:
    """The kind that `kind_to_json` wrote.

    Raises:
        DeploymentError: it is not one.
    """
    return _validated(_Kind, value).kind()


def _validated(form: type[F], value: Any) -> F:
    try:
        return form.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "deployment"
        raise DeploymentError(f"{place}: {first['msg']}, not {str(first['input'])[:80]!r}") from error


def _table(what: str, pairs: Iterable[tuple[K, V]]) -> Mapping[K, V]:
    table: dict[K, V] = {}
    for key, value in pairs:
        if key in table:
            raise DeploymentError(f"{what}: {key} is there twice")
        table[key] = value
    return table
