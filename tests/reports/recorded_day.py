"""A recorded day for a real Prometheus: what each serving system would have exported, and the load that is the truth."""

import shutil
import subprocess
import time
from contextlib import contextmanager

import numpy as np

BEGAN_S = 1_793_491_200.0  # 2026-11-01 00:00 UTC
SCRAPE_S = 60
STEPS = 24 * 60
GAP = (600, 640)  # scrapes that are missing
SERVICE_S, EDGES_S = 0.1, (0.05, 0.1, 0.2, 0.4, 0.8)


class Day:
    """The truth: (STEPS,) requests in each step, and (STEPS,) pods; each pod's part of the requests and of the latencies.

    Two pods all day, a third from step 480 to step 960; the first one is restarted, and its counters with it, at step 300.
    """

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        hour = np.arange(STEPS) / 60
        self.requests = rng.poisson(SCRAPE_S * (12 + 8 * np.sin(2 * np.pi * (hour - 8) / 24)))
        self.pods = 2 + ((np.arange(STEPS) >= 480) & (np.arange(STEPS) < 960)).astype(int)
        self.shares = np.zeros((3, STEPS), int)
        for t, (n, pods) in enumerate(zip(self.requests, self.pods)):
            self.shares[:pods, t] = rng.multinomial(n, np.full(pods, 1 / pods))
        chances = (0.02, 0.5, 0.4, 0.06, 0.015, 0.005)
        self.buckets = np.stack([[rng.multinomial(n, chances) for n in row] for row in self.shares])
        middle = np.array([0.04, 0.075, 0.14, 0.28, 0.5, 1.0])
        self.latency_s = self.buckets @ middle

    @property
    def seen(self):
        """(STEPS,) False in the gap: no sample at the edges of its scrapes."""
        steps = np.arange(STEPS)
        return (steps < GAP[0] - 1) | (steps >= GAP[1])

    def counter(self, pod, per_step):
        """(times, values) of a counter of a pod, scraped at the end of each step that it lived in, or from the very start."""
        lived = np.flatnonzero(self.pods > pod)
        value, told = 0.0, []
        if lived[0] == 0:
            told.append((BEGAN_S, 1000.0))
            value = 1000.0
        for t in lived:
            if pod == 0 and t == 300:
                value = 0.0
            value += per_step[t]
            if not GAP[0] <= t + 1 < GAP[1]:
                told.append((BEGAN_S + (t + 1) * SCRAPE_S, value))
        return told


def exposition(day, counters, gauges=()):
    """OpenMetrics text. `counters`: (name, labels, by pod (STEPS,) increments); `gauges`: (name, labels, pod, value)."""
    lines = []
    for name, labels, pod, per_step in counters:
        lines += [f"{name}{{{_labels(labels, pod)}}} {value:.10g} {t:.0f}" for t, value in day.counter(pod, per_step)]
    for name, labels, pod, value in gauges:
        lines += [f"{name}{{{_labels(labels, pod)}}} {value} {t:.0f}" for t, _ in day.counter(pod, np.zeros(STEPS))]
    return lines


def requests_of(day, name, labels, share=1):
    """One counter of requests for each pod."""
    return [(name, labels, pod, day.shares[pod] // share) for pod in range(3)]


def histogram_of(day, name, labels, unit=1.0):
    """The series of a latency histogram for each pod."""
    found = []
    for pod in range(3):
        up_to = np.cumsum(day.buckets[pod], axis=1)
        for i, edge in enumerate((*EDGES_S, np.inf)):
            le = "+Inf" if edge == np.inf else f"{edge * unit:g}"
            found.append((f"{name}_bucket", f'{labels},le="{le}"', pod, up_to[:, i]))
        found.append((f"{name}_count", labels, pod, up_to[:, -1]))
        found.append((f"{name}_sum", labels, pod, day.latency_s[pod] * unit))
    return found


def backfill(folder, lines):
    """Blocks of a Prometheus from these lines."""
    text = folder / "day.txt"
    text.write_text("\n".join(lines) + "\n# EOF\n")
    made = subprocess.run([shutil.which("promtool"), "tsdb", "create-blocks-from", "openmetrics", text, folder / "data"],
                          capture_output=True, text=True, timeout=120)
    assert made.returncode == 0, made.stderr


@contextmanager
def prometheus(folder):
    """A Prometheus that holds what was backfilled, and scrapes nothing; gives its URL."""
    (folder / "prometheus.yml").write_text("scrape_configs: []\n")
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [shutil.which("prometheus"), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
             "--storage.tsdb.retention.time=50y", "--web.listen-address=127.0.0.1:0"], stdout=out, stderr=out)
    try:
        yield f"http://{_until(lambda: _address(log))}"
    finally:
        process.terminate()
        process.wait(30)


def _labels(labels, pod):
    return f'{labels},instance="10.0.0.{pod}:8000",job="model"'


def _address(log):
    text = log.read_text()
    if "Server is ready to receive web requests" not in text:
        return None
    line = next(line for line in text.splitlines() if "Listening on" in line and "address=" in line)
    return line.partition("address=")[2].split()[0].strip('"')


def _until(function):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if (found := function()) is not None:
            return found
        time.sleep(0.05)
    raise AssertionError("Prometheus does not come up")
