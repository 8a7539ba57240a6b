"""From pages to observations: what is a value, zero, missing or stale, when targets restart, fall silent or lose series."""

import math
from dataclasses import replace

import pytest

from envs.contract import Deployment, ReplicaKind, Shape
from envs.scenario_file import load
from runtime import metrics as m
from runtime.sources.page import Page, SourceError, page
from runtime.sources.source import PagedSource
from runtime.sources.window import Window

SCENARIO = load("live-demo")  # one service, `classify`; SLO 0.25 s; a decision each 5 s
KIND = SCENARIO.kinds[0]
HERE = SCENARIO.initial_deployment
NAN = math.nan


def samples(t_s, offered=0.0, started_s=0.0, answered=None, kinds=SCENARIO.kinds, **gauges):
    """The samples of a page of one target that has done so much since it started: (name, labels, value)."""
    answered = offered if answered is None else answered
    application, service = {"application": "classify"}, {"service": "classify", "tenant": "default"}
    rows = [(m.EXPOSED_AT.name, {}, t_s), (m.STARTED_AT.name, {}, started_s), (m.OFFERED.name, application, offered),
            (m.ACCURACY.name, application, 0.8 * answered), (m.SERVICE_OFFERED.name, service, offered),
            (m.SERVICE_QUEUE.name, service, gauges.get("queue", 0.0))]
    rows += [(m.SETTLED.name, {**application, "fate": fate}, answered if fate == "answered" else 0.0) for fate in m.FATES]
    edges = [*m.latency_edges_s(0.25), math.inf]  # every answer took between the 9th and the 10th edge
    rows += [(m.BUCKET, {**application, "le": str(edge)}, answered if i >= 9 else 0.0) for i, edge in enumerate(edges)]
    for kind in kinds:
        labels = {"kind": str(kind), "variant": "+".join(kind.variants), "device": "cpu"}
        ready = float(HERE.replicas.get(kind, 0))
        rows += [(m.REPLICAS.name, {**labels, "state": state}, ready if state == "ready" else 0.0) for state in m.STATES]
        ready_s = ready * (t_s - started_s)
        rows += [(m.KIND_QUEUE.name, labels, 0.0), (m.HELD.name, labels, ready_s), (m.READY_SERVERS.name, labels, ready_s),
                 (m.BUSY_SERVERS.name, labels, ready * answered / 100)]
    return rows


def a_page(*arguments, without=(), **more):
    return page(row for row in samples(*arguments, **more) if row[0] not in without)


def take(window, t_s, *pages, deployment=HERE):
    return window.take({f"target {i}": p for i, p in enumerate(pages)}, t_s, deployment)


def after(*reads, deployment=HERE):
    """The observation after these reads, 5 s apart; each is one page or a tuple of pages."""
    window = Window(SCENARIO)
    for i, pages in enumerate(reads):
        observation = take(window, 5.0 * i, *(pages if isinstance(pages, tuple) else (pages,)), deployment=deployment)
    return observation


def rps(observation):
    return observation.services["classify"].offered_rps


def test_one_page_begins_the_window_and_shows_nothing():
    first = after(a_page(0.0, 100))
    assert math.isnan(first.age_s) and math.isnan(rps(first)) and first.interval_s == 5


def test_two_pages_show_what_happened_between_them():
    seen = after(a_page(0.0, 100), a_page(4.0, 180, queue=3))
    assert (seen.t_s, seen.interval_s, seen.age_s) == (5, 4, 1)
    row = seen.applications["classify"]
    assert (rps(seen), row.offered_rps, row.violation_ratio, row.accuracy) == (20, 20, 0, pytest.approx(0.8))
    assert row.p50_s == pytest.approx(9.5 * 0.25 / 64)  # half-way through the tenth bucket
    assert seen.services["classify"].queue == 3
    [(kind, _)] = HERE.replicas.items()
    assert seen.kinds[kind].ready == 1 and seen.kinds[kind].busy_ratio == pytest.approx(0.8 / 4)


def test_no_load_is_zero_and_its_ratios_are_missing():
    row = after(a_page(0.0, 100), a_page(5.0, 100)).applications["classify"]
    assert row.offered_rps == 0 and math.isnan(row.violation_ratio) and math.isnan(row.accuracy) and math.isnan(row.p99_s)


