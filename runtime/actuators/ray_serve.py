"""A workload of Ray Serve: a deployment of an application, scaled by the REST API of Ray's dashboard.

    GET  /api/serve/applications/                                    what is wanted, `target_num_replicas`
    POST /api/v1/applications/{app}/deployments/{deployment}/scale   {"target_num_replicas": 3}

The application needs `external_scaler_enabled: true`, and none of its deployments an `autoscaling_config`. Nothing in that API
tells versions apart: between the look at what is wanted and the change, milliseconds, somebody else's change is overwritten.
Newer versions of Ray want a token, which they keep in `~/.ray/auth_token`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from runtime.actuators.actuator import ActuatorError, Outcome
from runtime.actuators.bearer import Bearer

TIMEOUT_S = 1.5


class RayServeWorkload:
    """See `runtime.actuators.workloads.Workload`.

    Args:
        url: of the dashboard, "http://127.0.0.1:8265".
        place: APPLICATION/DEPLOYMENT.
        token_file: holds the bearer token; None: none is sent.

    Raises:
        ValueError: the place is none.
    """

    def __init__(self, url: str, place: str, token_file: Path | None = None) -> None:
        self._application, slash, self._deployment = place.partition("/")
        if not (slash and self._application and self._deployment):
            raise ValueError(f"{place}: give APPLICATION/DEPLOYMENT")
        self._url, self.place, self._token_file = url.rstrip("/"), place, token_file
        self._session = requests.Session()

    def replicas(self) -> int:
        """See `Workload`."""
        try:
            answer = self._ask("GET", "/api/serve/applications/")
            if answer.status_code != 200:
                raise ActuatorError(f"{self._url}: {_said(answer)}")
            applications = answer.json()["applications"]
            if self._deployment not in applications.get(self._application, {}).get("deployments", {}):
                raise ActuatorError(f"{self._url}: there is no {self.place}")
            count = applications[self._application]["deployments"][self._deployment]["target_num_replicas"]
            if type(count) is not int or count < 0:
                raise ValueError(f"{count!r} replicas")
            return count
        except (OSError, KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            raise ActuatorError(f"{self._url}: {type(error).__name__}: {error}") from error

    def scale(self, replicas: int, expected: int) -> Outcome:
        """See `Workload`."""
        path = f"/api/v1/applications/{quote(self._application, '')}/deployments/{quote(self._deployment, '')}/scale"
        try:
            answer = self._ask("POST", path, {"target_num_replicas": replicas})
        except OSError as error:
            return Outcome("unknown", detail=str(error))
        if answer.status_code == 200:
            return Outcome("applied")
        return Outcome("refused" if 400 <= answer.status_code < 500 else "unknown", detail=_said(answer))

    def close(self) -> None:
        """See `Workload`."""
        self._session.close()

    def _ask(self, method: str, path: str, body: Any = None) -> requests.Response:
        return self._session.request(method, self._url + path, json=body, auth=Bearer.of(self._token_file),
                                     timeout=TIMEOUT_S, allow_redirects=False)  # a token goes nowhere else


def _said(answer: requests.Response) -> str:
    try:
        told: Any = answer.json()["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        told = answer.reason
    return f"HTTP {answer.status_code} {told}"
