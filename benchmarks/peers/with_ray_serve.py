"""The no-op model behind Ray Serve: one replica, raw Starlette requests, the same protocol in and out. Runs until SIGTERM.

The cluster is this process' own, with its files in the folder given. Besides as it is installed, Ray Serve runs with what its
documentation names for high throughput: HAProxy before the replicas, and `RAY_SERVE_THROUGHPUT_OPTIMIZED`.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import threading
from typing import Any

SETTINGS: dict[str, dict[str, str]] = {
    "as installed": {},
    "with HAProxy, throughput optimized": {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"},
}
MANY = 10_000


def environment(settings: str, folder: str) -> dict[str, str]:
    """What a process is to be started with: those settings, and all files in a folder of its own."""
    proxy = f"{folder}/haproxy"
    return {
        **SETTINGS[settings], "RAY_USAGE_STATS_ENABLED": "0", "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{proxy}/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{proxy}/admin.sock", "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": proxy,
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{proxy}/server-state", "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port())}


def application() -> Any:
    """The deployment."""
    import numpy as np
    import orjson
    import torch
    from ray import serve
    from starlette.requests import Request
    from starlette.responses import Response

    @serve.deployment(num_replicas=1, max_ongoing_requests=MANY, ray_actor_options={"num_cpus": 0})
    class Noop:
        def __init__(self) -> None:
            from benchmarks.measure_live.models import noop

            torch.set_num_threads(1)
            self._model = noop().eval()

        async def __call__(self, request: Request) -> Response:
            said = orjson.loads(await request.body())
            given = said["inputs"][0]
            with torch.inference_mode():
                answer = self._model(torch.from_numpy(np.array(given["data"], np.float32).reshape(given["shape"])))
            output = {"name": "output", "datatype": "FP32", "shape": list(answer.shape), "data": answer.ravel().tolist()}
            body = {"model_name": "noop", "model_version": "noop", "id": said["id"], "outputs": [output]}
            return Response(orjson.dumps(body), media_type="application/json")

    return Noop.bind()  # type: ignore[attr-defined]  # the decorator's doing


def main(folder: str) -> None:
    """Serve."""
    import ray
    from ray import serve

    stop, port = threading.Event(), free_port()
    os.makedirs(f"{folder}/haproxy", exist_ok=True)
    ray.init(num_cpus=2, include_dashboard=False, _temp_dir=folder, object_store_memory=100_000_000, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(application(), route_prefix="/v2/models/noop/infer", logging_config={"enable_access_log": False})
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    print(f"ray serve: port {port}", flush=True)
    stop.wait()
    serve.shutdown()
    ray.shutdown()


def free_port() -> int:
    """One of 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="for Ray's files")
    main(parser.parse_args().folder)
