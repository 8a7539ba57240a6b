"""Who may call what: bearer tokens of tenants."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping


class Access:
    """Tokens of tenants. A token is kept and compared as its hash, in a time that says nothing about it.

    Args:
        tokens: by tenant; a tenant without one cannot call. None: no tokens are asked for, everyone may call everything.
        tenants: that there are.
        scrape_token: for whoever reads the metrics, which tell of all tenants; where tenants have tokens, nobody can
            without it.

    Raises:
        ValueError: a token for a tenant that there is not, an empty one, or the same for two.
    """

    def __init__(self, tokens: Mapping[str, str] | None, tenants: Iterable[str], scrape_token: str | None = None) -> None:
        known = set(tenants)
        for tenant, token in (tokens or {}).items():
            if tenant not in known:
                raise ValueError(f"a token for tenant '{tenant}'; the scenario has {', '.join(sorted(known))}")
            if not token:
                raise ValueError(f"the token of tenant '{tenant}' is empty")
        if tokens and len(set(tokens.values())) < len(tokens):
            raise ValueError("two tenants have the same token")
        self._scrape = _hash(scrape_token) if scrape_token else None
        self._hashes = None if tokens is None else {tenant: _hash(token) for tenant, token in tokens.items()}

    @property
    def open(self) -> bool:
        """Whether no tokens are asked for."""
        return self._hashes is None

    def tenant(self, authorization: str) -> str | None:
        """Whose token an Authorization header holds; None where it is nobody's."""
        given, found = _bearer(authorization), None
        for tenant, wanted in (self._hashes or {}).items():
            if hmac.compare_digest(given, wanted):
                found = tenant
        return found

    def may_scrape(self, authorization: str) -> bool:
        """Whether an Authorization header is good for the metrics."""
        return hmac.compare_digest(_bearer(authorization), self._scrape) if self._scrape else self.open


def _bearer(authorization: str) -> bytes:
    """The hash of a header's token; of one that nobody has, where it holds none."""
    scheme, _, token = authorization.partition(" ")
    return _hash(token.strip()) if scheme.lower() == "bearer" else b""


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
