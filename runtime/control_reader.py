"""A reader of the control API: what it shows, and in one line why it cannot be had."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import requests

from runtime.actuators.bearer import Bearer

TIMEOUT_S = 2.0
OTHER_VERSION = "; this Tidal speaks version 1 of the control API: use the one that the cluster is of"  # after a 404


class ControlUnreachable(OSError):
    """The control API does not answer, or not as it should; the text says where and why."""


class ControlReader:
    """Reads from a live cluster's control API.

    Args:
        url: "http://127.0.0.1:8081".
        token_file: holds the bearer token, read anew each time; None: none is sent.
        timeout_s: between two bytes of an answer.
    """

    def __init__(self, url: str, token_file: Path | None = None, timeout_s: float = TIMEOUT_S) -> None:
        self.url, self._token_file, self._timeout_s = url.rstrip("/"), token_file, timeout_s
        self._session = requests.Session()
        self._session.trust_env = False  # neither a proxy nor a .netrc file has a say here
        self._session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True  # but whom to trust has

    def get(self, path: str) -> dict[str, Any]:
        """The answer to a GET.

        Raises:
            ControlUnreachable: there is none, or it is an error.
            OSError: the token file cannot be read.
        """
        status, answer = self.ask(path)
        if status != 200:
            unknown = (status, self._token_file) == (401, None)
            hint = OTHER_VERSION if status == 404 else "; give --token-file" if unknown else ""
            raise ControlUnreachable(f"{self.url}{path}: HTTP {status} {answer.get('error', '')}{hint}".rstrip())
        return answer

    def ask(self, path: str) -> tuple[int, dict[str, Any]]:
        """Status and answer of a GET, errors too; raises as `get` where there is no answer."""
        auth = Bearer.of(self._token_file)
        try:
            response = self._session.get(
                f"{self.url}{path}", auth=auth, timeout=self._timeout_s, allow_redirects=False
            )
            answer = response.json()
        except requests.Timeout as error:
            raise ControlUnreachable(f"{self.url}: no answer within {self._timeout_s:g} s") from error
        except requests.exceptions.SSLError as error:
            raise ControlUnreachable(f"{self.url}: its certificate is not trusted (REQUESTS_CA_BUNDLE=FILE names whom to "
                                     "trust), or it does not speak TLS") from error
        except requests.ConnectionError as error:
            raise ControlUnreachable(f"{self.url}: nobody answers there") from error
        except (requests.RequestException, ValueError, RecursionError) as error:
            raise ControlUnreachable(f"{self.url}: not an answer of the control API ({type(error).__name__})") from error
        if not isinstance(answer, dict):
            raise ControlUnreachable(f"{self.url}: not an answer of the control API")
        return response.status_code, answer

    def close(self) -> None:
        """Closes its connections."""
        self._session.close()
