"""The simulator and the live cluster, fed the same requests and the same policy, show a policy the same.

The live cluster is seen twice: through a real Prometheus, by the autoscaler that acts, and by another one that reads the
gateway's page itself and only watches. Replicas are emulated, in real time.
"""

import json
import math
import shutil
import subprocess
import time
from dataclasses import fields, is_dataclass

import numpy as np
import pytest
from every_feature import Whole
from live_system import Autoscaler, variation
from made_policies import Steps
from running import Standstill

from envs.scenario_file import load as read_scenario
from runtime import metrics
from runtime.autoscaler.observation_json import observation_from_json
from traces.load import RECORDED, make_load

INTERVALS, RATE_RPS, SEED = 12, 25.0, 3
SCRAPE_S = 0.2  # as in `live_system.Prometheus`
LATE_S = 0.1  # how late an event loop, a scrape and a client may be, together, on a machine that has other things to do
MEAN_LATE_S = 0.005  # of the event loop: 0.7 ms on a quiet machine (docs/models.md)

# A request is at one side of an edge of a window in one, and at the other in the other, for so long at each edge.
EDGE_S = SCRAPE_S + LATE_S
TOLERANCE = {
    "offered_rps": 4 * math.sqrt(RATE_RPS * 2 * EDGE_S) + 1,  # four standard deviations of the count at both edges, in 1 s
    "violation_ratio": 0.05, "late_ratio": 0.05, "rejected_ratio": 0.05, "dropped_ratio": 0.05, "failed_ratio": 0.05,
    "accuracy": 0.1 * EDGE_S * 2 + 0.05,  # the variants' accuracies differ by 0.1
    "p50_s": LATE_S / 2, "p95_s": LATE_S, "p99_s": 2 * LATE_S,
    "queue": RATE_RPS * LATE_S,
    "ready": 0.0, "pending": 0.0, "draining": 0.0, "pending_s": 2 * LATE_S,
    "busy_ratio": RATE_RPS * MEAN_LATE_S / 3 + 0.1,  # a replica is taken to be busy until its answer is seen; three at least
    "held": 0.0, "used": RATE_RPS * MEAN_LATE_S + 0.3, "free": 0.0, "memory_held_bytes": 0.0, "memory_free_bytes": 0.0,
    "interval_s": EDGE_S, "age_s": EDGE_S, "load_s": 2 * LATE_S,
}
# What all of them being late by a second would add: four replicas are there at most.
PER_LATENESS = {"p50_s": 1.0, "p95_s": 1.0, "p99_s": 1.0, "pending_s": 1.0, "interval_s": 1.0, "age_s": 1.0, "load_s": 1.0,
                "busy_ratio": 1.0, "used": 4.0, "queue": RATE_RPS, "offered_rps": RATE_RPS}


@pytest.fixture(scope="module")
def mirror(shared_system):
    """Observations by interval: simulated, through Prometheus, and scraped; and pages taken under load."""
    system = shared_system
    file = variation(system.folder, interval_s=1, service_cv=0.2, scrape={"interval_s": SCRAPE_S},
                     profile="mirror-latency.csv",
                     variants={"good": {"accuracy": 0.8, "load_s": 1.4, "memory_bytes": 100_000_000}})
    scenario = read_scenario(file)
    arrivals_s = np.cumsum(np.random.default_rng(SEED).exponential(1 / RATE_RPS, int(RATE_RPS * INTERVALS)))
    simulated = simulate(scenario, arrivals_s)

    cluster = system.cluster("--seed", SEED, scenario=file)
    prometheus = system.prometheus(tidal=[cluster.gateway])
    start = system.folder / "start"
    sources = {"prometheus": (prometheus.url, ()), "scrape": (None, ("--mode", "advisory"))}
    scalers = {source: Autoscaler(system.processes, cluster, system.folder / source, "made_policies:StepsFromStart", *more,
                                  source=source, url=url, STEPS_START=str(start))
               for source, (url, more) in sources.items()}
    for scaler in scalers.values():
        scaler.decides(2)
    start_s = math.ceil(time.time()) + 4
    (system.folder / "times.json").write_text(json.dumps((start_s + arrivals_s).tolist()))
    load = system.load(cluster, system.folder / "times.json")
    start.write_text(str(start_s))
    assert time.time() < start_s
    waited_s, pages = [], ()
    with Standstill() as standstill:
        for k in range(-2, INTERVALS + 1):
            time.sleep(max(0.0, start_s + k - time.time()))
            waited_s.append(cluster.running.waited_s())
            if k == INTERVALS // 2:
                pages = cluster.page_text(), scalers["prometheus"].page_text()
        time.sleep(1.0)
    load.end().all_right()
    if standstill.total_s > 6 * LATE_S:
        pytest.skip(f"this machine stood still for {standstill.total_s:.1f} s meanwhile")
    late_s = {k: waited_s[k + 2] - waited_s[k] for k in range(1, INTERVALS + 1)}  # in the intervals that end at k - 1 and at k
    moves = {INTERVALS} | {k for k in range(INTERVALS) if simulated[k].deployment != simulated[k + 1].deployment}
    acted_s = {k: at_s for k, at_s in times(scalers["prometheus"].records(), start_s).items() if k in moves}
    live = {source: Seen(scaler.records(), start_s, scenario, late_s, acted_s) for source, scaler in scalers.items()}
    return simulated, live, pages


