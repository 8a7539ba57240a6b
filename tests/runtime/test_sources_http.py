"""Reading pages over HTTP from what is slow, broken or lying: always in time, always a reason."""

import json
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

import pytest
from simulated_service import serving

from runtime import metrics as m
from runtime.sources.page import Page, SourceError
from runtime.sources.prometheus import PrometheusReader, escaped
from runtime.sources.scrape import Scraper

TIMEOUT_S = 0.3
PAGE = b"# TYPE tidal_exposition_timestamp_seconds gauge\ntidal_exposition_timestamp_seconds 7\n"


class Answer(BaseHTTPRequestHandler):
    """Answers every GET with `body`, in pieces with pauses where asked to."""

    body = b""
    status = 200
    pause_s = 0.0
    pieces = 1
    asked: list

    def do_GET(self):
        self.asked.append(self.path)
        if self.pieces == 0:
            time.sleep(self.pause_s)
            return
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        size = -(-len(self.body) // self.pieces)
        try:
            for i in range(self.pieces):
                time.sleep(self.pause_s)
                self.wfile.write(self.body[i * size:(i + 1) * size])
                self.wfile.flush()
        except OSError:
            pass  # the client has gone

    def log_message(self, *_):
        pass


def answering(body, **attributes):
    return serving(Answer, body=body, asked=attributes.pop("asked", []), **attributes)


@contextmanager
def closing(reader):
    try:
        yield reader
    finally:
        reader.close()


def seconds(function):
    began = time.monotonic()
    with pytest.raises(SourceError) as caught:
        function()
    return time.monotonic() - began, str(caught.value)


HUNG = {"pieces": 0, "pause_s": 1.0}
DRIPPING = {"pieces": 40, "pause_s": 0.1}  # each read is in time, the whole is not


@pytest.mark.parametrize("trouble", [HUNG, DRIPPING, {"status": 500}, {"status": 404}])
def test_a_target_in_trouble_costs_no_more_than_the_time_limit(trouble):
    with answering(PAGE, **trouble) as url, closing(Scraper([f"{url}/metrics"], TIMEOUT_S)) as scraper:
        took_s, told = seconds(scraper.pages)
    assert took_s < TIMEOUT_S + 0.2 and told.startswith(f"{url}/metrics: ")


def test_a_refused_connection_is_told_at_once():
    with answering(PAGE) as url:
        pass
    with closing(Scraper([url], TIMEOUT_S)) as scraper:
        took_s, _ = seconds(scraper.pages)
    assert took_s < TIMEOUT_S


def test_a_token_is_shown_and_may_change(tmp_path):
    class Asks(Answer):
        def do_GET(self):
            self.status = 200 if self.headers["Authorization"] == f"Bearer {right[0]}" else 401
            super().do_GET()

    right, token = ["one"], tmp_path / "token"
    token.write_text("one\n")
    with serving(Asks, body=PAGE, asked=[]) as url, closing(Scraper([url], 20.0, token)) as scraper:
        assert scraper.pages()[url].exposed_s == 7
        right[0] = "another"
        assert "401" in seconds(scraper.pages)[1]
        token.write_text("another\n")
        assert scraper.pages()[url].exposed_s == 7
        token.unlink()
        assert f"{token}" in seconds(scraper.pages)[1]


def test_slow_targets_wait_side_by_side_and_do_not_take_the_quick_one_along():
    with (answering(PAGE, **HUNG) as one, answering(PAGE, **HUNG) as two, answering(PAGE) as quick,
          closing(Scraper([one, two, quick], TIMEOUT_S)) as scraper):
        began = time.monotonic()
        pages = scraper.pages()
        assert time.monotonic() - began < TIMEOUT_S + 0.2
        assert (pages[one], pages[two], pages[quick].exposed_s) == (None, None, 7)
        again = scraper.pages()  # while the slow ones still hang
        assert (again[one], again[quick].exposed_s) == (None, 7)


@pytest.mark.parametrize("text", [b"\xff\xfe", b"tidal_service_queue_requests{ 3\n", b"tidal_service_queue_requests three\n"])
def test_what_is_no_exposition_is_refused(text):
    with answering(text) as url, closing(Scraper([url], TIMEOUT_S)) as scraper, pytest.raises(SourceError):
        scraper.pages()


def test_other_series_labels_and_types_do_no_harm():
    text = PAGE + b'other{a="b"} 1\ntidal_unknown 4\ntidal_service_queue_requests 5\n' \
                  b'tidal_service_queue_requests{service="s",tenant="t",zone="z"} 6\n'
    with answering(text) as url, closing(Scraper([url], TIMEOUT_S)) as scraper:
        assert scraper.pages()[url].values == {(m.EXPOSED_AT.name,): 7, (m.SERVICE_QUEUE.name, "s"): 6}


# ---- Prometheus

def row(name, value, instance="a:1", **labels):
    return {"metric": {"__name__": name, "instance": instance, "job": "tidal", **labels}, "value": [99.0, value]}


def result(*rows, **more):
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": list(rows)}, **more}).encode()


UP, EXPOSED = row("up", "1"), row(m.EXPOSED_AT.name, "7")


@contextmanager
def prometheus(body, job="tidal", **attributes):
    with answering(body, **attributes) as url, closing(PrometheusReader(url, job, TIMEOUT_S)) as reader:
        yield reader


@pytest.mark.parametrize("trouble", [HUNG, DRIPPING, {"status": 503}, {"status": 400}])
def test_a_prometheus_in_trouble_costs_no_more_than_the_time_limit(trouble):
    with prometheus(result(UP, EXPOSED), **trouble) as reader:
        took_s, _ = seconds(reader.pages)
    assert took_s < TIMEOUT_S + 0.2


def test_a_prometheus_that_is_not_there_is_told_at_once_and_not_retried():
    with answering(b"") as url:
        pass
    with closing(PrometheusReader(url, timeout_s=TIMEOUT_S)) as reader:
        took_s, _ = seconds(reader.pages)
    assert took_s < TIMEOUT_S


def test_a_partial_result_is_refused():
    with prometheus(result(UP, EXPOSED, warnings=["a store did not answer"])) as reader:
        assert "partial result: a store did not answer" in seconds(reader.pages)[1]


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"status":"success","data":{"result":[{"metric":{}}]}}',
                                  result(row("up", "one"))])
