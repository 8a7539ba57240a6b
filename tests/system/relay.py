"""Between two parts that speak HTTP: passes on what is asked and answered, but for what a test has gone wrong."""

import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests


class Relay:
    """Passes GET and POST on.

    Args:
        to: URL that it stands before.

    Attributes:
        url: of itself.
        change: what is made of a body on the way back.
        delay_s: before each answer.
        gone: it hangs up on everybody.
    """

    def __init__(self, to):
        self.change, self.delay_s, self.gone = lambda body: body, 0.0, False
        relay = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 5.0

            def do_GET(self):
                self._pass_on(None)

            def do_POST(self):
                self._pass_on(self.rfile.read(int(self.headers.get("Content-Length", 0))))

            def _pass_on(self, body):
                self.close_connection = relay.gone
                if relay.gone:
                    return
                headers = {"Content-Type": self.headers["Content-Type"]} if "Content-Type" in self.headers else {}
                try:
                    found = requests.request(self.command, to + self.path, data=body, headers=headers, timeout=5.0)
                    status, text = found.status_code, relay.change(found.content)
                    kind = found.headers.get("Content-Type", "text/plain")
                except requests.RequestException as error:
                    status, text, kind = 502, str(error).encode(), "text/plain"
                time.sleep(relay.delay_s)
                with suppress(OSError):
                    self.send_response(status)
                    self.send_header("Content-Type", kind)
                    self.send_header("Content-Length", str(len(text)))
                    self.end_headers()
                    self.wfile.write(text)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # clients that have gone are what some tests are about
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self):
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
