"""The live side: `tidal serve`, `tidal autoscale` and clients as they are, on the same requests from the first decision on."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import uvloop

from envs import scenario_written
from envs.contract import Observation, ReplicaKind
from envs.scenario import Scenario
from reports.against.side import Side, Standing, cost_of
from reports.against.simulated import Arrivals
from runtime import metrics as m
from runtime.autoscaler.journal import Record, newest_first
from runtime.autoscaler.observation_json import observation_from_json
from runtime.control_reader import ControlReader
from runtime.demo.processes import Processes, Running
from runtime.deployment_json import from_json, kind_from_json
from runtime.load_generator import LATE_S, Played, play
from runtime.measured_times import MeasuredCluster, MeasuredTimes
from runtime.sources.scrape import Scraper

SETTLED_S, LOOK_S = 60.0, 0.05
PATIENCE_S = 20.0  # with an answer, while nothing is timed
MARGIN_S = 0.3  # clients want to know so long before the first request is due
TRIES = 12
CALIBRATION_REQUESTS, STARTS = 200, 3


@dataclass(frozen=True)
class Lived:
    """A live run.

    Attributes:
        side: what it did.
        observations: that its decisions were made on.
        decide_s: median time from the time of decision until the cluster had accepted it; nan where nothing was to be done.
        sent_late: share of the requests that clients sent later than they were due.
        by: who decided, and how often: the policy, unless it failed.
    """

    side: Side
    observations: Sequence[Observation]
    decide_s: float
    sent_late: float
    by: Mapping[str, int]


class RunSpoilt(RuntimeError):
    """A live run that says nothing; the text says why."""


def measured(scenario: Scenario, models: str, rps: float, folder: Path) -> MeasuredTimes:
    """What the live cluster adds on this machine, idle: the same scenario without noise, calibrated.

    Emulated replicas load as long as is written. For those that compute, loads are measured beside one replica, and beyond
    the budget: in a run, too, a replica loads while the one before it is still there.
    """
    idle = scenario.with_(service_cv=0.0)
    if models:
        twice = {name: device.model_copy(update={"budget": 2 * device.budget}) for name, device in scenario.devices.items()}
        idle = idle.with_(initial=scenario.initial[-1:], devices=twice)
    path = scenario_written.write(idle, folder / "idle", "for calibration: without noise")
    with contextlib.closing(Processes(folder / "idle")) as processes:
        gateway, control = _serve(processes, path, models, 0)
        with contextlib.closing(MeasuredCluster(idle, gateway, control)) as cluster:
            messages = cluster.messages(CALIBRATION_REQUESTS, rps)
            loads, slowdown = cluster.loads(STARTS) if models else ({}, 1.0)
            return MeasuredTimes(*messages, loads, load_slowdown=slowdown)


def lived(scenario: Scenario, models: str, policy: str, arrivals: Arrivals, intervals: int, seed: int, folder: Path) -> Lived:
    """One live run; see `Case` for the arguments.

    Raises:
        ProcessFailed: a process did not come up.
        RunSpoilt: clients could not keep up, or a time of decision was missed.
    """
    path = scenario_written.write(scenario, folder, "the live side")
    with contextlib.closing(Processes(folder)) as processes:
        gateway, control = _serve(processes, path, models, seed)
        first_s, scaler = _scaler(processes, path, policy, gateway, control, folder / "journal", scenario.interval_s)
        gc.freeze()  # or now and then a collection would look through all that was imported, and requests would go out late
        played = uvloop.run(_play(gateway, arrivals, first_s))
        gc.unfreeze()
        time.sleep(max(0.0, first_s + intervals * scenario.interval_s + LOOK_S - time.time()))
        scaler.end()
        page = _page(gateway)
        events = _events(control)
    records = list(reversed(list(newest_first(folder / "journal"))))
    return _lived(scenario, played, records, events, page, first_s, intervals)


def _serve(processes: Processes, path: Path, models: str, seed: int) -> tuple[str, str]:
    """Gateway and control API, once the initial deployment is ready."""
    serve = processes.tidal("serve", "serve", "--scenario", path, "--gateway", "127.0.0.1:0", "--control", "127.0.0.1:0",
                            "--seed", str(seed), *(["--models", models] if models else []))  # fmt: skip
    gateway, control = serve.waits_for(r"requests (\S+), control (\S+)").groups()
    with contextlib.closing(ControlReader(control, timeout_s=PATIENCE_S)) as reader:
        until_s = time.monotonic() + SETTLED_S
        while not reader.get("/v1/replicas")["settled"]:
            if time.monotonic() > until_s:
                raise RunSpoilt(f"the initial deployment was not ready within {SETTLED_S:g} s")
            time.sleep(LOOK_S)
    return gateway, control


def _scaler(processes: Processes, path: Path, policy: str, gateway: str, control: str, journal: Path, interval_s: float
            ) -> tuple[float, Running]:
    """An autoscaler whose first decision is yet to come: its time, Unix."""
    for _ in range(TRIES):
        shutil.rmtree(journal, ignore_errors=True)
        scaler = processes.tidal("autoscale", "autoscale", "--scenario", path, "--policy", policy,
                                 "--source", "scrape", "--url", f"{gateway}/metrics",
                                 "--actuator", "cluster", "--control", control, "--journal", journal)  # fmt: skip
        scaler.waits_for(r"every \S+ s, act")
        first_s = math.ceil(time.time() / interval_s) * interval_s
        if first_s - time.time() >= min(MARGIN_S, interval_s / 2):
            return first_s, scaler
        scaler.end()
    raise RunSpoilt(f"no autoscaler came up {MARGIN_S:g} s before a time of decision in {TRIES} tries")


async def _play(gateway: str, arrivals: Arrivals, first_s: float) -> dict[str, Played]:
    found = await asyncio.gather(*(play(gateway, name, due_s, begin_s=first_s) for name, due_s in arrivals.items()))
    return dict(zip(arrivals, found))


def _page(gateway: str) -> Mapping[Any, float]:
    with contextlib.closing(Scraper([f"{gateway}/metrics"], PATIENCE_S)) as scraper:
        return next(page for page in scraper.pages().values() if page).values


def _events(control: str) -> list[dict[str, Any]]:
    """All that happened to the replicas."""
    with contextlib.closing(ControlReader(control, timeout_s=PATIENCE_S)) as reader:
        events: list[dict[str, Any]] = []
        while more := reader.get(f"/v1/events?after={events[-1]['number'] if events else 0}")["events"]:
            events += more
        return events


def _lived(scenario: Scenario, played: Mapping[str, Played], records: Sequence[Record], events: Sequence[dict[str, Any]],
           page: Mapping[Any, float], first_s: float, intervals: int) -> Lived:
    intents = [r for r in records if r["type"] == "intent"][:intervals]
    late = float(np.mean(np.concatenate([p.sent_s - p.due_s > LATE_S for p in played.values() if len(p.due_s)])))
    times = [round((r["t_s"] - first_s) / scenario.interval_s) for r in intents]
    if times != list(range(intervals)):
        raise RunSpoilt(f"of {intervals} times of decision some were missed: decisions were made at {times}")
    accepted = {r["decision_id"]: r["at_s"] for r in records if r["type"] == "outcome" and r["status"] == "applied"}
    delays_s = [accepted[r["decision_id"]] - r["t_s"] for r in intents if r["decision_id"] in accepted]
    span_s = intervals * scenario.interval_s
    lives = _lives(events)
    settled = sum(value for key, value in page.items() if key[0] == m.SETTLED.name)
    accuracy = sum(value for key, value in page.items() if key[0] == m.ACCURACY.name) / settled
    edges_s = [first_s + (k + 1) * scenario.interval_s for k in range(intervals)]
    held_s = [(life.kind, max(0.0, min(life.gone_s, first_s + span_s) - max(life.began_s, first_s))) for life in lives]
    side = Side(
        _requests(scenario, played), span_s, accuracy, cost_of(held_s, span_s, scenario),
        [from_json(r["deployment"]) for r in intents], [_ready(lives, t_s) for t_s in edges_s],
        [life.ready_s - _decided_s(life.began_s, first_s, scenario.interval_s) for life in lives
         if first_s < life.began_s < first_s + span_s and life.wanted and life.ready_s < math.inf],
    )  # fmt: skip
    seen = [observation_from_json(r["observation"], scenario) for r in intents]
    decide_s = median(delays_s) if delays_s else math.nan
    return Lived(side, seen, decide_s, late, Counter(r["by"] for r in intents))


@dataclass
class _Life:
    """One replica, by its events; Unix times."""

    kind: ReplicaKind
    began_s: float
    wanted: bool  # it was started since a decision wants it, not in place of one that was lost
    ready_s: float = math.inf
    leaves_s: float = math.inf
    gone_s: float = math.inf


def _lives(events: Sequence[dict[str, Any]]) -> list[_Life]:
    lives: dict[int, _Life] = {}
    for event in events:
        number, what, t_s = event["replica"], event["what"], event["t_s"]
        if what == "pending":
            lives[number] = _Life(kind_from_json(event["kind"]), t_s, event["why"] == "deployment")
        elif number in lives:
            life = lives[number]
            if what == "ready":
                life.ready_s = t_s
            elif what in ("draining", "failed"):
                life.leaves_s = min(life.leaves_s, t_s)
            elif what == "gone":
                life.gone_s = t_s
    return list(lives.values())


def _ready(lives: Sequence[_Life], t_s: float) -> Standing:
    return dict(Counter(life.kind for life in lives if life.ready_s <= t_s < life.leaves_s))


def _decided_s(began_s: float, first_s: float, interval_s: float) -> float:
    """The time of decision that came last before."""
    return first_s + math.floor((began_s - first_s) / interval_s) * interval_s


def _requests(scenario: Scenario, played: Mapping[str, Played]) -> pd.DataFrame:
    """See `Side.requests`; latency is from when a request was due, as a client sees it."""
    frames = []
    for name, one in played.items():
        latency_s = np.where(one.status == 200, one.done_s - one.due_s, np.nan)
        in_time = latency_s <= scenario.applications[name].slo_s
        frames.append(pd.DataFrame({"application": name, "latency_s": latency_s, "in_time": in_time}))
    return pd.concat(frames, ignore_index=True)
