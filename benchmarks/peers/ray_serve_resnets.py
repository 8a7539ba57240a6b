"""ResNets behind Ray Serve with its own autoscaler: one to two replicas of a core each, the same protocol. Until SIGTERM.

Every half second it prints how many replicas there are. The cluster is this process' own, with its files in the folder given.
Ray Serve scales replicas of one model: which one is said when it starts.
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
from typing import Any

from benchmarks.peers.with_ray_serve import free_port

AS_INSTALLED = {"upscale_delay_s": 30.0, "downscale_delay_s": 600.0, "metrics_interval_s": 10.0, "look_back_period_s": 30.0}
"""The times of its autoscaler, as its documentation gives them."""
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_SERVE_ENABLE_TASK_EVENTS": "0"}
LOOK_S = 0.5
MOST_ONGOING = 1000  # of a replica: it queues what is too much, as the others here do
DEPLOYMENT, APPLICATION = "Classify", "default"


def application(description: str, name: str, replicas: int, faster: float, target: float) -> Any:
    """The deployment, scaled by how many requests are under way."""
    import numpy as np
    import orjson
    import torch
    from ray import serve
    from starlette.requests import Request
    from starlette.responses import Response

    from runtime.models import catalogue

    scaling = {what: time_s / faster for what, time_s in AS_INSTALLED.items()}

    @serve.deployment(name=DEPLOYMENT, max_ongoing_requests=MOST_ONGOING, ray_actor_options={"num_cpus": 1},
                      autoscaling_config={"min_replicas": 1, "max_replicas": replicas, "initial_replicas": 1,
                                          "target_ongoing_requests": target, **scaling})
    class Classify:
        def __init__(self) -> None:
            torch.set_num_threads(1)
            self._model = catalogue.make(description)
            self._model.load()
            self._model.warm_up(1)

        async def __call__(self, request: Request) -> Response:
            if request.method == "GET":
                inputs = [{"name": s.name, "datatype": s.datatype, "shape": list(s.shape)} for s in self._model.inputs]
                return Response(orjson.dumps({"name": "classify", "inputs": inputs}), media_type="application/json")
            given = orjson.loads(await request.body())["inputs"][0]
            answer = self._model.run((torch.from_numpy(np.array(given["data"], np.float32).reshape(given["shape"])),))[0]
            output = {"name": "output", "datatype": "FP32", "shape": list(answer.shape), "data": answer.ravel().tolist()}
            body = {"model_name": "classify", "model_version": name, "outputs": [output]}
            return Response(orjson.dumps(body), media_type="application/json")

    return Classify.bind()  # type: ignore[attr-defined]  # the decorator's doing


def main(options: argparse.Namespace) -> None:
    """Serve."""
    import ray
    from ray import serve

    stop, port = threading.Event(), free_port()
    os.environ.update(ENVIRONMENT)
    ray.init(num_cpus=options.replicas + 1, include_dashboard=False, _temp_dir=options.folder,
             object_store_memory=100_000_000, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(application(options.model, options.name, options.replicas, options.faster, options.target),
              route_prefix="/v2/models/classify", logging_config={"enable_access_log": False})
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    print(f"ray serve: port {port}", flush=True)
    while not stop.wait(LOOK_S):
        states = serve.status().applications[APPLICATION].deployments[DEPLOYMENT].replica_states
        print(f"replicas {sum(states.values())}", flush=True)
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="for Ray's files")
    parser.add_argument("--model", required=True, help="as `runtime.models.catalogue` describes it")
    parser.add_argument("--name", required=True, help="of its variant, in answers")
    parser.add_argument("--replicas", type=int, default=2, help="at most")
    parser.add_argument("--faster", type=float, default=1.0, help="the autoscaler's times are divided by this")
    parser.add_argument("--target", type=float, default=2.0, help="requests under way for each replica (Ray Serve's own: 2)")
    main(parser.parse_args())
