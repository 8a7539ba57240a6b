"""A webhook: each deployment that is to be in force is posted to a URL, for a system that nobody has written an actuator for.

    POST URL     Idempotency-Key: a1b2/42, Authorization: Bearer TOKEN
                 {"deployment": DEPLOYMENT, "before": DEPLOYMENT, "decision_id": "a1b2/42", "policy", "reason", "bounds"}
    2xx          it is in force, and so it is where the same key comes again
    409, 412     somebody else changed what is in force: nothing is done; other 4xx: it is not acceptable
    others       it may be in force or not: the next decision posts again what it wants

DEPLOYMENT is as in `runtime.deployment_json`. A webhook is not asked what is in force: it is what it accepted last.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import requests

from envs.contract import Deployment
from runtime.account import Grounds
from runtime.actuators.accepted import LastAccepted
from runtime.actuators.actuator import Outcome
from runtime.actuators.bearer import Bearer
from runtime.deadline import DeadlineMissed, DeadlineThread
from runtime.deployment_json import to_json

TIMEOUT_S = 2.0


class Webhook(LastAccepted):
    """Posts; see `runtime.actuators.actuator.Actuator`.

    Args:
        deployment: in force at first.
        decision_id: that it came from; "": from none.
        url: to post to.
        token_file: holds a bearer token; None: none is sent.
        timeout_s: for all of an answer.
    """

    def __init__(self, deployment: Deployment, decision_id: str, url: str, token_file: Path | None = None,
                 timeout_s: float = TIMEOUT_S) -> None:
        super().__init__(deployment, decision_id)
        self._url, self._token_file, self._timeout_s = url, token_file, timeout_s
        self._session = requests.Session()
        self._thread = DeadlineThread(f"webhook {url}")

    def close(self) -> None:
        """Ends the thread."""
        self._session.close()
        self._thread.close()

    def _carry_out(self, deployment: Deployment, decision_id: str, grounds: Grounds) -> Outcome:
        body: dict[str, Any] = {"deployment": to_json(deployment), "before": to_json(self.current().deployment),
                                "decision_id": decision_id, "policy": grounds.policy, "reason": grounds.reason,
                                "bounds": list(grounds.bounds)}

        def post() -> requests.Response:
            auth = Bearer.of(self._token_file)
            return self._session.post(self._url, json=body, auth=auth, headers={"Idempotency-Key": decision_id},
                                      timeout=self._timeout_s, allow_redirects=False)  # a token goes nowhere else

        try:
            status = self._thread.call(post, self._timeout_s).status_code
        except (requests.RequestException, OSError, DeadlineMissed) as error:
            return Outcome("unknown", "", f"{self._url}: {error}")
        if 200 <= status < 300:
            return Outcome("applied")
        if status in (409, 412):
            return Outcome("conflict", self.current().version, f"{self._url}: HTTP {status}")
        return Outcome("refused" if 400 <= status < 500 else "unknown", "", f"{self._url}: HTTP {status}")
