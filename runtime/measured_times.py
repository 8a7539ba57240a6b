"""What a live cluster adds to what its profile says, measured on itself: messages, loads, decisions, metrics.

The cluster must be idle. Requests go out one after another, so that none waits for another, at the pace of the load that is
expected: a model that computes is slower after a rest than in the loop in which it was profiled. What they take beyond the
profile is the cluster's own. A part of it holds the server, where it is given nothing else until its answer is seen; the rest
only makes the answer later. Replicas are started one at a time beside what runs, and go again; one client asks on meanwhile,
since a replica that loads and those that compute take from each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import mean, median

import aiohttp
import orjson
import requests

from envs.contract import Deployment, ReplicaKind
from envs.scenario import Scenario
from runtime import metrics as m
from runtime.actuators.bearer import Bearer
from runtime.actuators.cluster import ClusterActuator
from runtime.gateway.kinds import Kind
from runtime.load_generator import bearer, request_for
from runtime.sources.page import Page, parsed

BLOCKS = 10  # of requests; the median block is taken
QUIET_S = 1.0
REST_S = 0.2  # longer rests change nothing more
READ_EVERY_S = 0.05
LOOK_S = 0.2  # at a load; more often would take from what is measured
TIMEOUT_S = 10.0

Span = tuple[float, float]  # seconds: from, to


@dataclass(frozen=True)
class MeasuredTimes:
    """Seconds, each beside what the scenario says already.

    Attributes:
        message_s: that each answer of a stage comes later, while no server is held.
        hold_s: that each batch holds its server longer.
        load_s: from start to ready, by variant, beside a replica that computes.
        load_slowdown: how many times as long a batch takes while a replica loads.
        decide_s: to read the metrics and have a deployment accepted.
        scrape_s, lag_s: between two samples of the metrics, and from a sample until it can be read; 0: they are read at once.
    """

    message_s: float
    hold_s: float
    load_s: Mapping[str, float] = field(default_factory=dict)
    decide_s: float = 0.0
    scrape_s: float = 0.0
    lag_s: float = 0.0
    load_slowdown: float = 1.0


class ClusterBusy(RuntimeError):
    """The cluster serves somebody: what is measured would be theirs."""


class MeasuredCluster:
    """A live cluster to be measured.

    Args:
        scenario: that it serves.
        gateway, control: URLs.
        token_file: of the operator, for the control API.
        tenant_token_file: of a tenant, for requests.
    """

    def __init__(self, scenario: Scenario, gateway: str, control: str, token_file: Path | None = None,
                 tenant_token_file: Path | None = None) -> None:
        self._scenario, self._gateway, self._control = scenario, gateway.rstrip("/"), control.rstrip("/")
        self._actuator = ClusterActuator(control, token_file)
        self._headers = bearer(tenant_token_file.read_text(encoding="utf-8").strip()) if tenant_token_file else {}
        self._session = requests.Session()
        self._session.auth = Bearer.of(token_file)

    def close(self) -> None:
        """Closes its connections."""
        self._actuator.close()
        self._session.close()

    def page(self) -> Page:
        """All metrics, now.

        Raises:
            OSError: nobody answers, or not with metrics.
        """
        try:
            answer = self._session.get(f"{self._control}/metrics", timeout=TIMEOUT_S)
        except requests.RequestException as error:
            raise OSError(f"{self._control}: nobody answers there ({type(error).__name__})") from error
        if answer.status_code != 200:
            raise OSError(f"{self._control}/metrics: HTTP {answer.status_code}; give --token-file")
        return parsed(answer.text)

    def check_idle(self) -> None:
        """Passes where no request comes.

        Raises:
            ClusterBusy: some do.
        """
        before = self._offered()
        time.sleep(QUIET_S)
        if came := self._offered() - before:
            raise ClusterBusy(f"{self._gateway}: {came:.0f} requests came within {QUIET_S:g} s; "
                              "calibrate a cluster that nobody else asks")

    def _offered(self) -> float:
        return sum(value for key, value in self.page().values.items() if key[0] == m.OFFERED.name)

    # ---- messages

    def messages(self, count: int, rps: float = math.inf) -> tuple[float, float]:
        """`message_s` and `hold_s`, from that many requests to the scenario's first application.

        Args:
            count: of the requests.
            rps: sent in a second, at most: each waits for the answer to the last one, and none rests longer than `REST_S`.

        Raises:
            ValueError: requests are not answered.
            OSError: nobody answers.
        """
        application = next(iter(self._scenario.applications))
        deployment = self._actuator.current().deployment
        apart_s = min(1 / rps, REST_S)
        blocks = [self._block(application, deployment, max(1, count // BLOCKS), apart_s) for _ in range(BLOCKS)]
        late_s, held_s = (median(block[i] for block in blocks) for i in (0, 1))
        hold_s = 0.0 if _sent_ahead(self._scenario, deployment) else max(0.0, held_s)
        return max(0.0, late_s - hold_s), hold_s

    def _block(self, application: str, deployment: Deployment, count: int, apart_s: float) -> tuple[float, float]:
        """By how much answers of a stage were late, and servers held longer, than the profile says; means."""
        before = self.page().values
        latency_s = asyncio.run(self._ask(application, count, apart_s))
        after = self.page().values
        busy = {kind: after[m.BUSY_SERVERS.name, str(kind)] - before[m.BUSY_SERVERS.name, str(kind)]
                for kind in deployment.replicas}
        held_s = sum(s * kind.shape.inter_op for kind, s in busy.items())
        batches, profiled_s, waited_s = 0.0, 0.0, 0.0
        for key, value in after.items():
            if key[0] == m.ANSWERS.name and (answers := value - before.get(key, 0.0)):
                kind = _host(deployment, str(key[2]))
                batches += answers
                profiled_s += answers * self._profiled_s(kind, str(key[2]))
                waited_s += answers * kind.max_wait_s * (kind.batch > 1)
        return (sum(latency_s) - profiled_s - waited_s) / batches, (held_s - profiled_s) / batches

    def _profiled_s(self, kind: ReplicaKind, variant: str) -> float:
        """From when a server takes a request of its own to its answer."""
        scenario = self._scenario
        stretch = 1 + scenario.stage_overhead_ratio * kind.shape.inter_op
        return stretch * sum(scenario.profile.latency_s(variant, kind.shape, 1)) + scenario.overhead_s

    async def _ask(self, application: str, count: int, apart_s: float) -> list[float]:
        """Latencies of requests that go out one after another, so far apart where answers let them, over one connection."""
        found: list[float] = []
        async with contextlib.aclosing(self._answers(application, apart_s)) as answers:
            async for sent_s, done_s in answers:
                found.append(done_s - sent_s)
                if len(found) > count:
                    break
        return [mean(found[1:]), *found[1:]]  # in place of the first, which opened the connection

    async def _answers(self, application: str, apart_s: float) -> AsyncGenerator[Span, None]:
        """When each was sent, and answered; without an end."""
        async with aiohttp.ClientSession(headers=self._headers, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session:
            body = orjson.dumps(await request_for(session, self._gateway, application))
            while True:
                sent_s = time.perf_counter()
                async with session.post(f"{self._gateway}/v2/models/{application}/infer", data=body) as answer:
                    await answer.read()
                    if answer.status != 200:
                        raise ValueError(f"{self._gateway}: '{application}' answers HTTP {answer.status}")
                done_s = time.perf_counter()
                await asyncio.sleep(max(0.0, sent_s + apart_s - done_s))
                yield sent_s, done_s

    # ---- loads and decisions

    def loads(self, starts: int) -> tuple[dict[str, float], float]:
        """`load_s` of every variant that a replica can be started of beside what runs, medians of so many starts; and
        `load_slowdown`, to a hundredth. One client asks meanwhile, again as soon as it is answered.

        Raises:
            TimeoutError: a replica did not come up.
            ValueError: the cluster refuses it, or requests are not answered.
            OSError: nobody answers.
        """
        load_s: dict[str, float] = {}
        alone: list[Span] = []
        beside: list[Span] = []
        if not (kinds := self._startable()):
            return {}, 1.0
        with self._asked() as answers:
            for variant, kind in kinds.items():
                taken_s = []
                for _ in range(starts):
                    time.sleep(REST_S)  # the last one leaves
                    quiet_s = time.perf_counter()
                    time.sleep(QUIET_S)
                    began_s = time.perf_counter()
                    taken_s.append(self._load_s(kind))
                    alone.append((quiet_s, began_s))
                    beside.append((began_s, began_s + taken_s[-1]))
                load_s[variant] = median(taken_s)
        slower = _mean_s(answers, beside) / _mean_s(answers, alone)
        return load_s, 1.0 if math.isnan(slower) else round(max(1.0, slower), 2)

    @contextlib.contextmanager
    def _asked(self) -> Iterator[list[Span]]:
        """Meanwhile one client asks the first application without a rest: when each request was sent, and answered."""
        answers: list[Span] = []
        over = threading.Event()

        async def ask() -> None:
            async with contextlib.aclosing(self._answers(next(iter(self._scenario.applications)), 0.0)) as coming:
                async for answer in coming:
                    answers.append(answer)
                    if over.is_set():
                        break

        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(asyncio.run, ask())
            try:
                yield answers
            finally:
                over.set()
        asking.result()

    def _startable(self) -> dict[str, ReplicaKind]:
        """By variant, the smallest kind of it alone, where it fits beside what runs."""
        found = {}
        for variant in self._scenario.variants:
            alone = (kind for kind in self._scenario.kinds if kind.variants == (variant,))
            kind = min(alone, key=lambda kind: kind.shape.units, default=None)
            if kind is not None and self._fits(kind):
                found[variant] = kind
        return found

    def _fits(self, kind: ReplicaKind) -> bool:
        held = self._actuator.current().deployment.units(kind.shape.device)
        return held + kind.shape.units <= self._scenario.devices[kind.shape.device].budget

    def _load_s(self, kind: ReplicaKind) -> float:
        before = self._actuator.current().deployment
        wanted = before.replicas.get(kind, 0) + 1
        self._apply(Deployment({**before.replicas, kind: wanted}, before.routes, before.thresholds))
        try:
            until_s = time.monotonic() + 60 + 10 * self._scenario.load_s(kind)
            while (page := self.page()).values.get((m.REPLICAS.name, str(kind), "ready"), 0.0) < wanted:
                if time.monotonic() > until_s:
                    raise TimeoutError(f"a replica of {kind} did not become ready")
                time.sleep(LOOK_S)
            return page.values[m.COLD_START.name, str(kind)]
        finally:
            self._apply(before)

    def _apply(self, deployment: Deployment) -> float:
        """Makes a deployment the desired one; returns how long that took, seconds."""
        version, began_s = self._actuator.current().version, time.perf_counter()
        outcome = self._actuator.apply(deployment, version, f"calibrate-{time.time_ns()}")
        if outcome.status != "applied":
            raise ValueError(f"{self._control}: {outcome.status}: {outcome.detail}")
        return time.perf_counter() - began_s

    def decide_s(self, times: int = 5) -> float:
        """Median time to read the metrics and have a deployment, the one in force, accepted."""
        taken = []
        for _ in range(times):
            began_s = time.perf_counter()
            self.page()
            read_s = time.perf_counter() - began_s
            taken.append(read_s + self._apply(self._actuator.current().deployment))
        return median(taken)


def metric_lag(prometheus: str, times: int = 60) -> tuple[float, float]:
    """`scrape_s` and `lag_s` of a Prometheus, from how old its newest sample is at so many times.

    Raises:
        OSError: it does not answer, or has no sample of a cluster.
    """
    url = f"{prometheus.rstrip('/')}/api/v1/query"
    seen: dict[float, float] = {}  # by sample, how old it was when it was seen first
    with requests.Session() as session:
        for _ in range(times):
            answer = session.get(url, params={"query": m.EXPOSED_AT.name}, timeout=TIMEOUT_S)
            rows = answer.json().get("data", {}).get("result", []) if answer.status_code == 200 else []
            if not rows:
                raise OSError(f"{prometheus}: no {m.EXPOSED_AT.name} there; is the gateway scraped?")
            sampled_s = min(float(row["value"][1]) for row in rows)
            seen.setdefault(sampled_s, time.time() - sampled_s)
            time.sleep(READ_EVERY_S)
    samples = sorted(seen)
    if len(samples) < 3:
        raise OSError(f"{prometheus}: no new sample within {times * READ_EVERY_S:g} s; scrape more often")
    apart_s = median(later - earlier for earlier, later in pairwise(samples))
    return round(apart_s, 2), max(0.0, median(seen[s] for s in samples[1:]) - READ_EVERY_S / 2)


def _mean_s(answers: Sequence[Span], spans: Sequence[Span]) -> float:
    """Mean latency of the requests that were sent and answered within one of the spans; nan: there are none."""
    within = [done_s - sent_s for sent_s, done_s in answers if any(a_s <= sent_s and done_s <= b_s for a_s, b_s in spans)]
    return mean(within) if within else math.nan


def _sent_ahead(scenario: Scenario, deployment: Deployment) -> bool:
    """Whether replicas have their next batch before they have answered the last one (`runtime.gateway.queues`)."""
    singly = all(kind.batch == 1 and Kind(scenario, kind, 0).in_order for kind in deployment.replicas)
    return singly and scenario.binding == "early"


def _host(deployment: Deployment, variant: str) -> ReplicaKind:
    return next(kind for kind in deployment.replicas if variant in kind.variants)


def calibrated(scenario: Scenario, times: MeasuredTimes) -> Scenario:
    """The scenario with these times where the simulator takes them."""
    loads = {name: variant.model_copy(update={"load_s": times.load_s.get(name, variant.load_s)})
             for name, variant in scenario.variants.items()}
    scrape = scenario.scrape.model_copy(update={"interval_s": times.scrape_s, "delay_s": times.lag_s})
    failures = scenario.failures.model_copy(update={"load_slowdown": times.load_slowdown})
    return scenario.with_(overhead_s=scenario.overhead_s + times.message_s, variants=loads, scrape=scrape, failures=failures,
                          decision_delay_s=times.decide_s, profile=scenario.profile.later(times.hold_s))
