"""The live page in a real browser: what it shows as it happens, text that stays text, tokens, a cluster that comes back."""

import asyncio

import pytest
from browser import CHROMIUM, browser
from served import DEMO, GOLD, OPERATOR, TENANTS, run, served

from envs import state as st
from envs.contract import Deployment
from envs.scenario import Device
from runtime.account import Account, Grounds
from runtime.control.api import ControlApi
from runtime.control.tokens import Tokens

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: the live page is not looked at in a browser")

SMALL, MEDIUM, LARGE = DEMO.kinds
NASTY = "<script>window.struck = 1</script><img src=x onerror='window.struck = 1'>"
SPEED = 4.0


def called(name):
    """The demo with a service of another name."""
    return DEMO.with_(services={name: DEMO.services["classify"]}, applications={}, workload={name: DEMO.workload["classify"]})


async def decide(one, number, deployment, status="applied", **more):
    """What an autoscaler does at a time of decision."""
    grounds = Grounds("ppo", more.pop("reason", "load 93 -> 140 req/s"), more.pop("bounds", ()))
    if status == "applied":
        one.cluster.change(deployment, one.cluster.desired.current.number, f"j/{number}", grounds)
    account = Account(f"j/{number}", one.clock.now_s(), 5.0, "act", status, str(deployment), grounds, more.pop("trouble", ""))
    one.api._decisions.add(account, one.clock.now_s())


@run
async def test_it_shows_what_happens_as_it_happens(tmp_path):
    async with served(speed=SPEED) as one, browser(tmp_path) as tab:
        page = await tab(one.api.url)
        await page.until_shown("#replicas", "#0", "large @1c")
        assert await page.text("#headline") == "No requests in the last minute."
        await page.until_shown("#facts", "version 1, settled", "no autoscaler has told of a decision")

        one.counted[0, [st.OFFERED, st.GOOD, st.ACCURACY_PPB]] = 1000, 1000, 800 * 10**9
        await page.until_shown("#headline", "All 1,000 requests of the last minute were answered in time.")
        assert "80 %" in " ".join((await page.text("#figures")).split())

        await decide(one, 1, Deployment({MEDIUM: 2}), bounds=("2 x large @1c -> medium @1c",))
        await page.until_shown("#decisions", "2 x medium @1c", "ppo", "load 93 -> 140 req/s", "2 x large @1c -> medium @1c")
        await page.until_shown("#replicas", "medium @1c", "#2")
        await page.until_shown("#facts", "version 2", "ppo decides every 5 s")
        await decide(one, 2, Deployment({MEDIUM: 2}), "unchanged")
        await decide(one, 3, Deployment({MEDIUM: 2}), "unchanged")
        await page.until_shown("#decisions", "no change, 2 times since")
        await decide(one, 4, Deployment({SMALL: 2}), "conflict", trouble="somebody else changed the deployment")
        await page.until_shown("#decisions", "not done: 2 x small @1c", "somebody else changed the deployment")

        one.replicas[1].lose("killed by a test")
        await page.until_shown("#events", "failed", "replica 1, medium @1c", "killed by a test")
        await page.until_shown("#replicas", "#1 failed", "#3")
        await page.until("document.querySelector('.chart .loss-line')", "the loss is not marked in the course")
        await page.until_shown("#spoken", "replica 1 failed")

        one.cluster.pin(3600.0, "a sale")
        one.counted[0, [st.OFFERED, st.GOOD + 1]] += 1000
        await page.until_shown("#facts", "pinned for another", "a sale", "no decision since")
        await page.until_shown("#headline", "50 % of the last minute's requests were late or lost.")
        assert page.errors == []


@run
async def test_where_prices_are_in_a_currency_cost_is_money(tmp_path):
    priced = DEMO.with_(currency="USD", devices={"cpu": Device(budget=2, price=0.25)})
    async with served(priced, speed=SPEED) as one, browser(tmp_path) as tab:
        page = await tab(one.api.url)
        await page.until_shown("#figures", "0.25 USD/h", "50 % of all, 1 of 2 cores held")


