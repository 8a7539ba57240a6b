"""Who may call what: bearer tokens of tenants, and of whoever reads the metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from runtime.bearers import Bearers


class Access:
    """Tokens of tenants.

    Args:
        tokens: by tenant; a tenant without one cannot call. None: no tokens are asked for, everyone may call everything.
        tenants: that there are.
        scrape_token: for whoever reads the metrics, which tell of all tenants; where tenants have tokens, nobody can
            without it.

    Raises:
        ValueError: a token for a tenant that there is not, an empty one, or the same for two.
    """

    def __init__(self, tokens: Mapping[str, str] | None, tenants: Iterable[str], scrape_token: str | None = None) -> None:
        self._known = set(tenants)
        self.change(tokens, scrape_token)

    def change(self, tokens: Mapping[str, str] | None, scrape_token: str | None = None) -> None:
        """Other tokens from now on; raises as above, and then changes nothing."""
        if unknown := set(tokens or {}) - self._known:
            raise ValueError(f"a token for tenant '{min(unknown)}'; the scenario has {', '.join(sorted(self._known))}")
        of_tenants, of_scrape = Bearers((tokens or {}).items()), Bearers([(True, scrape_token)] if scrape_token else [])
        self.open = tokens is None
        """Whether no tokens are asked for."""
        self._tenants, self._scrape = of_tenants, of_scrape

    def tenant(self, authorization: str) -> str | None:
        """Whose token an Authorization header holds; None where it is nobody's."""
        return self._tenants.bearer(authorization)

    def may_scrape(self, authorization: str) -> bool:
        """Whether an Authorization header is good for the metrics."""
        return bool(self._scrape.bearer(authorization)) or (self.open and not self._scrape)
