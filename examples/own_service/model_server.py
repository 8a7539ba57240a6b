"""A model server that knows nothing of Tidal: one model, one request at a time, and what every framework exports.

    python examples/own_service/model_server.py --port 9200

`POST /predict` with {"x": [numbers]} answers {"y": [numbers]}; `GET /metrics` is for Prometheus.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import torch
from prometheus_client import Counter, Gauge, Histogram, generate_latest

WIDTH, LAYERS, INPUTS = 2048, 6, 8
MODEL_TURN = threading.Lock()
REQUESTS = Counter("http_requests", "Requests that were answered.", ["code"])
IN_FLIGHT = Gauge("http_requests_in_flight", "Requests that have come and are not answered.")
LATENCY = Histogram("http_request_duration_seconds", "From a request to its answer.",
                    buckets=(0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0))  # fmt: skip


def model() -> torch.nn.Module:
    """Random weights, always the same."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    sizes = [INPUTS, *[WIDTH] * LAYERS, INPUTS]
    layers: list[torch.nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1]).eval()


class Handler(BaseHTTPRequestHandler):
    """Answers; see the module."""

    protocol_version = "HTTP/1.1"
    network: torch.nn.Module

    def do_POST(self) -> None:
        """`/predict`."""
        began_s = time.perf_counter()
        with IN_FLIGHT.track_inprogress():
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                x = torch.tensor(json.loads(body)["x"], dtype=torch.float32)
                with MODEL_TURN, torch.inference_mode():
                    answer, code = {"y": self.network(x[:INPUTS]).tolist()}, 200
            except (ValueError, KeyError, TypeError, RuntimeError) as error:
                answer, code = {"error": str(error)}, 400
        REQUESTS.labels(str(code)).inc()
        LATENCY.observe(time.perf_counter() - began_s)
        self._answer(code, json.dumps(answer).encode(), "application/json")

    def do_GET(self) -> None:
        """`/metrics`."""
        self._answer(200, generate_latest(), "text/plain; version=0.0.4")

    def _answer(self, code: int, body: bytes, kind: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silent."""


def main() -> None:
    """Serves until it is told to end."""
    parser = argparse.ArgumentParser(description="A model server of one replica.")
    parser.add_argument("--port", type=int, default=9200)
    Handler.network = model()
    server = ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server.serve_forever()


if __name__ == "__main__":
    main()
