"""Advice on somebody else's service, through its Prometheus: what would a policy do? Nothing is changed anywhere.

    python examples/12_advise.py                                        # with a service and a Prometheus of its own
    python examples/12_advise.py http://127.0.0.1:9090 job=my-service   # on yours

The adapter `http` knows the names that web frameworks export; there are others for vLLM, Triton and more. `tidal autoscale
--system http --mode advisory` does this for good, with a journal of all decisions.
"""

import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import prometheus_client as metrics
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agents import registry
from envs.envelope import guard
from envs.scenario_file import load
from runtime.sources.adapted import AdaptedSource
from runtime.sources.adapter import named, selected

SCENARIO = Path(__file__).parent / "own_scenario.yaml"
INTERVAL_S = 4


def free_port() -> int:
    """A port that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def serve(port: int) -> None:
    """Stands for a service: some 30 requests a second, counted and timed as frameworks do it."""
    metrics.start_http_server(port, "127.0.0.1")
    counted = metrics.Counter("http_requests", "answers", ["code"])
    timed = metrics.Histogram("http_request_duration_seconds", "from request to answer")
    while True:
        counted.labels("200").inc()
        timed.observe(random.gammavariate(4, 0.03))
        time.sleep(random.expovariate(30))


@contextmanager
def prometheus() -> Iterator[str]:
    """A Prometheus that scrapes it; its URL."""
    service, own = free_port(), free_port()
    threading.Thread(target=serve, args=(service,), daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        jobs = [{"job_name": "my-service", "static_configs": [{"targets": [f"127.0.0.1:{service}"]}]}]
        file = Path(folder, "prometheus.yml")
        file.write_text(yaml.safe_dump({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}))
        running = subprocess.Popen(["prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder}/data",
                                    f"--web.listen-address=127.0.0.1:{own}"], stderr=subprocess.DEVNULL)
        try:
            yield f"http://127.0.0.1:{own}"
        finally:
            running.terminate()
            running.wait()


def advise(url: str, select: str, decisions: int = 3) -> None:
    """Observation → policy → envelope, and what comes out is told."""
    scenario = load(SCENARIO)
    source = AdaptedSource(scenario, named("http"), url, selected(select), INTERVAL_S)
    policy, history, in_force = registry.make("hpa", scenario), (), scenario.initial_deployment
    policy.reset(scenario)
    for _ in range(decisions):
        time.sleep(INTERVAL_S)
        seen = source.read(time.time(), in_force)
        decision, notes, history = guard(policy.decide(seen), seen, scenario, history=history)
        rate = seen.applications["sentiment"].offered_rps
        print(f"load {rate:.0f} req/s: {decision.deployment} ({'; '.join([decision.reason, *notes])})", source.trouble)
    source.close()


if __name__ == "__main__":
    if len(sys.argv) == 3:
        advise(*sys.argv[1:])
    else:
        with prometheus() as address:
            advise(address, "job=my-service")
