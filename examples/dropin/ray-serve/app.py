"""A service on Ray Serve that leaves its number of replicas to somebody else (see serve_config.yaml beside this file)."""

from __future__ import annotations

import asyncio
from typing import Any

from ray import serve

SECONDS = 0.05  # in place of a model


@serve.deployment(name="model", num_replicas=1, max_ongoing_requests=4, ray_actor_options={"num_cpus": 0.1},
                  graceful_shutdown_timeout_s=20)
class Model:
    """Answers after a while."""

    async def __call__(self, request: Any) -> str:
        """One request."""
        await asyncio.sleep(SECONDS)
        return "answered"


app = Model.bind()