def test_what_is_no_answer_of_prometheus_is_refused(body):
    with prometheus(body) as reader:
        assert seconds(reader.pages)[1]


def test_numbers_come_as_text_and_some_are_none():
    series = m.SERVICE_QUEUE.name
    rows = [row(series, text, service=text) for text in ("NaN", "+Inf", "-Inf", "3", "0")]
    with prometheus(result(UP, EXPOSED, *rows)) as reader:
        values = reader.pages()["a:1"].values
    assert values == {(m.EXPOSED_AT.name,): 7, (series, "3"): 3, (series, "0"): 0}


def test_targets_that_are_down_or_have_no_series_are_silent_and_unlisted_ones_are_no_targets():
    rows = [UP, EXPOSED, row("up", "0", "b:1"), row(m.EXPOSED_AT.name, "6", "b:1"), row("up", "1", "c:1"),
            row(m.EXPOSED_AT.name, "5", "d:1")]
    with prometheus(result(*rows)) as reader:
        pages = reader.pages()
    assert (pages.pop("a:1").exposed_s, pages) == (7, {"b:1": None, "c:1": Page({})})
    with prometheus(result()) as reader:
        assert reader.pages() == {}


def test_a_label_that_prometheus_has_renamed_gets_its_name_back():
    # A target label `service`, as service discovery sets it, displaces ours.
    labels = {"service": "the-kubernetes-service", "exported_service": "classify", "exported_instance": "x"}
    renamed = row(m.SERVICE_QUEUE.name, "4", **labels)
    with prometheus(result(UP, EXPOSED, renamed)) as reader:
        assert reader.pages()["a:1"].values == {(m.EXPOSED_AT.name,): 7, (m.SERVICE_QUEUE.name, "classify"): 4}


def test_the_job_is_quoted_and_the_past_is_asked_for_by_time():
    asked = []
    with prometheus(result(UP, EXPOSED), job='t"} or up{job="x', asked=asked) as reader:
        reader.pages()
        reader.pages_at(1795348980.25)
    now, past = (parse_qs(urlsplit(path).query) for path in asked)
    assert now == {"query": ['{__name__=~"tidal_.+|up",job="t\\"} or up{job=\\"x"}']}
    assert past["time"] == ["1795348980.25"]


def test_escaping():
    assert escaped('a\\b"c\nd') == 'a\\\\b\\"c\\nd'
