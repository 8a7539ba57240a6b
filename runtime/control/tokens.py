"""Who may ask the control API: bearer tokens, and what each of them may see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from runtime.bearers import Bearers

MIN_LENGTH = 16


@dataclass(frozen=True)
class Caller:
    """Who asks: an operator (tenant None), who may do everything, or a tenant, who may look at its own services."""

    tenant: str | None = None


class Tokens:
    """The tokens that are valid. Without any, every caller is an operator.

    Args:
        operator: of the operator and the autoscaler; "": none.
        tenants: by tenant.

    Attributes:
        tenants: names of those that have one.

    Raises:
        ValueError: a token that can be guessed, or is given twice.
    """

    def __init__(self, operator: str = "", tenants: Mapping[str, str] = MappingProxyType({})) -> None:
        given = [*([(Caller(), operator)] if operator else []), *((Caller(name), token) for name, token in tenants.items())]
        if any(len(token) < MIN_LENGTH or not token.isascii() for _, token in given):
            raise ValueError(f"a token of the control API has at least {MIN_LENGTH} ASCII characters")
        self.tenants, self._bearers = frozenset(tenants), Bearers(given)

    def __bool__(self) -> bool:
        return bool(self._bearers)

    def caller(self, authorization: str) -> Caller | None:
        """Whose token the header `Authorization` holds; None where it holds no valid one."""
        return self._bearers.bearer(authorization) if self else Caller()


NO_TOKENS = Tokens()
