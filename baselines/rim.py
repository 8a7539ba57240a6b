"""RIM as IPA's authors compare with it: the same program with the replicas of each stage fixed; variants and batches move.

Source: the baseline RIM of Ghafouri et al., JSys 2024 (arXiv 2308.12871).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from baselines.ipa import IPA
from envs.scenario import Scenario


class RIM(IPA):
    """As many replicas of each stage as at the start, of the best variant that carries the load with them.

    Args:
        replicas: by service, where another number is wanted.
        settings: IPA's.

    Raises:
        ValueError: as IPA; on reset, a stage that has no replicas.
    """

    def __init__(self, replicas: Mapping[str, int] | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.replicas = dict(replicas or {})

    def reset(self, scenario: Scenario) -> None:
        """Starts afresh on a scenario."""
        started = {name: sum(n for kind, n in scenario.initial_deployment.replicas.items()
                             if set(kind.variants) & set(service.variants)) for name, service in scenario.services.items()}
        self._fixed = {**started, **self.replicas}
        without = [name for name, n in self._fixed.items() if n < 1]
        if without:
            raise ValueError(f"RIM needs replicas of {', '.join(without)}: give them, or an initial deployment that has some")
        super().reset(scenario)

    def counts(self, load_rps: float) -> np.ndarray:
        """The fixed number where it carries the load."""
        n = np.array([self._fixed[self._services[s]] for s in self._stage], dtype=float)
        enough = n * self._capacity_rps >= load_rps * (1 - 1e-9)
        return np.where(enough & (n <= self._most), n, 0.0)
