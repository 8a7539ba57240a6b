"""A bearer token in requests: as authentication, not as a mere header, which a .netrc file would replace."""

from __future__ import annotations

from pathlib import Path

import requests
from requests.auth import AuthBase


class Bearer(AuthBase):
    """Adds the token."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    @classmethod
    def of(cls, file: Path | None) -> Bearer | None:
        """By a file, read anew for each request so that tokens may be changed; None: no token.

        Raises:
            OSError: it cannot be read.
        """
        return cls(file.read_text(encoding="utf-8").strip()) if file else None
