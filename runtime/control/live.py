"""The stream behind the live page: what happens in a cluster, each second, as server-sent events to a few listeners.

    event: hello     what is served, and the columns of the rows; at the beginning, and again after a restart of the cluster
    event: news      new rows of the history, events and decisions; replicas, holds and the autoscaler where they have changed

Each message has an id; who comes back with it as `Last-Event-ID` gets what came after it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson
from aiohttp import web

from envs.contract import CPU
from envs.scrape import Sample
from runtime.control import rows
from runtime.control.decisions import Decisions
from runtime.control.history import OF_APPLICATION, OF_VARIANT, SECONDS, History
from runtime.control.views import View
from runtime.serving.live_cluster import LiveCluster

TICK_S = 1.0
MOST_LISTENERS = 20
SLOW_S = 10.0  # a listener that takes nothing for so long is dropped
NUMBERS_AT_ONCE = 20_000  # in one message, so that the past does not hold up the loop
TEXTS_AT_ONCE = 300  # events, and decisions, of the past
SOCKET_BYTES = 64 * 1024  # of a listener's socket: nothing piles up for a slow one

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Up to where a listener has heard: numbers of the last row, event and decision of one run of the cluster process."""

    run: str = ""
    row: int = 0
    event: int = 0
    decision: int = 0

    @classmethod
    def read(cls, text: str) -> Place:
        """What `str` has written; the beginning where it is anything else."""
        found = re.fullmatch(r"([0-9a-f]{8})-(\d{1,12})-(\d{1,12})-(\d{1,12})", text)
        return cls(found[1], int(found[2]), int(found[3]), int(found[4])) if found else cls()

    def __str__(self) -> str:
        return f"{self.run}-{self.row}-{self.event}-{self.decision}"


class Live:
    """Keeps the history, and tells it to listeners.

    Args:
        cluster: what it is about.
        sample: gives the gateway's counters.
        decisions: told by autoscalers.
    """

    def __init__(self, cluster: LiveCluster, sample: Callable[[], Sample], decisions: Decisions) -> None:
        self._cluster, self._decisions, self._history = cluster, decisions, History(cluster, sample)
        self._run, self._listeners = secrets.token_hex(4), 0
        self._ticked = asyncio.Condition()
        self._ticking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to take rows."""
        self._ticking = asyncio.create_task(self._tick())

    async def close(self) -> None:
        """Ends, and lets all listeners go."""
        if self._ticking:
            self._ticking.cancel()
            self._ticking = None
            async with self._ticked:
                self._ticked.notify_all()

    async def _tick(self) -> None:
        clock = self._cluster.clock
        due_s = row_s = clock.now_s()
        while True:
            if due_s >= row_s:
                try:
                    self._history.take()
                except Exception:  # a row less
                    log.exception("no row of the live page's history")
                row_s = due_s + self._history.step_s
            async with self._ticked:
                self._ticked.notify_all()
            due_s += TICK_S * max(1, math.ceil((clock.now_s() - due_s) / TICK_S))
            await clock.sleep_until(due_s)

    async def listen(self, request: web.Request, view: View) -> web.StreamResponse:
        """Streams to a caller until it goes, is too slow, or the cluster ends."""
        if self._listeners >= MOST_LISTENERS:
            return web.json_response({"error": f"{MOST_LISTENERS} are listening already; close a page, or come back later"},
                                     status=503, headers={"Retry-After": "5"})
        response = web.StreamResponse(headers={
            "Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"})
        self._listeners += 1
        try:
            if request.transport and (wire := request.transport.get_extra_info("socket")):
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
            await response.prepare(request)
            async for message in self._messages(view, Place.read(request.headers.get("Last-Event-ID", ""))):
                await asyncio.wait_for(response.write(message), SLOW_S)
        except TimeoutError:
            log.info("a listener of the live page was too slow")
            if request.transport:
                request.transport.abort()
        except ConnectionError:
            pass  # it has gone
        finally:
            self._listeners -= 1
        return response

    async def _messages(self, view: View, place: Place) -> AsyncIterator[bytes]:
        if place.run != self._run:
            place = replace(self._recent(), run=self._run)
            yield _message("hello", place, self._hello(view))
        shown = [i for i, column in enumerate(self._history.columns) if _visible(column, view)]
        most = max(1, NUMBERS_AT_ONCE // max(1, len(shown)))
        told: dict[str, Any] = {}
        while self._ticking:
            row, t_s, values = self._history.after(place.row, most)
            events, decisions = self._cluster.events.after(place.event), self._decisions.after(place.decision)
            place = Place(self._run, row, events[-1].number if events else place.event,
                          decisions[-1].number if decisions else place.decision)
            state = self._state(view)
            news = {name: value for name, value in state.items() if name not in told or told[name] != value}
            told = state
            yield _message("news", place, {
                "now_s": round(self._cluster.clock.now_s(), 3),
                "t_s": t_s.round(2), "rows": np.ascontiguousarray(values[:, shown]),
                "events": rows.event_rows(events, view), "decisions": rows.decision_rows(decisions, view), **news})
            if row == self._history.newest:
                async with self._ticked:
                    await self._ticked.wait()

    def _recent(self) -> Place:
        """Where a new listener begins: with all rows, and the last events and decisions."""
        events, decisions = self._cluster.events.after()[-TEXTS_AT_ONCE:], self._decisions.after()[-TEXTS_AT_ONCE:]
        return Place("", 0, events[0].number - 1 if events else 0, decisions[0].number - 1 if decisions else 0)

    def _hello(self, view: View) -> dict[str, Any]:
        scenario, history = self._cluster.scenario, self._history
        problem = view.problem()
        variants = {v for service in problem["services"].values() for v in service["variants"]}
        return {**problem, "run": self._run, "step_s": history.step_s, "rows_kept": history.rows_kept,
                "columns": [column for column in history.columns if _visible(column, view)],
                "variants": {name: v.accuracy for name, v in scenario.variants.items() if name in variants},
                "unit": "cores" if set(scenario.devices) == {CPU} else "devices", "operator": view.tenant is None}

    def _state(self, view: View) -> dict[str, Any]:
        """What there is now; only what has changed of it is sent."""
        cluster, newest = self._cluster, self._decisions.newest
        now_s, desired = cluster.clock.now_s(), cluster.desired
        pin, pause = desired.pinned(now_s) and desired.pin, desired.paused(now_s) and desired.pause
        told = newest if view.tenant is None else None
        return {
            "version": desired.current.number, "settled": cluster.settled,
            "pin": vars(pin) if pin else None, "pause": vars(pause) if pause else None,
            "replicas": [{"number": r.number, "kind": str(r.kind), "variant": r.kind.variants[0], "state": r.state,
                          "started_s": round(r.started_s, 2)} for r in cluster.replicas() if view.kind(r.kind)],
            "autoscaler": told and {"policy": told.account.grounds.policy, "mode": told.account.mode, "at_s": told.at_s,
                                    "interval_s": told.account.interval_s}}


def _visible(column: tuple[str, str], view: View) -> bool:
    """Whether a column of the history may be seen: what is of all together, the operator alone."""
    measure, name = column
    if view.tenant is None or column == SECONDS:
        return True
    if measure in OF_APPLICATION:
        return view.application(name)
    services = view.scenario.services
    return measure in OF_VARIANT and any(view.service(s) and name in services[s].variants for s in services)


def _message(event: str, place: Place, data: dict[str, Any]) -> bytes:
    return b"event: %s\nid: %s\ndata: %s\n\n" % (event.encode(), str(place).encode(),
                                                 orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY))
