"""FA2 as IPA's authors compare with it: the same program with the variant of each stage fixed; replicas and batches move.

Source: the baselines FA2-low and FA2-high of Ghafouri et al., JSys 2024 (arXiv 2308.12871).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from baselines.ipa import IPA
from envs.scenario import Scenario


class FA2Low(IPA):
    """The least accurate variant of each stage.

    Args:
        variants: by service, where another variant is wanted.
        settings: IPA's.

    Raises:
        ValueError: as IPA; on reset, a stage without a candidate of its variant.
    """

    highest = False

    def __init__(self, variants: Mapping[str, str] | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.variants = dict(variants or {})

    def reset(self, scenario: Scenario) -> None:
        """Starts afresh on a scenario."""
        self._fixed = {name: self._chosen(scenario, name) for name in scenario.services}
        super().reset(scenario)

    def _chosen(self, scenario: Scenario, service: str) -> str:
        hosted = {v for c in scenario.candidates for v in c.variants}
        known = [v for v in scenario.services[service].variants if v in hosted]
        given = self.variants.get(service)
        if not known or (given is not None and given not in known):
            raise ValueError(f"no candidate runs '{given}' for service '{service}'; there are {', '.join(known) or 'none'}")
        return given or (max if self.highest else min)(known, key=lambda v: scenario.variants[v].accuracy)

    def allowed(self, service: str, variant: str) -> bool:
        """Only the fixed one."""
        return variant == self._fixed[service]


class FA2High(FA2Low):
    """The most accurate variant of each stage."""

    highest = True
