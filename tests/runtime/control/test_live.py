"""The stream behind the live page, over real HTTP: what it tells, to whom, to how many, and how it goes on."""

import asyncio
import json
import re
import socket
from contextlib import asynccontextmanager
from itertools import pairwise

import aiohttp
import numpy as np
import pytest
from served import DEMO, GOLD, OPERATOR, TENANTS, run, served

from envs import state as st
from envs.contract import Deployment
from runtime.account import Account, Grounds
from runtime.control import live, page
from runtime.control.history import KEPT_S, LATENCY_S, History
from runtime.control.live import Place
from runtime.control.tokens import Tokens
from runtime.gateway.counters import Counters

SMALL, MEDIUM, LARGE = DEMO.kinds
ACCOUNT = Account("j/1", 5.0, 5.0, "act", "applied", "2 x large @1c", Grounds("ppo", "load 93 -> 140 req/s", ("a bound",)), "")


class Still:
    """A cluster that is only looked at, and a gateway whose counters a test sets."""

    def __init__(self, scenario, **counts):
        self.scenario, self.census, self.t_s = scenario, self, 100.0
        self.counts, self.counters = counts, Counters(scenario)

    def count(self, state):
        return self.counts.get(state, {})

    def sample(self):
        return self.counters.sample(self.t_s, [], [], [])


def test_a_row_says_what_happened_since_the_row_before():
    still = Still(DEMO, ready={MEDIUM: 2, SMALL: 1}, pending={LARGE: 1}, draining={SMALL: 1})
    history = History(still, still.sample)
    history.take()
    assert history.newest == 0  # there is nothing to hold it against
    still.t_s += 2.0
    still.counters.app_count[0, [st.OFFERED, st.GOOD, st.GOOD + 1, st.ACCURACY_PPB]] = 100, 60, 20, 45_600_000_000
    still.counters.histogram[0, 32] = 80  # all of them between 32/64 and 33/64 of the SLO
    history.take()
    last, [t_s], [row] = history.after(0, 10)
    seen = dict(zip(history.columns, row.tolist()))
    assert (last, t_s) == (1, 102.0)
    assert {m: seen[m, "classify"] for m in ("offered", "settled", "violated", "accuracy", "waiting")} == {
        "offered": 100, "settled": 80, "violated": 20, "accuracy": pytest.approx(45.6), "waiting": 0}
    assert seen["seconds", ""] == 2.0
    slo_s = DEMO.services["classify"].slo_s
    assert slo_s * 32 / 64 <= seen["p50_s", "classify"] <= seen["p99_s", "classify"] <= slo_s * 33 / 64
    assert [seen["ready_units", v] for v in ("small", "medium", "large")] == [1, 2, 0]
    assert seen["capacity_rps", "medium"] == pytest.approx(2 * DEMO.capacity_rps(MEDIUM, "medium"), rel=1e-3)
    assert (seen["pending_units", ""], seen["leaving_units", ""], seen["cost_ratio", ""]) == (1, 1, 5 / 2)
    for _ in range(int(LATENCY_S)):
        still.t_s += 1.0
        history.take()
    _, _, values = history.after(0, 100)
    p99 = values[:, history.columns.index(("p99_s", "classify"))]
    assert np.isfinite(p99[:-1]).all() and np.isnan(p99[-1])  # no answer any more within the time that latencies are of
    assert (values[1:, history.columns.index(("offered", "classify"))] == 0).all()


def test_an_hour_is_kept_and_long_rows_are_taken_more_rarely():
    still = Still(DEMO)
    history = History(still, still.sample)
    for _ in range(int(KEPT_S) + 51):
        still.t_s += 1.0
        history.take()
    assert history.step_s == 1.0 and history.newest == KEPT_S + 50
    last, t_s, rows = history.after(0, 10**6)
    assert (last, len(rows)) == (history.newest, KEPT_S) and (np.diff(t_s) == 1).all() and t_s[-1] == still.t_s
    assert history.after(last - 7, 3)[1].tolist() == t_s[-7:-4].tolist() and not len(history.after(last, 5)[1])
    services = {f"s{i}": DEMO.services["classify"] for i in range(30)}
    many = DEMO.with_(services=services, applications={}, workload=dict.fromkeys(services, DEMO.workload["classify"]))
    long = History(Still(many), None)
    assert long.step_s == 3.0 and long.rows_kept * len(long.columns) <= 100 * KEPT_S


