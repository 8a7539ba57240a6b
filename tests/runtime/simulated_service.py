"""A simulated cluster as a live service: /metrics by the metric contract and the control API over HTTP, on a fake clock."""

import json
import socket
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from prometheus_client import CollectorRegistry, generate_latest

from envs import state as st
from envs.cluster import SimulatedCluster
from envs.contract import Policy
from runtime.deployment_json import DeploymentError, from_json, to_json
from runtime.exposition import expose
from traces.samplers import POISSON, make_load

TOKEN = "a secret"


def swelling_load(scenario, low_rps, high_rps, seed=0, bin_s=10.0, bins=400):
    """A load for every application that wanders between two rates."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(0, 0.08, (len(scenario.applications), bins)).cumsum(1)
    rates = low_rps + (high_rps - low_rps) * (0.5 + 0.5 * np.sin(steps + np.arange(bins) / 15))
    return {name: make_load(POISSON, rate, bin_s) for name, rate in zip(scenario.applications, rates)}


class SimulatedService:
    """The cluster, what is desired of it, and what was asked of its control API."""

    def __init__(self, scenario, loads, seed=0):
        self.scenario = scenario
        self.cluster = SimulatedCluster(scenario, loads, seed=seed)
        self.desired, self.version, self.decision_id = self.cluster.deployment, 1, ""
        self.accepted = []  # (decision_id, deployment) of each change
        self.told = []  # accounts of decisions
        self.puts = 0
        self.pages = {0.0: self.page()}
        self.registry = None

    def advance_to(self, t_s):
        """Plays the intervals up to a time; what is desired takes effect at the beginning of each."""
        while self.cluster.t_s < t_s - 1e-9:
            self.cluster.apply(self.desired)
            self.cluster.advance()
            self.pages[self.cluster.t_s] = self.page()

    def page(self):
        """The exposition as a Prometheus that scrapes as the scenario says would have it now."""
        cluster, started = self.cluster, {}
        for slot in np.flatnonzero(cluster.state.replica_status == st.PENDING):
            kind = cluster.kinds[cluster.state.replica_kind[slot]]
            started.setdefault(kind, []).append(float(cluster.state.replica_born[slot]))
        mean_s, seen_s = cluster.model.kind_load_s, cluster.state.load_seen
        cold = {kind: float(seen_s[k]) for k, kind in enumerate(cluster.kinds) if seen_s[k] != mean_s[k]}
        registry = CollectorRegistry()
        registry.register(_Families(list(expose(self.scenario, cluster.kinds, cluster._samples[-1], started_s=0.0,
                                                pending_since_s=started, cold_start_s=cold))))
        return generate_latest(registry)

    def put(self, version, body):
        """The control API's PUT: status and answer."""
        self.puts += 1
        if body["decision_id"] != self.decision_id:
            if version is None:
                return 428, {"error": "If-Match is missing"}
            if version != f'"{self.version}"':
                return 412, self.in_force()
            try:
                self.desired = from_json(body["deployment"])
            except DeploymentError as error:
                return 400, {"error": str(error)}
            self.version, self.decision_id = self.version + 1, body["decision_id"]
            self.accepted.append((self.decision_id, self.desired))
        return 200, self.in_force()

    def in_force(self):
        return {"deployment": to_json(self.desired), "version": str(self.version), "decision_id": self.decision_id}


class _Families:
    def __init__(self, families):
        self._families = families

    def collect(self):
        return self._families


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits 40 ms for an acknowledgement
    service: SimulatedService

    def do_GET(self):
        service = self.service
        path, _, query = self.path.partition("?")
        if path == "/metrics":  # /metrics?30.0: as it was at 30 s
            page = service.pages.get(float(query) if query else service.cluster.t_s)
            self._answer(200 if page else 404, page or b"", "text/plain; version=0.0.4")
        elif path == "/v1/deployment" and self._allowed():
            self._answer(200, service.in_force())
        elif path == "/clock":
            self._answer(200, {"t_s": service.cluster.t_s})

    def do_PUT(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/clock":
            self.service.advance_to(body["t_s"])
            self._answer(200, {})
        elif self.path == "/v1/deployment" and self._allowed():
            self._answer(*self.service.put(self.headers.get("If-Match"), body))
        elif self.path == "/v1/decision" and self._allowed():
            self.service.told.append(body)
            self._answer(200, {"number": len(self.service.told)})

    def _allowed(self):
        allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if not allowed:
            self._answer(401, {"error": "a bearer token is needed"})
        return allowed

    def _answer(self, status, body, kind="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@contextmanager
def serving(handler, **attributes):
    """A handler class at a free port of 127.0.0.1; gives its URL."""
    server = _Server(("127.0.0.1", 0), type("Handler", (handler,), attributes))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.hang_up()
        server.server_close()  # waits for the threads of all connections
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._connections = []

    def process_request(self, request, client_address):
        self._connections.append(request)
        super().process_request(request, client_address)

    def hang_up(self):
        """Ends the connections that clients keep open."""
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request, client_address):
        pass  # a client that has gone is what some tests are about


def serve(service):
    """A simulated service at a free port."""
    return serving(_Handler, service=service)


class FakeClock:
    """Time that passes only by sleeping; `on_time` is called with each new time, and stops the run after `last_s`."""

    def __init__(self, start_s=0.0, last_s=float("inf"), on_time=lambda t_s: None):
        self._now_s, self._last_s, self._on_time = start_s, last_s, on_time

    def now_s(self):
        return self._now_s

    def sleep_until(self, t_s, stop):
        if t_s > self._last_s:
            stop.set()
        elif t_s > self._now_s:
            self._now_s = t_s
            self._on_time(t_s)


class Recorder(Policy):
    """A policy that keeps what it has seen."""

    def __init__(self, policy):
        self._policy, self.seen = policy, []
        self.memory_intervals = policy.memory_intervals

    def reset(self, scenario):
        self._policy.reset(scenario)
        self.memory_intervals = self._policy.memory_intervals

    def decide(self, observation):
        self.seen.append(observation)
        return self._policy.decide(observation)
