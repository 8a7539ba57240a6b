"""What is read from a journal and from a cluster's events, and what is said about it."""

import io
from dataclasses import replace

import pytest
from made_run import CLIENTS, KILL, made, moment, run
from rich.console import Console
from rich.text import Text

from envs.contract import Deployment
from envs.scenario_file import load
from runtime.demo.record import Kill, decisions_of, replacement_of
from runtime.demo.show import Lines, Screen, bars, clock, watching
from runtime.demo.summary import summary, tell
from runtime.deployment_json import kind_to_json, to_json

SMALL, MEDIUM, LARGE = load("live-demo").kinds
ONE, TWO = Deployment({LARGE: 1}), Deployment({LARGE: 2})
SHARED = Deployment({LARGE: 1}, {"classify": {(LARGE, "large"): 1.0}})


def intent(number, before, after, acts=True):
    return {"type": "intent", "decision_id": f"j/{number}", "at_s": 100.0 + number, "by": "infadapter", "acts": acts,
            "observation": {"deployment": to_json(before)}, "deployment": to_json(after), "bounds": ["at most 2"],
            "proposal": {"reason": "load 5 -> 9 req/s"}}


def outcome(number, status="applied"):
    return {"type": "outcome", "decision_id": f"j/{number}", "status": status}


def test_decisions_are_told_with_what_they_changed():
    records = [intent(0, ONE, ONE, acts=False), intent(1, ONE, TWO), outcome(1), intent(2, ONE, SHARED), outcome(2),
               intent(3, TWO, ONE), outcome(3, "conflict"), {"type": "stop"}, intent(4, ONE, TWO)]
    found = list(decisions_of(records, began_s=101.0))
    assert [(d.t_s, d.status, d.changes) for d in found] == [
        (-1.0, "unchanged", ""), (0.0, "applied", "1 x large → 2 x large"), (1.0, "applied", "other shares"),
        (2.0, "conflict", "")]  # the last is still open
    assert found[1].reason == "load 5 -> 9 req/s; at most 2" and found[1].replicas == "2 x large"


def event(number, t_s, what, replica, kind=LARGE):
    return {"number": number, "t_s": 100.0 + t_s, "what": what, "why": "", "replica": replica, "kind": kind_to_json(kind)}


LOST, NEW = event(5, 10.1, "failed", 3), event(6, 10.2, "pending", 7)


@pytest.mark.parametrize("events, seen_s, replaced_s, why", [
    ([event(1, 2.0, "failed", 2)], None, None, ""),  # before the kill
    ([LOST], 10.1, None, ""),
    ([LOST, event(6, 10.2, "pending", 6, SMALL), event(7, 10.5, "ready", 6, SMALL)], 10.1, None, ""),  # another kind
    ([LOST, NEW, event(7, 10.4, "ready", 4), event(8, 12.5, "ready", 7)], 10.1, 12.5, ""),  # 4 was on its way before
    ([LOST, NEW, event(7, 11.0, "draining", 7)], 10.1, None, "the deployment changed before")])
def test_a_killed_worker_is_replaced_by_the_next_of_its_kind(events, seen_s, replaced_s, why):
    found = replacement_of(Kill(10.0, 4711), events, began_s=100.0)
    assert (found.seen_s, found.replaced_s, found.why) == (pytest.approx(seen_s), pytest.approx(replaced_s), why)


def said(record):
    return {what: figure for what, figure, _ in summary(record) if what}


def test_the_summary_tells_each_figure():
    told = said(run())
    assert told["requests"] == "200 sent, 200 answered, 0 failed"
    assert told["violations"] == "5 later than the SLO of 250 ms: 2.5 %"
    assert told["answered by"] == "large 150, small 50; mean accuracy 77.5 % (as published for them)"
    assert told["scaling"] == "1 changes of the replicas, 1 of the shares between them"
    assert told["kill -9"] == "process 4711 at 0:05, replica 1 (large); seen after 20 ms, a new one ready after 1.5 s"
    assert told["decisions"].startswith("3 by infadapter")  # the one before the load does not count


def test_failed_requests_are_violations_and_told_by_status():
    record = run(clients={**CLIENTS, "answered": 190, "other_statuses": {"503": 7, "0": 3}})
    rows = list(summary(record))
    assert record.failed == 10 and ("requests", "200 sent, 190 answered, 10 failed", "bold red") in rows
    assert said(record)["violations"] == "15 later than the SLO of 250 ms: 7.5 %"
    assert ("", "7 with status 503", "red") in rows and ("", "3 with status 0 (no answer)", "red") in rows


def test_times_are_not_told_of_a_load_that_was_sent_late():
    told = said(run(clients={**CLIENTS, "kept_up": False, "late": None, "p50_s": None, "p95_s": None, "p99_s": None}))
    assert "violations" not in told and told["latency"].startswith("not told")


@pytest.mark.parametrize("kill, text", [
    (None, "none: at no time was every worker ready"), (Kill(5.0, 7), "the cluster has not noticed"),
    (replace(KILL, replaced_s=None), "not replaced"), (replace(KILL, replaced_s=None, why="moved"), "not replaced: moved")])
def test_a_kill_that_did_not_go_as_it_should_is_told_so(kill, text):
    assert said(run(kill=kill))["kill -9"].endswith(text)


def printed(write):
    console = Console(record=True, width=100, file=io.StringIO())
    write(console)
    return console.export_text()


def test_lines_tell_events_at_once_and_moments_each_five_seconds():
    def write(console):
        lines = watching(console)
        assert type(lines) is Lines  # this is no terminal
        for t_s in range(1, 12):
            lines.moment(moment(float(t_s)))
        lines.event(12.3, "kill -9 [red]1[/red]")
        lines.close()

    first, second, last = printed(write).splitlines()
    assert first.split()[0] == "0:05" and second.split()[0] == "0:10" and last == " 0:12  kill -9 [red]1[/red]"
    assert first.endswith("load 20 req/s, p99 100 ms, violations 0.0 %, 1 x large, 1 x small loading")


def test_bars_leave_a_gap_where_a_number_is_missing_and_times_count_from_the_load():
    assert bars([0.0, None, 4.0, 8.0]) == "▁ ▅█" and bars([]) == "" and bars([0.0]) == "▁"
    assert (clock(-3.2), clock(7.9), clock(75.0)) == ("-0:03", "0:07", "1:15")


def test_all_of_it_is_printed():
    text = printed(lambda console: tell(run(decisions=(made(), made(6.0))), console))
    assert "Live: 10 s of live-resnets by infadapter" in text and "0:06  1 x small: load 93 -> 140 req/s" in text


def test_in_a_terminal_a_strip_moves_below_the_lines_and_is_taken_away():
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=100, height=30, _environ={})
    screen = watching(console)
    assert type(screen) is Screen
    for t_s in (1.0, 2.0):
        screen.moment(moment(t_s, rps=10 * t_s, p99_s=None))
    screen.event(2.5, "something happened")
    screen.close()
    text = Text.from_ansi(written.getvalue()).plain
    assert "▅█" in text and "20 req/s" in text and "missing" in text and "1 x large, 1 x small loading" in text
    assert text.index("something happened") > text.index("10 req/s")
