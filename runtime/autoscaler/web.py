"""The autoscaler's own pages, on a port of its own: /metrics and /healthz."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from runtime.autoscaler.process import Autoscaler


class Pages:
    """Serves the pages from threads until closed; bad metrics or a failing policy are no reason to be restarted.

    Args:
        autoscaler: what they tell about.
        host: to listen at.
        port: 0: any free one.
        silence_s: the loop is taken for hung when it has not come round for this long.

    Attributes:
        url: where they are.
    """

    def __init__(self, autoscaler: Autoscaler, host: str, port: int, silence_s: float) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                if self.path == "/metrics":
                    self._answer(200, CONTENT_TYPE_LATEST, generate_latest(autoscaler.meters.registry))
                elif self.path == "/healthz":
                    silent_s = autoscaler.silence_s()
                    body = {"alive": silent_s <= silence_s, "leading": autoscaler.leading, "silence_s": round(silent_s, 3)}
                    self._answer(200 if body["alive"] else 503, "application/json", json.dumps(body).encode())
                else:
                    self._answer(404, "text/plain", b"/metrics or /healthz\n")

            def _answer(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{host}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="pages", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
