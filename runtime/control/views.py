"""What a tenant may see of the cluster: its own services, and of what it shares with others only that it is there."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from envs.contract import Deployment, KindObservation, Observation, ReplicaKind
from envs.scenario import Scenario


@dataclass(frozen=True)
class View:
    """A caller's part of a scenario.

    Args:
        scenario: the problem.
        tenant: whose part; None: all.
    """

    scenario: Scenario
    tenant: str | None = None

    def service(self, name: str) -> bool:
        """Whether a service may be seen."""
        return self.tenant in (None, self.scenario.services[name].tenant)

    def application(self, name: str) -> bool:
        """Whether an application may be seen: all its services may."""
        return all(map(self.service, self.scenario.applications[name].services))

    def kind(self, kind: ReplicaKind) -> bool:
        """Whether a kind may be seen: it hosts a variant of a service that may."""
        return self.tenant is None or any(map(self.service, self._hosted(kind)))

    def problem(self) -> dict[str, Any]:
        """What may be seen of the scenario: what observations are to be held against."""
        scenario, mine = self.scenario, self.tenant is None
        return {
            "name": scenario.name, "interval_s": scenario.interval_s, "currency": scenario.currency if mine else None,
            "applications": {name: {"slo_s": a.slo_s, "services": list(a.services)}
                             for name, a in scenario.applications.items() if self.application(name)},
            "services": {name: {"variants": list(s.variants), "tenant": s.tenant}
                         for name, s in scenario.services.items() if self.service(name)},
            "devices": {name: {"budget": d.budget, "price": d.price} for name, d in scenario.devices.items() if mine},
        }  # fmt: skip

    def deployment(self, deployment: Deployment) -> Deployment:
        """What may be seen of a deployment."""
        return Deployment(
            {kind: n for kind, n in deployment.replicas.items() if self.kind(kind)},
            {name: shares for name, shares in deployment.routes.items() if self.service(name)},
            {(name, stage): t for (name, stage), t in deployment.thresholds.items() if self.application(name)})

    def observation(self, observation: Observation) -> Observation:
        """What may be seen of an observation; load of others on shared kinds and devices is missing."""
        if self.tenant is None:
            return observation
        variants = {v for name, s in self.scenario.services.items() if self.service(name) for v in s.variants}
        return replace(
            observation,
            deployment=self.deployment(observation.deployment),
            applications={name: row for name, row in observation.applications.items() if self.application(name)},
            services={name: row for name, row in observation.services.items() if self.service(name)},
            kinds={kind: self._alone(kind, row) for kind, row in observation.kinds.items() if self.kind(kind)},
            devices={},
            load_s={name: load_s for name, load_s in observation.load_s.items() if name in variants})

    def _alone(self, kind: ReplicaKind, row: KindObservation) -> KindObservation:
        shared = not all(map(self.service, self._hosted(kind)))
        return replace(row, queue=math.nan, busy_ratio=math.nan) if shared else row

    def _hosted(self, kind: ReplicaKind) -> list[str]:
        return [name for name, s in self.scenario.services.items() if set(s.variants) & set(kind.variants)]
