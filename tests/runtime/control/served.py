"""A live cluster of emulated replicas and its control API, for tests; each answer is checked against openapi.yaml."""

import asyncio
import functools
from contextlib import asynccontextmanager
from pathlib import Path

import jsonschema
import numpy as np
import requests
import yaml

from envs.observation import missing_observation
from envs.scenario_file import load
from runtime.control import api as control
from runtime.control.api import ControlApi
from runtime.control.tokens import NO_TOKENS
from runtime.gateway.counters import Counters
from runtime.models.dilated_clock import DilatedClock
from runtime.serving.emulated_replica import EmulatedLiveReplica
from runtime.serving.live_cluster import LiveCluster

SPEC = yaml.safe_load((Path(control.__file__).parent / "openapi.yaml").read_text())
DEMO, TENANTS = load("live-demo"), load("tenants")
OPERATOR, GOLD = "the operator's token", "the token of gold"


class Requests:
    """A dispatcher without requests."""

    def __init__(self):
        self.serving, self.log, self.deployment = set(), [], None

    def add(self, replica):
        self.serving.add(replica.number)
        self.log.append(("add", replica.number))

    async def drain(self, replica):
        self.serving.discard(replica.number)
        self.log.append(("drain", replica.number))

    def lost(self, replica):
        self.serving.discard(replica.number)
        self.log.append(("lost", replica.number))

    def set_deployment(self, deployment):
        self.deployment = deployment

    def queue_length(self, replica):
        return 0

    def oldest(self, replica):
        return None


class Served:
    """A cluster of emulated replicas, its API, and requests to it that check each answer against the page."""

    def __init__(self, scenario, tokens, speed):
        self.clock, self.dispatcher, self.replicas = DilatedClock(1 / speed), Requests(), {}
        self.scenario, self.counted = scenario, np.zeros((len(scenario.applications), 7), np.int64)
        self.cluster = LiveCluster(scenario, self.make, self.dispatcher, self.clock)
        self.api = ControlApi(self.cluster, self.observe, self.sample, self.metrics, tokens)
        self.session = requests.Session()

    def make(self, number, kind):
        assert number not in self.replicas
        self.replicas[number] = EmulatedLiveReplica(number, kind, scenario=self.scenario, seed=0, clock=self.clock)
        return self.replicas[number]

    def observe(self):
        deployment = self.cluster.desired.current.deployment
        return missing_observation(self.scenario, self.cluster.kinds, deployment, self.clock.now_s())

    async def metrics(self):
        return b"# HELP tidal_replicas_emulated 1\n"

    def sample(self):
        """Counters of a gateway without requests."""
        counters = Counters(self.scenario)
        counters.app_count += self.counted
        return counters.sample(self.clock.now_s(), [], [], [])

    async def ask(self, method, path, body=None, *, token=None, version=None, headers=None):
        """(status, answer), as the page says that it is."""
        headers = {**(headers or {}), **({"Authorization": f"Bearer {token}"} if token else {}),
                   **({"If-Match": f'"{version}"'} if version else {})}
        got = await asyncio.to_thread(self.session.request, method, self.api.url + path, json=body, headers=headers)
        operation = SPEC["paths"].get(path.partition("?")[0], {}).get(method.lower())
        if operation:
            check(operation["responses"][str(got.status_code)], got)
        return got.status_code, got.json()

    async def until(self, happens, what):
        for _ in range(1000):
            if happens():
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"{what}: {self.cluster.replicas()} {self.cluster.events.after()[-5:]}")

    async def settled(self):
        await self.until(lambda: self.cluster.settled, "not settled")


def check(response, got):
    """An answer is of the schema that the page gives for its status."""
    if "$ref" in response:
        response = SPEC["components"]["responses"][response["$ref"].rpartition("/")[2]]
    assert set(response.get("headers", {})) <= set(got.headers)
    schema = {**response["content"]["application/json"]["schema"], "components": SPEC["components"]}
    jsonschema.Draft202012Validator(schema).validate(got.json())


@asynccontextmanager
async def served(scenario=DEMO, tokens=NO_TOKENS, speed=20.0):
    one = Served(scenario, tokens, speed)
    one.cluster.start()
    await one.api.start()
    try:
        yield one
    finally:
        one.session.close()
        await one.api.close()
        await one.cluster.close()


def run(test):
    """A test that is a coroutine."""
    @functools.wraps(test)
    def running(*arguments, **named):
        asyncio.run(asyncio.wait_for(test(*arguments, **named), 60))
    return running
