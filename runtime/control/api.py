"""The control API of a live cluster over HTTP; `openapi.yaml` beside this file says what it takes and answers."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from envs.contract import Observation
from envs.scrape import Sample
from runtime.addresses import is_loopback
from runtime.autoscaler.observation_json import observation_to_json
from runtime.control import rows
from runtime.control.bodies import B, BodyError, Change, Decided, Hold, Rollback, parsed
from runtime.control.decisions import Decisions
from runtime.control.live import Live
from runtime.control.page import page, part
from runtime.control.tokens import NO_TOKENS, Caller, Tokens
from runtime.control.views import View
from runtime.deployment_json import DeploymentError, from_json, to_json
from runtime.serving import desired
from runtime.serving.acceptance import DeploymentRefused
from runtime.serving.live_cluster import LiveCluster

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
BODY_BYTES = 4 * 1024**2
EVENTS_AT_ONCE = 1000
OPEN = ("/healthz", "/readyz", "/")  # and the other parts of the page
CALLER = web.RequestKey("caller", Caller)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Factory = Callable[[], asyncio.Protocol]

log = logging.getLogger(__name__)


class ControlError(ValueError):
    """The API cannot be offered like this; the text says what to do."""


class ControlApi:
    """Answers for one cluster.

    Args:
        cluster: what it tells of and steers.
        observe: what the cluster shows now, as a policy would see it.
        sample: the gateway's counters now.
        metrics: the page of metrics, as the gateway shows it.
        tokens: who may ask; without any it answers on loopback addresses only.
    """

    def __init__(self, cluster: LiveCluster, observe: Callable[[], Observation], sample: Callable[[], Sample],
                 metrics: Callable[[], Awaitable[bytes]], tokens: Tokens = NO_TOKENS) -> None:
        self._cluster, self._observe, self._metrics = cluster, observe, metrics
        self.let_in(tokens)
        self._decisions = Decisions()
        self._live = Live(cluster, sample, self._decisions)
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self.url = ""

    def let_in(self, tokens: Tokens) -> None:
        """Whoever has one of these tokens, and nobody else, from the next request on.

        Raises:
            ControlError: one is of a tenant that there is not; nothing was changed.
        """
        if unknown := tokens.tenants - set(self._cluster.scenario.tenants):
            known = ", ".join(self._cluster.scenario.tenants)
            raise ControlError(f"tokens of unknown tenants {sorted(unknown)}; known: {known}")
        self._tokens = tokens

    async def start(self, host: str = "127.0.0.1", port: int = 0, secure: ssl.SSLContext | None = None,
                    listening: Sequence[socket.socket] = ()) -> None:
        """Listens; `url` says where. `secure`: over TLS. `listening`: goes on with this socket of an earlier process.

        Raises:
            ControlError: an address that others can reach, and no tokens.
            OSError: the address is not free.
        """
        if not self._tokens and not is_loopback(host):
            raise ControlError(f"{host} can be reached by others: give the control API tokens, or listen on 127.0.0.1")
        self._runner = web.AppRunner(self.application(), access_log=None, handle_signals=False)
        await self._runner.setup()
        where: dict[str, Any] = {"sock": listening[0]} if listening else {"host": host, "port": port}
        try:
            answers = cast(Factory, self._runner.server)
            self._server = await asyncio.get_running_loop().create_server(answers, **where, ssl=secure)
        except OSError:
            await self.close()
            raise
        self._live.start()
        bound, shown = self._server.sockets[0].getsockname()[1], f"[{host}]" if ":" in host else host
        self.url = f"{'https' if secure else 'http'}://{shown}:{bound}"

    async def hand_over(self) -> list[socket.socket]:
        """Stops listening; gives where it listened, for whoever goes on with it."""
        listening = [socket.socket(fileno=os.dup(one.fileno())) for one in self._server.sockets] if self._server else []
        await self.close()
        return listening

    async def close(self) -> None:
        """Stops listening."""
        if self._server:
            self._server.close()
        await self._live.close()
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    def application(self) -> web.Application:
        """The routes, to be served alone or beside others."""
        application = web.Application(middlewares=[_errors, self._guard], client_max_size=BODY_BYTES)
        application.add_routes([
            web.get("/", page, allow_head=False), web.get("/page/{name}", part, allow_head=False),
            web.get("/healthz", self._healthz, allow_head=False), web.get("/readyz", self._readyz, allow_head=False),
            web.get("/metrics", self._page, allow_head=False),
            web.get("/v1/deployment", self._deployment, allow_head=False), web.put("/v1/deployment", self._change),
            web.post("/v1/rollback", self._roll_back),
            web.get("/v1/scenario", self._scenario, allow_head=False),
            web.get("/v1/observation", self._observation, allow_head=False),
            web.get("/v1/replicas", self._replicas, allow_head=False),
            web.get("/v1/events", self._events, allow_head=False),
            web.put("/v1/decision", self._decided), web.get("/v1/decisions", self._told, allow_head=False),
            web.get("/v1/live", self._listen, allow_head=False),
            web.post("/v1/pin", self._pin), web.delete("/v1/pin", self._unpin),
            web.post("/v1/pause", self._pause), web.delete("/v1/pause", self._resume)])
        return application

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Lets only those in who may."""
        if request.path in OPEN or request.path.startswith("/page/"):
            return await handler(request)
        if not self._tokens and _host_name(request.host) not in LOOPBACK_NAMES:
            return _error(403, f"asked as '{request.host}': without tokens the control API answers to 127.0.0.1 only")
        caller = self._tokens.caller(request.headers.get("Authorization", ""))
        if caller is None:
            return _error(401, "a bearer token is needed", {"WWW-Authenticate": "Bearer"})
        if caller.tenant is not None and request.method != "GET":
            return _error(403, f"the token of tenant {caller.tenant} may look, but change nothing")
        request[CALLER] = caller
        return await handler(request)

    # --- The deployment ---

    async def _deployment(self, request: web.Request) -> web.Response:
        return self._in_force(request)

    async def _change(self, request: web.Request) -> web.Response:
        body = await _body(request, Change)
        deployment = from_json(body.deployment)
        return self._changed(request, body.decision_id,
                             lambda version: self._cluster.change(deployment, version, body.decision_id, body.grounds()))

    async def _roll_back(self, request: web.Request) -> web.Response:
        body = await _body(request, Rollback)
        return self._changed(request, body.decision_id, lambda version: self._cluster.roll_back(version, body.decision_id))

    def _changed(self, request: web.Request, decision_id: str, change: Callable[[int], Any]) -> web.Response:
        """Makes a change, if the version that it was made for is in force."""
        if self._cluster.desired.repeats(decision_id):
            return self._in_force(request)
        expected = request.headers.get("If-Match")
        if expected is None:
            return _error(428, 'If-Match is missing; give the version that the change was made for, as in If-Match: "7"')
        if expected.strip() != f'"{self._cluster.desired.current.number}"':
            return self._in_force(request, 412)
        try:
            change(self._cluster.desired.current.number)
        except desired.VersionConflict:
            return self._in_force(request, 412)
        except (desired.DeploymentPinned, desired.NothingBefore) as error:
            return _error(409, str(error))
        return self._in_force(request)

    def _in_force(self, request: web.Request, status: int = 200) -> web.Response:
        version = self._cluster.desired.current
        seen = self._view(request).deployment(version.deployment)
        answer = {"deployment": to_json(seen), "version": str(version.number), "decision_id": version.decision_id}
        return web.json_response(answer, status=status, headers={"ETag": f'"{version.number}"'})

    # --- What there is ---

    async def _scenario(self, request: web.Request) -> web.Response:
        return web.json_response(self._view(request).problem())

    async def _observation(self, request: web.Request) -> web.Response:
        seen = self._view(request).observation(self._observe())
        return web.json_response(observation_to_json(seen, self._cluster.scenario))

    async def _replicas(self, request: web.Request) -> web.Response:
        now_s, wanted = self._cluster.clock.now_s(), self._cluster.desired
        return web.json_response({"replicas": rows.replica_rows(self._cluster, self._view(request)),
                                  "settled": self._cluster.settled,
                                  "pin": rows.held(wanted.pin, now_s), "pause": rows.held(wanted.pause, now_s)})

    async def _events(self, request: web.Request) -> web.Response:
        seen = rows.event_rows(self._cluster.events.after(_after(request)), self._view(request))
        return web.json_response({"events": seen[:EVENTS_AT_ONCE]})

    async def _decided(self, request: web.Request) -> web.Response:
        body = await _body(request, Decided)
        return web.json_response({"number": self._decisions.add(body.account(), self._cluster.clock.now_s()).number})

    async def _told(self, request: web.Request) -> web.Response:
        seen = rows.decision_rows(self._decisions.after(_after(request)), self._view(request))
        return web.json_response({"decisions": seen, "autoscaler": self._autoscaler(request)})

    def _autoscaler(self, request: web.Request) -> dict[str, Any] | None:
        """Who decides: the operator's to know."""
        mine = self._view(request).tenant is None
        return rows.autoscaler_row(self._decisions, self._cluster.clock.now_s()) if mine else None

    async def _listen(self, request: web.Request) -> web.StreamResponse:
        return await self._live.listen(request, self._view(request))

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.json_response({"alive": True})

    async def _readyz(self, request: web.Request) -> web.Response:
        """Ready when each service has a ready replica, so that a request is answered."""
        ready = self._cluster.census.count("ready")
        without = [name for name, service in self._cluster.scenario.services.items()
                   if not any(n and set(kind.variants) & set(service.variants) for kind, n in ready.items())]
        return web.json_response({"ready": not without}, status=503 if without else 200)

    async def _page(self, request: web.Request) -> web.Response:
        """Of all tenants, so not for one of them."""
        if (tenant := request[CALLER].tenant) is not None:
            return _error(403, f"the metrics are of all tenants; the token of {tenant} sees its own in /v1/observation")
        return web.Response(body=await self._metrics(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    # --- Holds ---

    async def _pin(self, request: web.Request) -> web.Response:
        body = await _body(request, Hold)
        self._cluster.pin(body.for_s, body.why)
        return web.json_response({"pin": rows.held(self._cluster.desired.pin, self._cluster.clock.now_s())})

    async def _unpin(self, request: web.Request) -> web.Response:
        self._cluster.unpin()
        return web.json_response({"pin": None})

    async def _pause(self, request: web.Request) -> web.Response:
        body = await _body(request, Hold)
        self._cluster.pause(body.for_s, body.why)
        return web.json_response({"pause": rows.held(self._cluster.desired.pause, self._cluster.clock.now_s())})

    async def _resume(self, request: web.Request) -> web.Response:
        self._cluster.resume()
        return web.json_response({"pause": None})

    def _view(self, request: web.Request) -> View:
        return View(self._cluster.scenario, request[CALLER].tenant)


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error is JSON with a text, and no traceback goes out."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return _error(error.status, f"{request.method} {request.path}: {error.reason}", allowed)
    except (BodyError, DeploymentError, DeploymentRefused) as error:
        return _error(400, str(error))
    except OSError as error:
        return _error(503, f"nothing was changed, for it could not be remembered: {error.strerror}")
    except Exception:
        log.exception("%s %s", request.method, request.path)
        return _error(500, "an error of the control API; its log tells more")


def _after(request: web.Request) -> int:
    """The number in the query, of the last that the caller knows."""
    text = request.query.get("after", "0")
    if not re.fullmatch("-?[0-9]{1,20}", text):  # `int` takes 1_0 and Arabic digits too
        raise BodyError(f"after: {text!r:.50} is not a number of those that were told")
    return int(text)


async def _body(request: web.Request, form: type[B]) -> B:
    """A checked JSON body. It must be declared as JSON, which no form of a web page can be."""
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(reason="send the body as application/json")
    try:
        value = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise BodyError(f"the body is not JSON: {error}") from error
    return parsed(form, value)


def _error(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": text}, status=status, headers=headers)


def _host_name(host: str) -> str:
    """The name in a Host header, without the port."""
    return host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
