"""A workload of Kubernetes: whatever has the subresource `scale`, by the official client (the extra `kubernetes`).

Deployments, stateful sets, and custom resources alike. Each write carries the `resourceVersion` that was read: the API server
refuses it where anybody has changed the object since. That may be the object's own status; then the count is looked at again,
and it is a conflict only where the count itself is another one. An autoscaler needs `get` and `update` on `TYPE/scale`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from urllib3.exceptions import HTTPError

from runtime.actuators.actuator import ActuatorError, Outcome

ATTEMPTS = 3
TIMEOUT_S = 1.0
PLACE = re.compile(r"(?P<namespace>[^/]+)/(?P<plural>[^/.]+)(?:\.(?P<version>v\w+)\.(?P<group>[^/]+))?/(?P<name>[^/]+)")


@dataclass(frozen=True)
class Place:
    """Where a workload is: `NAMESPACE/TYPE[.VERSION.GROUP]/NAME`, of `apps/v1` where nothing else is said."""

    namespace: str
    plural: str
    version: str
    group: str
    name: str

    @classmethod
    def read(cls, text: str) -> Place:
        """Reads one.

        Raises:
            ValueError: it is none.
        """
        found = PLACE.fullmatch(text)
        if not found:
            raise ValueError(f"{text}: give NAMESPACE/TYPE/NAME, serving/deployments/llm say, or "
                             "NAMESPACE/TYPE.VERSION.GROUP/NAME")
        parts = found.groupdict()
        return cls(**{**parts, "version": parts["version"] or "v1", "group": parts["group"] or "apps"})

    def __str__(self) -> str:
        return f"{self.namespace}/{self.plural}/{self.name}"


def client(config: Path | None = None) -> kubernetes.client.ApiClient:
    """A client: by the file of `kubectl`, or within a pod by its service account.

    Raises:
        ValueError: neither is there, or the file cannot be used.
    """
    settings = kubernetes.client.Configuration()
    try:
        if config is not None:
            kubernetes.config.load_kube_config(str(config), client_configuration=settings)
        else:
            kubernetes.config.load_incluster_config(client_configuration=settings)
    except (ConfigException, OSError) as error:
        raise ValueError(f"Kubernetes cannot be reached: {error}; give --kube-config FILE") from error
    settings.retries = False
    return kubernetes.client.ApiClient(settings)


class KubernetesWorkload:
    """See `runtime.actuators.workloads.Workload`.

    Args:
        api: a client of its own.
        place: of the object.
    """

    def __init__(self, api: kubernetes.client.ApiClient, place: Place) -> None:
        self._client, self.place = api, str(place)
        self._api = kubernetes.client.CustomObjectsApi(api)  # its paths are those of every group
        self._where = vars(place)

    def replicas(self) -> int:
        """See `Workload`."""
        return _count(self._read())

    def scale(self, replicas: int, expected: int) -> Outcome:
        """See `Workload`."""
        try:
            for _ in range(ATTEMPTS):
                scale = self._read()
                if _count(scale) != expected:
                    return Outcome("conflict", detail=f"{_count(scale)} replicas, not {expected}: somebody else scales")
                scale["spec"] = {**scale.get("spec", {}), "replicas": replicas}
                try:
                    self._api.replace_namespaced_custom_object_scale(**self._where, body=scale, _request_timeout=TIMEOUT_S)
                    return Outcome("applied")
                except ApiException as error:
                    if error.status != 409:
                        return Outcome("refused" if 400 <= error.status < 500 else "unknown", detail=_said(error))
        except (ActuatorError, HTTPError, OSError) as error:
            return Outcome("unknown", detail=str(error))
        return Outcome("conflict", detail=f"changed by others {ATTEMPTS} times while it was to be scaled")

    def close(self) -> None:
        """See `Workload`."""
        self._client.close()

    def _read(self) -> dict[str, Any]:
        try:
            scale = self._api.get_namespaced_custom_object_scale(**self._where, _request_timeout=TIMEOUT_S)
        except ApiException as error:
            raise ActuatorError(f"{self.place}: {_said(error)}") from error
        except (HTTPError, OSError, ValueError) as error:
            raise ActuatorError(f"{self.place}: {error}") from error
        except RecursionError as error:
            raise ActuatorError(f"{self.place}: the answer is nested too deep") from error
        if not isinstance(scale, dict) or scale.get("kind") != "Scale" or not isinstance(scale.get("spec", {}), dict):
            raise ActuatorError(f"{self.place}: the answer is no Scale")
        if type(count := _count(scale)) is not int or count < 0:
            raise ActuatorError(f"{self.place}: the answer tells of {count!r} replicas")
        return scale


def _count(scale: dict[str, Any]) -> int:
    return scale.get("spec", {}).get("replicas", 0)  # a count of 0 is left out


def _said(error: ApiException) -> str:
    try:
        told = json.loads(error.body or "")["message"]
    except (ValueError, TypeError, KeyError, RecursionError):
        told = error.reason
    return f"HTTP {error.status} {told}"