@pytest.mark.parametrize("name, lost", [
    (m.OFFERED.name, lambda o: [o.applications["classify"].offered_rps]),
    (m.SERVICE_OFFERED.name, lambda o: [rps(o)]),
    (m.SERVICE_QUEUE.name, lambda o: [o.services["classify"].queue]),
    (m.SETTLED.name, lambda o: [o.applications["classify"].late_ratio, o.applications["classify"].accuracy]),
    (m.ACCURACY.name, lambda o: [o.applications["classify"].accuracy]),
    (m.BUCKET, lambda o: [o.applications["classify"].p50_s, o.applications["classify"].p99_s]),
    (m.REPLICAS.name, lambda o: [o.kinds[KIND].ready, o.devices["cpu"].held, o.devices["cpu"].free,
                                 o.devices["cpu"].memory_free_bytes]),
    (m.BUSY_SERVERS.name, lambda o: [o.kinds[kind].busy_ratio for kind in HERE.replicas]),
    (m.KIND_QUEUE.name, lambda o: [o.kinds[KIND].queue]),
])
def test_a_series_that_is_not_there_is_missing_and_never_zero(name, lost):
    seen = after(a_page(0.0, 100, without=[name]), a_page(5.0, 200, without=[name]))
    assert lost(seen) and all(map(math.isnan, lost(seen)))
    others = [n for n in (rps(seen), seen.services["classify"].queue) if n not in lost(seen)]
    assert any(not math.isnan(n) for n in others)  # the rest is there


@pytest.mark.parametrize("value", [NAN, math.inf, -math.inf])
def test_a_number_that_is_none_is_missing(value):
    rows = [(n, labels, value if n == m.SERVICE_QUEUE.name else v) for n, labels, v in samples(5.0, 200)]
    assert math.isnan(after(a_page(0.0, 100), page(rows)).services["classify"].queue)


def test_a_number_said_twice_is_missing():
    rows = samples(5.0, 200)
    twice = [row for row in rows if row[0] == m.SERVICE_QUEUE.name]
    assert math.isnan(after(a_page(0.0, 100), page(rows + twice)).services["classify"].queue)
    assert math.isnan(after(a_page(0.0, 100), page(rows + twice * 2)).services["classify"].queue)


def test_a_gap_is_missing_once_and_the_window_goes_on_from_before_it():
    gap = a_page(10.0, 300, without=[m.SERVICE_OFFERED.name])
    before = [a_page(0.0, 100), a_page(5.0, 200)]
    assert math.isnan(rps(after(*before, gap)))
    afterwards = after(*before, gap, a_page(15.0, 440))
    assert (rps(afterwards), afterwards.interval_s) == (24, 10)  # 240 in 10 s


def test_a_gap_that_lasts_is_how_things_are():
    gaps = [a_page(5.0 * i, 100.0 * i, without=[m.SERVICE_QUEUE.name]) for i in (2, 3, 4)]
    seen = after(a_page(0.0), a_page(5.0, 100), *gaps)
    assert (rps(seen), seen.interval_s) == (20, 5)
    assert math.isnan(seen.services["classify"].queue)


@pytest.mark.parametrize("restarted", [
    a_page(5.0, 3, started_s=4.0),  # counters begin again
    a_page(5.0, 5000, started_s=4.0),  # and are above the old ones already
    a_page(5.0, 60),  # a counter fell, whatever the reason
])
def test_after_a_restart_the_window_begins_anew(restarted):
    seen = after(a_page(0.0, 100), restarted)
    assert math.isnan(rps(seen)) and math.isnan(seen.age_s)
    offered, started_s = restarted.values[m.SERVICE_OFFERED.name, "classify"], restarted.values[m.STARTED_AT.name,]
    seen = after(a_page(0.0, 100), restarted, a_page(10.0, offered + 100, started_s=started_s))
    assert (rps(seen), seen.interval_s) == (20, 5)


def test_a_page_that_is_not_newer_is_the_last_observation_getting_stale():
    seen = after(a_page(0.0, 100), a_page(4.0, 180), a_page(4.0, 180))
    assert (seen.t_s, seen.age_s, rps(seen)) == (10, 6, 20)
    assert repr(replace(seen, t_s=5.0, age_s=1.0)) == repr(after(a_page(0.0, 100), a_page(4.0, 180)))
    seen = after(a_page(0.0, 100), a_page(4.0, 180), a_page(4.0, 180), a_page(14.0, 380))
    assert (seen.age_s, seen.interval_s, rps(seen)) == (1, 10, 20)


def test_when_all_series_have_vanished_everything_is_missing():
    seen = after(a_page(0.0, 100), a_page(5.0, 200), Page({}))
    assert math.isnan(seen.age_s) and math.isnan(rps(seen))
    seen = after(a_page(0.0, 100), a_page(5.0, 200), Page({}), a_page(15.0, 400))
    assert (rps(seen), seen.interval_s) == (20, 10)


def test_two_targets_are_summed():
    seen = after((a_page(0.0, 100), a_page(0.5, 50)), (a_page(5.0, 200, queue=1), a_page(5.5, 100, queue=2)))
    assert (rps(seen), seen.services["classify"].queue, seen.age_s, seen.interval_s) == (30, 3, 0, 5)


