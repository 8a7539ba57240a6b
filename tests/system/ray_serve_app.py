"""The example of Ray Serve as a process, until its standard input is closed. Writes `serving URL DASHBOARD`."""

import logging
import sys
from pathlib import Path

import ray
from ray import serve
from running import free_port

sys.path.append(str(Path(__file__).parents[2] / "examples" / "dropin" / "ray-serve"))
from app import app


def main():
    dashboard, port = free_port(), free_port()
    ray.init(num_cpus=2, include_dashboard=True, dashboard_host="127.0.0.1", dashboard_port=dashboard,
             object_store_memory=80 * 2**20, log_to_driver=False, logging_level=logging.WARNING)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(app, name="app", route_prefix="/", external_scaler_enabled=True)
    print("serving", f"http://127.0.0.1:{port}/", f"http://127.0.0.1:{dashboard}", flush=True)
    sys.stdin.read()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
