"""Inputs made from good ones: a few small changes each, of bytes, of words that parsers stumble over, and of whole tokens.

Where only tokens change, the input is still well-formed, and what comes after the parser proper is tried, too.
"""

import re
from functools import lru_cache

WORDS = [word.encode() for word in (
    "null", "true", "-1", "0", "1e999", "-1e999", "NaN", "nan", "inf", "1" * 40, "1" * 400, "1" * 5000, "0.1", "1e-320",
    "18446744073709551616",
    '""', "{}", "[]", "[[", "{", "}", "]", ",", ":", "\n", "\r\n", "\r\n\r\n", "\t", " ", '"', "\\", "\\u0000", "\\ud800", "/",
    "../", "%00", "%ff", "#", "&a ", "*a", "!!python/object/apply:os.system ", "<<: ", "- ", "? ", "| ", "---\n", "...", "é",
    "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", "Expect: 100-continue\r\n", "5\r\nhello\r\n0\r\n\r\n",
    "Inference-Header-Content-Length: 3\r\n", "tidal_", 'le="', "# TYPE ", "__name__", "x" * 300)] + [
    b"\0", b"\xff", b"\xfe\xff", b"\x1f\x8b", b"\x80", b"\xed\xa0\x80", b"\xff" * 8, b"\0" * 8]
VALUES = [value.encode() for value in (
    "null", "true", "false", "-1", "0", "1", "2", "3", "0.5", "1e300", "-1e300", "1e-320", "9" * 25, "65536", "4294967296",
    "-0.0", "[]", "{}", '""', '"NaN"', '"\\u0000"', '"\\ud800"', "NaN", ".inf", "~", "[null]", "[[1, 2], [3]]", '{"": 0}',
    "2026-01-01")]
TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[-+]?[0-9][0-9.eE]*|[A-Za-z_][A-Za-z0-9_]*')


@lru_cache(4096)
def _tokens(data):
    """(begin, end) of each string, number and name."""
    return [found.span() for found in TOKEN.finditer(data)] or [(0, len(data))]


def _with_other_tokens(rng, data, corpus):
    """One to three of its tokens replaced by values, or by tokens of the corpus."""
    spans = _tokens(data)
    for begin, end in sorted(rng.sample(spans, min(len(spans), rng.choice((1, 1, 2, 3)))), reverse=True):
        new = rng.choice(VALUES)
        if rng.random() < 0.5:
            other = rng.choice(corpus)
            at, to = rng.choice(_tokens(other))
            new = other[at:to]
        data = data[:begin] + new + data[end:]
    return data


def mutated(rng, corpus, longest=1 << 16):
    """One of the corpus, changed in its tokens, or anywhere in one to six places, or both."""
    good = rng.choice(corpus)
    if rng.random() < 0.5:
        good = _with_other_tokens(rng, good, corpus)
        if rng.random() < 0.6:
            return good[:longest]
    data = bytearray(good)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 6))):
        at, end = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
        match rng.randrange(9):
            case 0:
                if at < len(data):
                    data[at] ^= 1 << rng.randrange(8)
            case 1:
                if at < len(data):
                    data[at] = rng.randrange(256)
            case 2:
                del data[at : min(end, at + 16)]
            case 3:
                del data[at:end]
            case 4:
                data[at:at] = rng.choice(WORDS)
            case 5:
                data[at : min(end, at + 8)] = rng.choice(WORDS)
            case 6:
                data[at:at] = data[at : min(end, at + 64)] * rng.choice((1, 2, 8))
            case 7:
                other = rng.choice(corpus)
                cut = rng.randrange(len(other) + 1)
                data[at:end] = other[cut : cut + rng.randrange(64)]
            case 8:
                if rng.random() < 0.05:
                    data[at:at] = rng.choice((b"[", b'{"a":', b"{a: ", b"- ", b"((")) * 3000
    return bytes(data[:longest])