@run
async def test_text_from_the_cluster_stays_text(tmp_path):
    async with served(called(NASTY), speed=SPEED) as one, browser(tmp_path) as tab:
        page = await tab(one.api.url)
        await page.until_shown("#replicas", "#0")
        await decide(one, 1, Deployment({MEDIUM: 1}), reason=NASTY, bounds=(NASTY,), trouble=NASTY)
        one.replicas[0].lose(NASTY)
        one.cluster.pause(60.0, NASTY)
        for selector in ("#decisions", "#events", "#facts"):
            await page.until_shown(selector, NASTY)
        await asyncio.sleep(0.5)
        assert await page.run("window.struck === undefined && !document.querySelector('main script, main img, header img')")
        assert page.errors == []


@run
async def test_it_comes_back_when_the_cluster_does(tmp_path):
    async with served(speed=SPEED) as one, browser(tmp_path) as tab:
        page = await tab(one.api.url)
        await page.until_shown("#replicas", "#0")
        await page.until("document.querySelector('.chart path.load')?.getAttribute('d').length > 30", "no load is drawn")
        port = int(one.api.url.rpartition(":")[2])
        await one.api.close()
        await page.until_shown("#headline", "No word from the cluster for")
        await page.until_shown("#facts", "last update", "trying again")
        assert await page.run("document.body.classList.contains('stale')")
        one.api = ControlApi(one.cluster, one.observe, one.sample, one.metrics)
        await one.api.start(port=port)
        await page.until_shown("#facts", "updated 0 s ago", "restarted while you watched")
        await page.until("!document.body.classList.contains('stale')")
        assert "#0" in await page.text("#replicas")


@run
async def test_it_asks_for_a_token_and_keeps_it_to_itself(tmp_path):
    async with served(TENANTS, Tokens(OPERATOR, {"gold": GOLD}), speed=SPEED) as one, browser(tmp_path) as tab:
        page = await tab(one.api.url)

        async def give(token):
            await page.until("!document.querySelector('#token-form').hidden", "it does not ask for a token")
            await page.run(f"document.querySelector('#token').value = {token!r}")
            await page.run("document.querySelector('#token-form').requestSubmit()")

        await page.until("!document.querySelector('#token-form').hidden")
        assert await page.run("document.activeElement.id") == "token"
        assert "silver" not in await page.run("document.documentElement.outerHTML")
        await give("a guess of someone")
        await page.until_shown("#token-note", "This token is not valid.")
        await give(OPERATOR)
        await page.until_shown("#applications", "gold", "silver", "flood")
        assert await page.run("sessionStorage.getItem('token')") == OPERATOR
        assert not await page.run("localStorage.length + document.cookie.length")
        assert OPERATOR not in await page.run("location.href + document.documentElement.outerHTML")
        await page.run("document.querySelector('#applications tbody button').click()")
        assert await page.run("document.querySelector('#application').value") == "gold"

        await page.run("window.before = 1; location.reload()")
        await page.until("window.before === undefined")  # it is asked for once in a tab
        await page.until_shown("#applications", "silver")
        await page.run("document.querySelector('#forget').click()")
        await give(GOLD)
        await page.until_shown("#replicas", "#0")
        assert "silver" not in await page.run("document.documentElement.outerHTML")
        assert await page.text("#decisions") == "The operator's to see."
        other = await tab(one.api.url)  # another tab has to be told
        await other.until("!document.querySelector('#token-form').hidden")


@run
async def test_it_fits_a_phone_and_needs_no_mouse(tmp_path):
    async with served(TENANTS, speed=SPEED) as one, browser(tmp_path) as tab:
        one.counted[:, [st.OFFERED, st.GOOD]] += 500
        page = await tab(one.api.url, width=390, height=844, phone=True, dark=True)
        await page.until_shown("#applications", "flood")
        await page.until("document.querySelector('.chart path.load')")
        assert await page.run("document.documentElement.scrollWidth") == 390
        assert await page.run("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 28)"
        assert await page.run("document.getAnimations().length") == 0
        await page.run("document.querySelector('.chart svg').focus()")
        for key in ("ArrowLeft", "ArrowLeft"):
            await page.ask("Input.dispatchKeyEvent", type="keyDown", key=key)
        await page.until_shown("#spoken", "load", "req/s", "violations")
        assert await page.run("document.querySelector('.cross').getAttribute('visibility')") == "visible"
        assert await page.text("#readout .when") != "now"
        unnamed = """[...document.querySelectorAll('button, input, select, [tabindex="0"]')].filter(e => e.offsetParent && !(
            e.ariaLabel || e.getAttribute('aria-labelledby') || e.labels?.length || e.textContent.trim())).length"""
        assert await page.run(unnamed) == 0
        assert page.errors == []