def test_where_one_of_two_is_silent_what_it_tells_is_missing():
    both = (a_page(0.0, 100), a_page(0.0, 50))
    seen = after(both, (a_page(5.0, 200), None))
    assert math.isnan(rps(seen)) and math.isnan(seen.services["classify"].queue)
    only = a_page(0.0, 50, without=[m.SERVICE_QUEUE.name])
    seen = after((a_page(0.0, 100), only), (a_page(5.0, 200, queue=4), None))
    assert math.isnan(rps(seen)) and seen.services["classify"].queue == 4  # the silent one never told that
    seen = after(both, (a_page(5.0, 200), None), (a_page(10.0, 300), a_page(10.0, 150)))
    assert (rps(seen), seen.interval_s) == (30, 10)


def test_a_target_that_was_silent_from_the_start_may_know_anything():
    assert math.isnan(after((a_page(0.0, 100), None), (a_page(5.0, 200), None)).age_s)


def test_a_page_that_is_not_of_the_contract_is_none_of_ours_unless_it_was():
    other = Page({})  # the autoscaler's own page in the same job, say
    assert rps(after((a_page(0.0, 100), other), (a_page(5.0, 200), other))) == 20
    assert math.isnan(rps(after((a_page(0.0, 100), a_page(0.0, 50)), (a_page(5.0, 200), other))))


def test_a_target_more_or_less_begins_the_window_anew():
    for second in ((a_page(5.0, 200), a_page(5.0, 50)), (a_page(5.0, 200),)):
        first = (a_page(0.0, 100), a_page(0.0, 50)) if len(second) == 1 else (a_page(0.0, 100),)
        assert math.isnan(rps(after(first, second)))


def test_pending_replicas_are_told_oldest_first():
    rows = samples(5.0, 200)
    labels = {"kind": str(KIND), "variant": "small", "device": "cpu"}
    rows += [(m.PENDING_SINCE.name, {**labels, "replica": r}, t) for r, t in (("a", 3.0), ("b", 1.5), ("c", 4.0))]
    assert after(a_page(0.0, 100), page(rows)).kinds[KIND].pending_s == (3.5, 2.0, 1.0)


def test_a_measured_cold_start_replaces_the_scenario_s():
    rows = [*samples(5.0, 200), (m.COLD_START.name, {"kind": str(KIND), "variant": "small", "device": "cpu"}, 0.9)]
    seen = after(a_page(0.0, 100), page(rows))
    assert seen.load_s == {**{name: v.load_s for name, v in SCENARIO.variants.items()}, KIND.variants[0]: 0.9}


def test_a_kind_that_is_no_candidate_is_observed_from_its_first_replica_on():
    other = ReplicaKind(("small",), Shape(2))
    wanted = Deployment({other: 1})
    with_other = page(samples(5.0, 200, kinds=(*SCENARIO.kinds, other)))
    seen = after(a_page(0.0, 100), with_other, deployment=wanted)
    assert seen.kinds[other].ready == 0 and not math.isnan(seen.devices["cpu"].held)
    seen = after(a_page(0.0, 100), a_page(5.0, 200), deployment=wanted)
    assert math.isnan(seen.kinds[other].ready) and math.isnan(seen.devices["cpu"].held)  # it should be there


class Script:
    """A reader that gives one thing after another."""

    def __init__(self, *reads, past=None):
        self._reads, self._past = list(reads), past or {}

    def pages(self):
        read = self._reads.pop(0)
        if isinstance(read, Exception):
            raise read
        return {"target": read}

    def pages_at(self, t_s):
        return {"target": self._past[t_s]} if t_s in self._past else {}


def test_a_failed_read_is_the_last_observation_getting_stale():
    source = PagedSource(SCENARIO, Script(a_page(0.0, 100), a_page(4.0, 180), SourceError("gone"), a_page(14.0, 380)), 5.0)
    seen = [source.read(0.0, HERE), source.read(5.0, HERE), source.read(10.0, HERE)]
    assert source.trouble == "gone"
    seen.append(source.read(15.0, HERE))
    assert source.trouble == ""
    assert [o.age_s for o in seen[1:]] == [1, 6, 1] and [rps(o) for o in seen[1:]] == [20, 20, 20]


def test_where_nothing_could_ever_be_read_everything_is_missing():
    assert math.isnan(PagedSource(SCENARIO, Script(SourceError("gone")), 5.0).read(0.0, HERE).age_s)


def test_a_reader_that_knows_the_past_gives_a_first_observation():
    source = PagedSource(SCENARIO, Script(a_page(104.0, 180), past={100.0: a_page(99.0, 80)}), 5.0)
    seen = source.read(105.0, HERE)
    assert (rps(seen), seen.age_s, seen.interval_s) == (20, 1, 5)
