"""The control API: what it answers to whom, each answer checked against openapi.yaml, and the autoscaler's own client."""

import asyncio
import json
import random
from dataclasses import replace

import jsonschema
import pytest
from served import DEMO, GOLD, OPERATOR, SPEC, TENANTS, Requests, Served, run, served

from envs.contract import Deployment
from runtime.account import Account, Grounds
from runtime.actuators.cluster import ClusterActuator
from runtime.autoscaler.observation_json import observation_from_json
from runtime.control import api as control
from runtime.control.api import ControlApi, ControlError
from runtime.control.tokens import Tokens
from runtime.deployment_json import to_json
from runtime.models.dilated_clock import DilatedClock
from runtime.serving.live_cluster import LiveCluster

SMALL, MEDIUM, LARGE = DEMO.kinds
FIRST, TWO, OTHER = DEMO.initial_deployment, Deployment({LARGE: 2}), Deployment({SMALL: 1, MEDIUM: 1})


def test_the_page_has_the_routes_and_no_others():
    api = ControlApi(LiveCluster(DEMO, None, Requests(), DilatedClock()), None, None, None)
    routes = {(route.resource.canonical, route.method.lower()) for route in api.application().router.routes()}
    assert routes == {(path, method) for path, item in SPEC["paths"].items() for method in item}


