"""Who may ask the control API: bearer tokens, and what each of them may see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hmac import compare_digest

MIN_LENGTH = 16


@dataclass(frozen=True)
class Caller:
    """Who asks: an operator (tenant None), who may do everything, or a tenant, who may look at its own services."""

    tenant: str | None = None


@dataclass(frozen=True)
class Tokens:
    """The tokens that are valid. Without any, every caller is an operator.

    Attributes:
        operator: of the operator and the autoscaler; "": none.
        tenants: by tenant.

    Raises:
        ValueError: a token that can be guessed, or is given twice.
    """

    operator: str = ""
    tenants: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = [*filter(None, [self.operator]), *self.tenants.values()]
        if any(len(token) < MIN_LENGTH or not token.isascii() for token in given):
            raise ValueError(f"a token of the control API has at least {MIN_LENGTH} ASCII characters")
        if len(set(given)) < len(given):
            raise ValueError("two callers of the control API have the same token; give each its own")

    def __bool__(self) -> bool:
        return bool(self.operator or self.tenants)

    def caller(self, authorization: str) -> Caller | None:
        """Whose token the header `Authorization` holds; None where it holds no valid one. Takes as long whoever it is."""
        if not self:
            return Caller()
        scheme, _, token = authorization.partition(" ")
        said = token.strip().encode()
        found: Caller | None = None
        for tenant, valid in [(None, self.operator), *self.tenants.items()]:
            if compare_digest(said, valid.encode()) and valid and scheme.lower() == "bearer":
                found = Caller(tenant)
        return found


NO_TOKENS = Tokens()
