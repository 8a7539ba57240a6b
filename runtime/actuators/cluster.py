"""The actuator of a live cluster: a client of its control API.

    GET /v1/deployment      200, ETag: "7", {"deployment": DEPLOYMENT, "version": "7", "decision_id": "a1b2/41"}
    PUT /v1/deployment      If-Match: "7", {"deployment": DEPLOYMENT, "decision_id": "a1b2/42", GROUNDS}
                            200, as GET afterwards: it is in force; the same decision_id as in force: nothing is changed
                            412, as GET: another version is in force, nothing was changed; 428: If-Match is missing
                            400, {"error": TEXT}: not acceptable; 401, 403: without a valid bearer token

    PUT /v1/decision        ACCOUNT with its GROUNDS: what came of a decision, for people to see; 200

DEPLOYMENT is as in `runtime.deployment_json`, GROUNDS and ACCOUNT are the fields of `runtime.account`. The token file is read
anew for each call, so that tokens may be changed.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import requests

from envs.contract import Deployment
from runtime.account import UNSAID, Account, Grounds
from runtime.actuators.actuator import ActuatorError, InForce, Outcome
from runtime.actuators.bearer import Bearer
from runtime.control_reader import OTHER_VERSION
from runtime.deadline import DeadlineMissed, DeadlineThread
from runtime.deployment_json import DeploymentError, from_json, to_json

DEPLOYMENT, DECISION = "/v1/deployment", "/v1/decision"
TIMEOUT_S = 2.0

log = logging.getLogger(__name__)


class ClusterActuator:
    """Reads and writes the deployment of a live cluster.

    Args:
        url: of the control API, "http://127.0.0.1:8081".
        token_file: holds the bearer token; None: none is sent.
        timeout_s: for all of an answer.
    """

    def __init__(self, url: str, token_file: Path | None = None, timeout_s: float = TIMEOUT_S) -> None:
        self._base, self._token_file, self._timeout_s = url.rstrip("/"), token_file, timeout_s
        self._url = self._base + DEPLOYMENT
        self._answers = True  # the last time that it was asked
        self._session = requests.Session()
        self._thread = DeadlineThread(f"control {url}")

    def current(self) -> InForce:
        """See `Actuator`."""
        try:
            response = self._request("GET")
            if response.status_code != 200:
                raise ActuatorError(f"{self._url}: {_said(response)}")
            return _in_force(response)
        except (requests.RequestException, OSError, DeploymentError, ValueError) as error:
            raise ActuatorError(f"{self._url}: {error}") from error

    def apply(self, deployment: Deployment, version: str, decision_id: str, grounds: Grounds = UNSAID) -> Outcome:
        """See `Actuator`."""
        body = {"deployment": to_json(deployment), "decision_id": decision_id, **_fields(grounds)}
        try:
            response = self._request("PUT", {"If-Match": f'"{version}"'}, body)
            if response.status_code == 200:
                return Outcome("applied", _in_force(response).version)
            if response.status_code == 412:
                return Outcome("conflict", _in_force(response).version, "somebody else changed the deployment")
        except (requests.RequestException, OSError, DeploymentError, ValueError) as error:
            return Outcome("unknown", "", f"{self._url}: {error}")
        if 400 <= response.status_code < 500:
            return Outcome("refused", version, _said(response))
        return Outcome("unknown", "", _said(response))

    def tell(self, account: Account) -> None:
        """See `Actuator`. An API that did not answer just now is not waited for again."""
        if not self._answers:
            return
        body = {name: value for name, value in vars(account).items() if name != "grounds"}
        try:
            response = self._request("PUT", body={**body, **_fields(account.grounds)}, path=DECISION)
            if response.status_code != 200:
                log.info("decision %s is not shown: %s", account.decision_id, _said(response))
        except (requests.RequestException, OSError) as error:
            log.info("decision %s is not shown: %s", account.decision_id, error)

    def close(self) -> None:
        """Ends the thread."""
        self._session.close()
        self._thread.close()

    def _request(self, method: str, headers: dict[str, str] | None = None, body: Any = None,
                 path: str = DEPLOYMENT) -> requests.Response:
        auth = Bearer.of(self._token_file)

        def ask() -> requests.Response:
            return self._session.request(method, self._base + path, headers=headers, json=body, auth=auth,
                                         timeout=self._timeout_s, allow_redirects=False)  # a token goes nowhere else

        self._answers = False
        try:
            response = self._thread.call(ask, self._timeout_s)
        except DeadlineMissed as error:
            raise requests.Timeout(str(error)) from error
        self._answers = True
        return response


def _fields(grounds: Grounds) -> dict[str, Any]:
    return {"policy": grounds.policy, "reason": grounds.reason, "bounds": list(grounds.bounds)}


def _json(response: requests.Response) -> Any:
    try:
        return response.json()
    except RecursionError as error:
        raise ValueError("not an answer of the control API: nested too deep") from error


def _in_force(response: requests.Response) -> InForce:
    answer = _json(response)
    if not isinstance(answer, dict) or not isinstance(answer.get("version"), str):
        raise ValueError("not an answer of the control API: no version")
    return InForce(from_json(answer.get("deployment")), answer["version"], str(answer.get("decision_id") or ""))


def _said(response: requests.Response) -> str:
    """What the API answered, in one line."""
    try:
        told = _json(response).get("error", "")
    except (ValueError, AttributeError):
        told = ""
    return f"HTTP {response.status_code} {told or response.reason}{OTHER_VERSION if response.status_code == 404 else ''}"
