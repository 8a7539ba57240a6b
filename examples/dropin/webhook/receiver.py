"""What takes Tidal's decisions where nobody has written an actuator: here it prints how many replicas of what are wanted.

    python examples/dropin/webhook/receiver.py 8090
    tidal autoscale ... --actuator webhook --control http://127.0.0.1:8090
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Receiver(BaseHTTPRequestHandler):
    """Carries out each decision once."""

    done = ""

    def do_POST(self) -> None:
        """One decision: 204 once it is carried out, 400 where it cannot be."""
        decision = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if decision["decision_id"] != Receiver.done:
            for entry in decision["deployment"]["replicas"]:
                print(f"{entry['count']} x {'+'.join(entry['kind']['variants'])}: {decision['reason']}", flush=True)
            Receiver.done = decision["decision_id"]
        self.send_response(204)
        self.end_headers()


if __name__ == "__main__":
    server = HTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver)
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()