class Listener:
    """Who reads the stream."""

    def __init__(self, response):
        self._response, self.id = response, ""

    async def next(self):
        """(event, data) of the next message."""
        lines = {}
        while (line := (await asyncio.wait_for(self._response.content.readline(), 20)).decode().rstrip("\n")) or not lines:
            assert line, "the stream has ended"
            name, _, value = line.partition(": ")
            lines[name] = value
        self.id = lines["id"]
        return lines["event"], json.loads(lines["data"])

    async def until(self, happens):
        """All that is told until something of it is so."""
        found = []
        while not (found and happens(found[-1])):
            event, data = await self.next()
            assert event == "news"
            found.append(data)
        return found


@asynccontextmanager
async def listening(one, token="", last=""):
    headers = {**({"Authorization": f"Bearer {token}"} if token else {}), **({"Last-Event-ID": last} if last else {})}
    url = f"{one.api.url}/v1/live"
    async with aiohttp.ClientSession(read_bufsize=2**22) as session, session.get(url, headers=headers) as got:
        assert got.status == 200 and got.content_type == "text/event-stream", await got.text()
        yield Listener(got)


@run
async def test_what_happens_is_told_as_it_happens():
    async with served() as one, listening(one) as listener:
        event, hello = await listener.next()
        assert event == "hello" and (hello["name"], hello["step_s"], hello["operator"]) == ("live-demo", 1.0, True)
        assert hello["variants"] == {name: v.accuracy for name, v in DEMO.variants.items()}
        await listener.until(lambda news: news.get("settled"))
        one.counted[0, [st.OFFERED, st.GOOD]] = 400, 300
        one.cluster.change(Deployment({LARGE: 2}), 1, "j/1", ACCOUNT.grounds)
        one.cluster.pin(50.0, "a sale")
        one.api._decisions.add(ACCOUNT, one.clock.now_s())
        found = await listener.until(lambda news: news.get("settled"))
        told = {name: [e for news in found for e in news[name]] for name in ("events", "decisions")}
        [changed] = (e for e in told["events"] if e["what"] == "deployment")
        assert (changed["policy"], changed["version"]) == ("ppo", 2)
        assert [d["reason"] for d in told["decisions"]] == ["load 93 -> 140 req/s"]
        last = {name: news[name] for news in found for name in ("pin", "version", "replicas", "autoscaler") if name in news}
        assert last["pin"]["why"] == "a sale" and last["version"] == 2 and last["autoscaler"]["policy"] == "ppo"
        assert [(r["number"], r["kind"], r["state"]) for r in last["replicas"]] == [(n, "large @1c", "ready") for n in (0, 1)]
        found += await listener.until(lambda news: news["rows"])
        offered = hello["columns"].index(["offered", "classify"])
        assert sum(row[offered] for news in found for row in news["rows"]) == 400
        one.replicas[0].lose("killed by a test")
        [*_, lost] = await listener.until(lambda news: any(e["what"] == "failed" for e in news["events"]))
        assert next(e["why"] for e in lost["events"] if e["what"] == "failed") == "killed by a test"
        assert "pin" not in lost  # what has not changed is not told again


@run
async def test_who_comes_back_gets_what_came_meanwhile_and_nothing_twice():
    async with served() as one:
        async with listening(one) as listener:
            await listener.next()
            before = await listener.until(lambda news: news["rows"])
        one.cluster.change(Deployment({SMALL: 1}), 1)
        await one.settled()
        async with listening(one, last=listener.id) as listener:
            after = await listener.until(lambda news: news["rows"])
            after += await listener.until(lambda news: news["rows"])
        numbers = [e["number"] for news in before + after for e in news["events"]]
        assert numbers == list(range(1, len(numbers) + 1)) and "gone" in {e["what"] for news in after for e in news["events"]}
        rows = [(t_s, row[0]) for news in before + after for t_s, row in zip(news["t_s"], news["rows"])]
        assert len(rows) >= 3
        for (before_s, _), (now_s, seconds) in pairwise(rows):  # a row begins where the one before has ended
            assert seconds == pytest.approx(now_s - before_s, abs=0.05)
        for strange in ("0badcafe-7-7-7", "nonsense", "-1--1-", listener.id.replace("-", "-9", 1) + "9" * 30):
            async with listening(one, last=strange) as listener:
                assert (await listener.next())[0] == "hello"
                assert (await listener.next())[1]["events"][0]["number"] == 1


def test_a_place_is_read_as_it_was_written():
    place = Place("0badcafe", 3, 2, 1)
    assert Place.read(str(place)) == place and Place.read("0badcafe-3-2") == Place()