def test_the_schemas_are_schemas():
    for name, schema in SPEC["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema({**schema, "title": name})


@run
async def test_the_real_client_scales_out_in_and_over():
    async with served() as one:
        client = ClusterActuator(one.api.url, timeout_s=20.0)
        try:
            await one.settled()
            before = await asyncio.to_thread(client.current)
            assert (before.deployment, before.version) == (FIRST, "1")
            for n, wanted in enumerate((TWO, OTHER, Deployment({MEDIUM: 1}), FIRST)):
                before = await asyncio.to_thread(client.current)
                done = await asyncio.to_thread(client.apply, wanted, before.version, f"j/{n}")
                assert (done.status, done.version) == ("applied", str(n + 2))
                assert await asyncio.to_thread(client.apply, FIRST, before.version, f"j/{n}") == done  # once only
                stale = await asyncio.to_thread(client.apply, FIRST, before.version, "somebody else's")
                assert (stale.status, stale.version) == ("conflict", done.version)
                await one.settled()
                assert one.cluster.census.count("ready") == wanted.replicas
                assert one.dispatcher.serving == {row.number for row in one.cluster.replicas()}
            again = await asyncio.to_thread(client.apply, OTHER, "5", "j/1")  # long since replaced
            assert again.status == "conflict" and one.cluster.desired.current.deployment == FIRST
            refused = await asyncio.to_thread(client.apply, Deployment({LARGE: 3}), "5", "j/9")
            assert refused.status == "refused" and "3 of cpu, of which there are 2" in refused.detail
            added = [what for what in one.dispatcher.log if what[0] == "add"]
            assert len(set(added)) == len(added) == len(one.replicas)  # no replica in vain, none twice
        finally:
            client.close()


@run
async def test_what_is_malformed_is_refused_as_that_whatever_version_it_is_for():
    """RFC 9110, 13.2.1: preconditions are ignored where the request would be refused without them."""
    async with served() as one:
        await one.settled()
        wrong = to_json(TWO) | {"thresholds": [{"application": "", "stage": 0, "threshold": 2}]}
        for version in (1, 7, None):
            status, answer = await one.ask("PUT", "/v1/deployment", {"deployment": wrong}, version=version)
            assert status == 400 and "threshold" in answer["error"]
            status, _ = await one.ask("PUT", "/v1/deployment", {"deployment": to_json(TWO), "decision_id": 7}, version=version)
            assert status == 400


@run
async def test_rollback_pin_and_pause():
    async with served() as one:
        await one.settled()
        assert await one.ask("POST", "/v1/rollback", {}, version=1) == (409, {"error": "no version before this one is known"})
        status, answer = await one.ask("PUT", "/v1/deployment", {"deployment": to_json(TWO)}, version=1)
        assert (status, answer["version"]) == (200, "2")
        assert (await one.ask("POST", "/v1/rollback", {}, version=1))[0] == 412
        assert (await one.ask("POST", "/v1/rollback", {}))[0] == 428
        status, answer = await one.ask("POST", "/v1/rollback", {"decision_id": "r"}, version=2)
        assert (status, answer) == (200, {"deployment": to_json(FIRST), "version": "3", "decision_id": "r"})
        assert await one.ask("POST", "/v1/rollback", {"decision_id": "r"}, version=2) == (200, answer)
        status, answer = await one.ask("POST", "/v1/pin", {"for_s": 3600, "why": "a sale"})
        assert status == 200 and 3500 < answer["pin"]["left_s"] <= 3600
        for method, path, body in (("PUT", "/v1/deployment", {"deployment": to_json(TWO)}), ("POST", "/v1/rollback", {})):
            status, answer = await one.ask(method, path, body, version=3)
            assert status == 409 and "a sale" in answer["error"]
        assert (await one.ask("DELETE", "/v1/pin"))[0] == 200
        assert (await one.ask("POST", "/v1/pause", {"for_s": 3600, "why": "looking"}))[0] == 200
        assert (await one.ask("PUT", "/v1/deployment", {"deployment": to_json(TWO)}, version=3))[0] == 200
        status, answer = await one.ask("GET", "/v1/replicas")
        assert (answer["pause"]["why"], answer["pin"], answer["settled"]) == ("looking", None, False)
        assert len(answer["replicas"]) == 1
        assert (await one.ask("DELETE", "/v1/pause"))[1] == {"pause": None}
        await one.settled()
        assert len((await one.ask("GET", "/v1/replicas"))[1]["replicas"]) == 2


@run
async def test_replicas_lost_at_random_are_replaced():
    async with served(speed=50.0) as one:
        await one.settled()
        dice, version = random.Random(3), 1
        for n in range(60):
            if n % 4 == 0:
                wanted = dice.choice([FIRST, TWO, OTHER, Deployment({MEDIUM: 2})])
                version = one.cluster.change(wanted, version, f"d{n}").number
            live = [row.number for row in one.cluster.replicas() if row.state in ("pending", "ready", "draining")]
            one.replicas[dice.choice(live)].lose("killed by a test")
            wanted = one.cluster.desired.current.deployment
            there = one.cluster.census.count("ready") + one.cluster.census.count("pending")
            assert all(there[kind] >= count for kind, count in wanted.replicas.items())
            await asyncio.sleep(0.01 * dice.random())
        await one.settled()
        assert one.dispatcher.serving == {row.number for row in one.cluster.replicas()}
        fenced = {e.replica for e in one.cluster.events.after() if e.what == "failed"}
        assert len(fenced) > 20 and fenced.isdisjoint(one.dispatcher.serving)
        _, answer = await one.ask("GET", "/v1/events?after=5")
        assert [event["number"] for event in answer["events"]] == list(range(6, one.cluster.events.after()[-1].number + 1))


@run
async def test_observation_and_health():
    async with served(DEMO.with_(variants={**DEMO.variants, "large": DEMO.variants["large"].model_copy(
            update={"load_s": 100.0})})) as one:
        assert await one.ask("GET", "/readyz") == (503, {"ready": False})
        assert await one.ask("GET", "/healthz") == (200, {"alive": True})
        one.cluster.change(Deployment({SMALL: 1}), 1)
        await one.settled()
        assert await one.ask("GET", "/readyz") == (200, {"ready": True})
        _, answer = await one.ask("GET", "/v1/observation")
        assert observation_from_json(answer, DEMO).deployment == Deployment({SMALL: 1})


@pytest.mark.parametrize("method, path, body, headers, status, why", [
    ("PUT", "/v1/deployment", {"deployment": {}}, {"If-Match": '"1"'}, 400, "replicas: Field required"),
    ("PUT", "/v1/deployment", {"deployment": to_json(FIRST), "id": "x"}, {}, 400, "id: Extra inputs"),
    ("PUT", "/v1/deployment", {"deployment": to_json(FIRST)}, {}, 428, "If-Match"),
    ("PUT", "/v1/deployment", b"{" * 100_000, {"Content-Type": "application/json"}, 400, "not JSON"),
    ("PUT", "/v1/deployment", b"[" * 100_000, {"Content-Type": "application/json"}, 400, "not JSON"),
    ("PUT", "/v1/deployment", b" " * (control.BODY_BYTES + 1), {"Content-Type": "application/json"}, 413, "Too Large"),
    ("POST", "/v1/pause", b'{"for_s": 1, "why": "x"}', {"Content-Type": "text/plain"}, 415, "application/json"),
    ("POST", "/v1/pin", {"for_s": 0, "why": "x"}, {}, 400, "for_s"),
    ("POST", "/v1/pin", b'{"for_s": NaN, "why": "x"}', {"Content-Type": "application/json"}, 400, "for_s"),
    ("GET", "/v1/events?after=x", None, {}, 400, "after"),
    ("GET", "/v1/nothing", None, {}, 404, "Not Found"),
    ("POST", "/v1/deployment", {}, {}, 405, "Not Allowed"),
    ("GET", "/v1/deployment", None, {"Host": "evil.example:80"}, 403, "evil.example"),
])
@run
async def test_what_is_wrong_is_named(method, path, body, headers, status, why):
    async with served() as one:
        data, as_json = (body, None) if isinstance(body, bytes) else (None, body)
        got = await asyncio.to_thread(
            one.session.request, method, one.api.url + path, data=data, json=as_json, headers=headers)
        assert got.status_code == status and why in got.json()["error"]
        assert one.cluster.desired.current.number == 1


@run
async def test_tokens_and_what_a_tenant_sees():
    async with served(TENANTS, Tokens(OPERATOR, {"gold": GOLD})) as one:
        for token in (None, "a guess of someone", OPERATOR[:-1], "é"):
            headers = {"Authorization": f"Bearer {token}".encode()} if token else {}
            got = await asyncio.to_thread(one.session.get, one.api.url + "/v1/deployment", headers=headers)
            assert got.status_code == 401 and "token" in got.json()["error"]
        assert (await one.ask("GET", "/healthz"))[0] == 200
        status, answer = await one.ask("GET", "/v1/deployment", token=OPERATOR)
        body = {"deployment": answer["deployment"]}
        for method, path, sent in (("PUT", "/v1/deployment", body), ("POST", "/v1/rollback", {}), ("DELETE", "/v1/pin", None),
                                   ("POST", "/v1/pause", {"for_s": 1, "why": "x"})):
            status, answer = await one.ask(method, path, sent, token=GOLD, version=1)
            assert status == 403 and "gold" in answer["error"]
        assert one.cluster.desired.current.number == 1
        _, all_of_it = await one.ask("GET", "/v1/observation", token=OPERATOR)
        _, mine = await one.ask("GET", "/v1/observation", token=GOLD)
        assert set(all_of_it["services"]) == {"gold", "silver", "flood"} and all_of_it["devices"]
        assert set(mine["services"]) == set(mine["applications"]) == {"gold"} and not mine["devices"]
        for other in ("silver", "flood"):
            assert other not in json.dumps(mine)
        _, problem = await one.ask("GET", "/v1/scenario", token=OPERATOR)
        assert problem["name"] == "tenants" and problem["interval_s"] == TENANTS.interval_s
        assert {name: row["slo_s"] for name, row in problem["applications"].items()} == {
            name: row.slo_s for name, row in TENANTS.applications.items()}
        assert problem["devices"]["gpu"]["budget"] == TENANTS.devices["gpu"].budget
        _, mine = await one.ask("GET", "/v1/scenario", token=GOLD)
        assert set(mine["services"]) == set(mine["applications"]) == {"gold"} and not mine["devices"]
        assert (await one.ask("PUT", "/v1/deployment", body, token=OPERATOR, version=1))[1]["version"] == "2"


@run
async def test_others_reach_it_with_tokens_only():
    one = Served(DEMO, Tokens(), 20.0)
    for host in ("0.0.0.0", "::", "10.0.0.1", "example.org"):
        with pytest.raises(ControlError, match="tokens"):
            await one.api.start(host)
    one.session.close()
    with pytest.raises(ControlError, match="unknown tenants"):
        ControlApi(one.cluster, one.observe, one.sample, one.metrics, Tokens("", {"nobody": GOLD}))


GROUNDS = {"policy": "ppo", "reason": "load 93 -> 140 req/s", "bounds": ["2 x large @1c -> medium @1c"]}


@run
async def test_a_change_says_who_made_it_and_why():
    async with served() as one:
        body = {"deployment": to_json(TWO), "decision_id": "j/1", **GROUNDS}
        assert (await one.ask("PUT", "/v1/deployment", body, version=1))[0] == 200
        long = {"deployment": to_json(FIRST), "policy": "p" * 5000, "bounds": ["b" * 5000] * 60}
        assert (await one.ask("PUT", "/v1/deployment", long, version=2))[0] == 200
        assert (await one.ask("POST", "/v1/rollback", {}, version=3))[0] == 200
        _, answer = await one.ask("GET", "/v1/events")
        first, cut, back = (event for event in answer["events"] if event["what"] == "deployment")
        assert {name: first[name] for name in (*GROUNDS, "version", "decision_id")} == {
            **GROUNDS, "version": 2, "decision_id": "j/1"}
        assert len(cut["policy"]) == len(cut["bounds"][0]) == 1000 and len(cut["bounds"]) == 50
        assert (back["version"], back["policy"], back["reason"]) == (4, "", "rolled back")
        others = [event for event in answer["events"] if event["what"] != "deployment"]
        assert others and all(event[name] is None for event in others for name in (*GROUNDS, "version", "decision_id"))


@run
async def test_the_real_client_tells_its_decisions_and_a_silent_autoscaler_is_known():
    async with served(speed=20.0) as one:
        client = ClusterActuator(one.api.url, timeout_s=20.0)
        try:
            assert (await one.ask("GET", "/v1/decisions"))[1] == {"decisions": [], "autoscaler": None}
            grounds = Grounds(GROUNDS["policy"], GROUNDS["reason"], tuple(GROUNDS["bounds"]))
            first = Account("j/1", 5.0, 5.0, "act", "applied", "1 x large @1c", grounds)
            for account in (first, replace(first, decision_id="j/2", status="unknown"), first,
                            replace(first, decision_id="j/2", status="applied"),
                            Account("k/2", 10.0, 30.0, "advisory", "advised", "", Grounds("hpa", "load"), "metrics: hung")):
                await asyncio.to_thread(client.tell, account)
            _, answer = await one.ask("GET", "/v1/decisions?after=1")
            assert [(d["number"], d["decision_id"], d["status"]) for d in answer["decisions"]] == [
                (3, "j/2", "applied"), (4, "k/2", "advised")]
            assert answer["decisions"][1]["trouble"] == "metrics: hung"
            assert {name: answer["decisions"][0][name] for name in GROUNDS} == GROUNDS
            said = answer["autoscaler"]  # the one that acts
            assert (said["policy"], said["mode"], said["interval_s"]) == ("ppo", "act", 5.0)
            await asyncio.sleep(0.2)
            later = (await one.ask("GET", "/v1/decisions"))[1]["autoscaler"]
            assert later["silent_s"] > said["silent_s"] + 2
        finally:
            client.close()


@run
async def test_only_the_operator_tells_and_sees_decisions():
    async with served(TENANTS, Tokens(OPERATOR, {"gold": GOLD})) as one:
        body = {"decision_id": "j/1", "t_s": 10.0, "interval_s": 10, "mode": "act", "status": "unchanged", **GROUNDS}
        assert (await one.ask("PUT", "/v1/decision", body, token=GOLD))[0] == 403
        assert await one.ask("PUT", "/v1/decision", body, token=OPERATOR) == (200, {"number": 1})
        assert await one.ask("GET", "/v1/decisions", token=GOLD) == (200, {"decisions": [], "autoscaler": None})
        assert len((await one.ask("GET", "/v1/decisions", token=OPERATOR))[1]["decisions"]) == 1
        for wrong in ({**body, "mode": "rule"}, {**body, "interval_s": 0}, {**body, "decision_id": ""}):
            assert (await one.ask("PUT", "/v1/decision", wrong, token=OPERATOR))[0] == 400


def test_tokens_that_can_be_guessed_or_confused_are_refused():
    with pytest.raises(ValueError, match="16 ASCII"):
        Tokens("short")
    with pytest.raises(ValueError, match="same token"):
        Tokens(OPERATOR, {"gold": OPERATOR})


@run
async def test_the_metrics_are_the_gateways_and_the_operators():
    async with served(TENANTS, Tokens(OPERATOR, {"gold": GOLD})) as one:
        url = f"{one.api.url}/metrics"
        for token, status in ((None, 401), (GOLD, 403), (OPERATOR, 200)):
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            got = await asyncio.to_thread(one.session.get, url, headers=headers)
            assert got.status_code == status
        assert got.content == await one.metrics() and got.headers["Content-Type"].startswith("text/plain; version=")
