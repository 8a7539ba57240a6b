"""Requests that are told by their heads are what the parser would have made of them, however they come."""

import gc
import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.gateway import reader as r
from runtime.gateway.crowd import Crowd
from runtime.gateway.limits import Limits
from runtime.gateway.reader import BadRequest, Heads, Reader

LIMITS = Limits(header_bytes=300, body_bytes=30)
HEADS = [
    b"POST /v2/models/s/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
    b"POST /v2/models/s/infer HTTP/1.1\r\nHost: x\r\nX-Two: a\r\nX-two: b\r\nContent-Length: %d\r\n\r\n",
    b"POST /v2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n",
    b"POST /v2 HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: %d\r\n\r\n",
    b"POST /v2 HTTP/1.1\r\nHost: x\r\nContent-Length: 0%d\r\n\r\n",
]
OTHERS = [
    b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /v2 HTTP/1.1\r\n\r\n", b"rubbish\r\n\r\n", b"\r\n", b"P", b"",
    b"POST /v2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"POST /v2 HTTP/1.1\r\nHost: x\r\nContent-Length: 31\r\n\r\n",
    b"GET /v2 HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 300 + b"\r\n\r\n",
    b"GET /v2 HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
]
BODIES = st.sampled_from([b"", b"{}", b"abc\r\n\r\nPOST"])
WITH_BODY = st.builds(lambda head, body: head % len(body) + body, st.sampled_from(HEADS), BODIES)
MESSAGES = st.one_of(WITH_BODY, st.sampled_from(OTHERS))


class Forgetful(Heads):
    """Knows nothing, so that all is parsed."""

    def learn(self, data, request):
        pass


def read(parts, heads):
    """What there is after each part, up to the first mistake."""
    reader, found = Reader(LIMITS, heads, Crowd(LIMITS)), []
    for part in parts:
        try:
            reader.feed(part)
        except BadRequest as error:
            return [*found, [*reader.requests, error.status]]
        found.append([*reader.requests, reader.in_body, reader.begun])
    return found


@settings(max_examples=300)
@given(st.lists(MESSAGES, max_size=6), st.lists(st.integers(0, 200), max_size=3))
def test_a_known_head_means_what_it_meant(messages, cuts):
    heads = Heads()
    for message in messages:
        read([message], heads)
    stream = b"".join(messages)
    pieces = [stream[a:b] for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), len(stream)])]
    for parts in (messages, pieces):
        assert read(parts, heads) == read(parts, Forgetful())


def test_what_stands_between_requests_is_not_overlooked():
    whole, heads = HEADS[0] % 2 + b"{}", Heads()
    assert read([whole], heads) == read([whole], heads)  # it is known from the first time on
    assert heads.request(whole) is not None and heads.request(whole + b"P") is None and heads.request(whole[:-1]) is None
    (first, *_), (*_, status) = read([whole + b"P", whole], heads)
    assert first[0].body == b"{}" and status == 400


def test_only_so_many_heads_are_kept_and_no_long_ones(monkeypatch):
    monkeypatch.setattr(r, "KNOWN_HEADS", 3)
    heads = Heads()
    for number in range(10):
        data = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number
        read([data], heads)
        assert heads.request(data).path == f"/{number}" and len(heads._known) <= 3
    long = b"GET /v2 HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200 + b"\r\n\r\n"
    monkeypatch.setattr(r, "KNOWN_BYTES", 100)
    assert read([long], heads)[0][0][0].path == "/v2" and heads.request(long) is None


def test_a_body_that_was_not_sent_to_its_end_is_let_go_of_at_once():
    """Not only when somebody looks for cycles: there may be hundreds, of megabytes each."""
    limits = Limits(body_bytes=2**21)
    room, kept = Crowd(limits), []
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(20):
            reader = Reader(limits, Heads(), room)
            reader.feed(b"POST /v2 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % 2**21)
            reader.feed(b" " * 2**20)
            reader.close()
            kept.append(reader)
        assert tracemalloc.get_traced_memory()[0] < 5 * 2**20
    finally:
        tracemalloc.stop()
        gc.enable()
    assert room.left_bytes == limits.bodies_bytes