class Seen:
    """What an autoscaler has seen at the end of each interval.

    Attributes:
        rows: by interval.
        late_s: by interval that can be compared, how long the cluster has waited for a processor in it and the one before: by
            so much may anything in it be late. Where that is long, or a decision was late, nothing is compared.
    """

    def __init__(self, intents, start_s, scenario, late_s, acted_s):
        self.rows = {round(i["t_s"] - start_s): observation_from_json(i["observation"], scenario) for i in intents}
        on_time = {round(i["t_s"] - start_s) for i in intents if i["at_s"] - i["t_s"] < 3 * LATE_S}
        after = {k for k, at_s in times(intents, start_s).items() if at_s > acted_s.get(k, math.inf)}
        self.late_s = {k: s for k, s in late_s.items() if s < 6 * LATE_S and {k - 2, k - 1, k} <= on_time and k not in after}

    def compared(self):
        """Intervals, each with how late things may be in it."""
        if len(self.late_s) < INTERVALS / 3:
            pytest.skip(f"this machine has too much to do: only {len(self.late_s)} of {INTERVALS} intervals can be compared")
        return self.late_s.items()


def times(intents, start_s):
    """When each interval's decision was written down."""
    return {round(intent["t_s"] - start_s): intent["at_s"] for intent in intents}


def simulate(scenario, arrivals_s):
    cluster = Whole(scenario, {"classify": make_load(RECORDED, recorded_s=arrivals_s)}, seed=SEED, record=True)
    policy = Steps()
    policy.reset(scenario)
    observations = [cluster.first_observation]
    for _ in range(INTERVALS):
        cluster.apply(policy.decide(observations[-1]).deployment)
        observations.append(cluster.advance())
    return observations


def numbers(observation):
    """All numbers of an observation, by their path."""
    found = {}

    def walk(path, value):
        if is_dataclass(value):
            for field in fields(value):
                walk((*path, field.name), getattr(value, field.name))
        elif isinstance(value, tuple):
            found[*path, "count"] = float(len(value))
            for i, part in enumerate(value):
                walk((*path, str(i)), part)
        else:
            found[path] = value

    for name in ("applications", "services", "kinds", "devices"):
        for key, row in getattr(observation, name).items():
            walk((name, str(key)), row)
    for name in ("interval_s", "age_s"):
        walk((name,), getattr(observation, name))
    for variant, load_s in observation.load_s.items():
        walk(("load_s", variant), load_s)
    assert len(fields(observation)) == 9  # a new one is to be compared too
    return found


@pytest.mark.parametrize("source", ["prometheus", "scrape"])
def test_the_same_is_there_and_the_same_is_missing(mirror, source):
    simulated, live, _ = mirror
    for k, _ in live[source].compared():
        there, here = numbers(simulated[k]), numbers(live[source].rows[k])
        assert there.keys() == here.keys()
        assert {p for p in there if math.isnan(there[p])} == {p for p in here if math.isnan(here[p])}, k
        assert simulated[k].deployment == live[source].rows[k].deployment
    first = live[source].rows[min(live[source].rows)]
    if source == "scrape":  # Prometheus knows what was before
        assert numbers(first).keys() == numbers(simulated[0]).keys()
        assert repr(first.applications) == repr(simulated[0].applications)
        assert repr(first.kinds) == repr(simulated[0].kinds)


@pytest.mark.parametrize("source", ["prometheus", "scrape"])
def test_the_numbers_are_the_same_within_what_noise_explains(mirror, source):
    simulated, live, _ = mirror
    wrong = []
    for k, late_s in live[source].compared():
        there, here = numbers(simulated[k]), numbers(live[source].rows[k])
        for path in there:
            name = next(part for part in reversed(path) if part in TOLERANCE)
            tolerance = TOLERANCE[name] + late_s * PER_LATENESS.get(name, 0.0)
            if abs(there[path] - here[path]) > tolerance:
                wrong.append((k, path, there[path], here[path], tolerance))
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.parametrize("source", ["prometheus", "scrape"])
def test_all_intervals_together_hold_the_same_requests(mirror, source):
    simulated, live, _ = mirror
    rows = [live[source].rows[k] for k in range(1, INTERVALS + 1) if k in live[source].rows]
    counts = [sum(row.services["classify"].offered_rps * row.interval_s for row in seen) for seen in (simulated[1:], rows)]
    assert counts[0] == pytest.approx(counts[1], abs=TOLERANCE["offered_rps"])  # edges between intervals cancel out
    accuracies = [np.mean([row.applications["classify"].accuracy for row in seen]) for seen in (simulated[1:], rows)]
    assert accuracies[0] == pytest.approx(accuracies[1], abs=0.02)


def test_the_pages_are_clean_and_hold_the_contract(mirror):
    *_, pages = mirror
    for text in pages:
        if promtool := shutil.which("promtool"):
            done = subprocess.run([promtool, "check", "metrics"], input=text.encode(), capture_output=True)
            assert (done.returncode, done.stdout + done.stderr) == (0, b"")
    for series in metrics.CONTRACT:
        assert f"# HELP {series.name} {series.help}" in pages[0], series.name
        assert f"# TYPE {series.name} {series.type}" in pages[0]
