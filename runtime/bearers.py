"""Bearer tokens: whose a header's is."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import Generic, TypeVar

Bearer = TypeVar("Bearer")


class Bearers(Generic[Bearer]):
    """Who bears which token. Tokens are kept and compared as their hashes, in a time that says nothing about them.

    Args:
        tokens: each with its bearer.

    Raises:
        ValueError: an empty token, or the same for two.
    """

    def __init__(self, tokens: Iterable[tuple[Bearer, str]]) -> None:
        given = list(tokens)
        if not all(token for _, token in given):
            raise ValueError("the token of a caller is empty")
        self._hashes = [(_hash(token), bearer) for bearer, token in given]
        if len({hashed for hashed, _ in self._hashes}) < len(given):
            raise ValueError("two callers have the same token; give each its own")

    def __bool__(self) -> bool:
        """Whether there is any token."""
        return bool(self._hashes)

    def bearer(self, authorization: str) -> Bearer | None:
        """Whose token the header `Authorization` holds; None where it is nobody's. Takes as long whoever it is."""
        scheme, _, token = authorization.partition(" ")
        said, found = _hash(token.strip()), None
        for valid, bearer in self._hashes:
            if hmac.compare_digest(said, valid) and scheme.lower() == "bearer":
                found = bearer
        return found


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
