"""A deployment as the kernel takes it, once it takes effect."""

from __future__ import annotations

from collections.abc import Sequence

from envs import state as st
from envs.contract import Deployment, ReplicaKind
from envs.model import leave_table
from envs.scenario import Scenario
from envs.state import State


def write_next(state: State, scenario: Scenario, kinds: Sequence[ReplicaKind], deployment: Deployment) -> None:
    """Writes a deployment where the kernel takes it from when it takes effect."""
    state.kind_next_wanted[:] = [deployment.replicas.get(kind, 0) for kind in kinds]
    variants = list(scenario.variants)
    for z, service in enumerate(scenario.services):
        entries = sorted(
            (kinds.index(kind), variants.index(variant), share)
            for (kind, variant), share in deployment.routes.get(service, {}).items()
            if share > 0
        )
        state.route_count[z, st.NEXT_ROUTES] = len(entries)
        for e, (k, v, share) in enumerate(entries):
            state.route_i[z, st.NEXT_ROUTES, e] = k, v
            state.route_f[z, st.NEXT_ROUTES, e, 0] = share
    state.leave[1] = leave_table(scenario, dict(deployment.thresholds), state.leave.shape[2])