@run
async def test_there_is_room_for_a_few_listeners_and_again_when_one_has_gone(monkeypatch):
    monkeypatch.setattr(live, "MOST_LISTENERS", 2)
    async with served() as one:
        async with listening(one) as first:
            await first.next()
            async with listening(one) as second:
                await second.next()
                status, answer = await one.ask("GET", "/v1/live")
                assert status == 503 and "2 are listening already" in answer["error"]
        await one.until(lambda: one.api._live._listeners == 0, "listeners that have gone still count")
        async with listening(one) as third:
            await third.next()


@run
async def test_a_listener_that_takes_nothing_is_dropped(monkeypatch):
    monkeypatch.setattr(live, "SLOW_S", 0.3)
    async with served() as one:
        history = one.api._live._history
        history._rows[:], history.newest = 1.234, history.rows_kept  # an hour of rows: more than buffers hold
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.setblocking(False)
            host, port = one.api.url.removeprefix("http://").split(":")
            await asyncio.get_running_loop().sock_connect(slow, (host, int(port)))
            await asyncio.get_running_loop().sock_sendall(slow, b"GET /v1/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            await one.until(lambda: one.api._live._listeners == 1, "it does not listen")
            await one.until(lambda: one.api._live._listeners == 0, "it is not dropped")
            heard = [await asyncio.get_running_loop().sock_recv(slow, 65536)]
            while heard[-1]:
                heard.append(await asyncio.get_running_loop().sock_recv(slow, 65536))
            assert not b"".join(heard).endswith(b"\r\n0\r\n\r\n"), "it ended in good order, as if all were told"


@run
async def test_a_tenant_hears_of_its_own():
    async with served(TENANTS, Tokens(OPERATOR, {"gold": GOLD})) as one:
        one.api._decisions.add(ACCOUNT, one.clock.now_s())
        one.cluster.change(Deployment({TENANTS.kinds[0]: 1}), 1, "j/1", Grounds("ppo", "silver 93 -> 140 req/s"))
        async with listening(one, GOLD) as listener, listening(one, OPERATOR) as other:
            (_, mine), (_, all_of_it) = await listener.next(), await other.next()
            heard, known = [await each.until(lambda news: news["rows"]) for each in (listener, other)]
        assert {name for _, name in mine["columns"]} == {"", "gold", "light", "heavy"} and not mine["operator"]
        assert {"gold", "silver", "flood", ""} <= {name for _, name in all_of_it["columns"]}
        assert len(heard[-1]["rows"][0]) == len(mine["columns"]) and len(known[-1]["rows"][0]) == len(all_of_it["columns"])
        for other_one in ("silver", "flood", "ppo"):
            assert other_one not in json.dumps([mine, heard])
        assert "silver" in json.dumps(known) and known[0]["decisions"]


@run
async def test_the_stream_needs_a_token_and_the_page_has_no_data():
    async with served(TENANTS, Tokens(OPERATOR, {"gold": GOLD})) as one:
        assert (await one.ask("GET", "/v1/live"))[0] == 401
        assert (await one.ask("GET", "/v1/live", token="a guess of someone"))[0] == 401
        for path in ("/", *(f"/page/{name}" for name in page.FILES)):
            got = await asyncio.to_thread(one.session.get, one.api.url + path)
            assert got.status_code == 200 and "default-src 'none'" in got.headers["Content-Security-Policy"]
            assert not re.search(r"silver|token of gold", got.text)
        for path in ("/page/nothing.js", "/page/..%2fapi.py", "/page/%2e%2e/api.py"):
            assert (await asyncio.to_thread(one.session.get, one.api.url + path)).status_code in (401, 404)
    async with served() as one:
        got = await asyncio.to_thread(one.session.get, f"{one.api.url}/v1/live", headers={"Host": "evil.example"})
        assert got.status_code == 403


def test_the_page_takes_no_code_from_text_and_nothing_from_elsewhere():
    assert {"page.html", "page.css", "draw.js", "stream.js", "charts.js", "lists.js", "main.js"} == set(page.FILES)
    for name, text in page.FILES.items():
        assert not re.search(r"(inner|outer)HTML|insertAdjacent|document\.write|eval\(|Function\(", text), name
        assert not re.search(r"import\(|@import|url\((?!#clip)", text), name
        assert set(re.findall(r"https?://\S+?(?=[\"'])", text)) <= {"http://www.w3.org/2000/svg"}
    html = page.FILES["page.html"]
    assert not re.search(r"\son\w+=|\sstyle=|<style|<script>", html)
    assert {*re.findall(r'(?:src|href)="(?:page/)?([^"#]+)"', html)} == {*page.FILES, "data:,"} - {"page.html"}


@run
async def test_it_ends_at_once_though_somebody_listens():
    async with served() as one, listening(one) as listener:
        await listener.next()
        await asyncio.wait_for(one.api.close(), 5)
