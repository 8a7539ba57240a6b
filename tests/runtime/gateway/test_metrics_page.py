"""The gateway's page where a live cluster's replicas come and go."""

import asyncio
from types import SimpleNamespace

from emulation import Live, made
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from runtime import metrics as m
from runtime.gateway.page import PIECE, Page
from runtime.serving.census import Census


def test_replicas_are_told_by_state_and_a_lost_one_until_it_is_gone():
    live, census = Live(made({"v": 0.1}, [{"variants": ["v"], "cores": [1], "max_count": 3}])), Census()
    (kind,) = live.scenario.kinds
    page = Page(live.dispatcher, census, lambda: 1)

    def states():
        families = {family.name: family for family in text_string_to_metric_families(b"".join(page.pieces()).decode())}
        return {s.labels["state"]: s.value for s in families[m.REPLICAS.name].samples if s.labels["kind"] == str(kind)}

    for number in range(4):
        census.started(number, kind, 0.0, 0.0)
    census.ready(0, 0.1)
    census.leaves(1, "draining")
    census.leaves(2, "failed")
    assert states() == {"pending": 1, "ready": 1, "draining": 1, "failed": 1}
    census.gone(2, 1.0)
    assert states()["failed"] == 0


def test_the_pieces_are_short_and_together_what_the_library_would_write():
    services = {name: {"variants": ["v"], "slo_s": slo_s} for name, slo_s in (("one", 1.0), ("two", 0.3))}
    live = Live(made({"v": 0.1}, [{"variants": ["v"], "cores": [1]}], services=services))
    page = Page(live.dispatcher, Census(), lambda: 1)
    whole = generate_latest(SimpleNamespace(collect=lambda: page.families(page.now())))
    pieces = list(page.pieces())
    assert b"".join(pieces) == whole and max(piece.count(b"\n") for piece in pieces) <= PIECE + 2


def test_a_moment_is_told_later_as_it_was():
    live, found = Live(made({"v": 0.1}, [{"variants": ["v"], "cores": [1]}])), {}
    page = Page(live.dispatcher, Census(), lambda: 1)

    def told(moment):
        return [(s.name, s.labels, s.value) for family in page.families(moment) for s in family.samples]

    async def story():
        await live.begin()
        await live.play({"s": [0.5]})
        moment = page.now()
        found["at once"], answers = told(moment), page.now().answers["s", "v"]
        await live.play({"s": [2.0, 2.5]})
        found["later"], found["now"] = told(moment), told(page.now())
        assert (answers, page.now().answers["s", "v"]) == (1, 3)
        await live.dispatcher.close()

    asyncio.run(live.clock.drive(story()))
    assert found["later"] == found["at once"] != found["now"]
