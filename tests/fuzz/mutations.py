"""Inputs made from good ones: a few small changes each, of bytes and of words that parsers stumble over."""

WORDS = [word.encode() for word in (
    "null", "true", "-1", "0", "1e999", "-1e999", "NaN", "nan", "inf", "1" * 40, "1" * 400, "1" * 5000, "0.1", "1e-320",
    "18446744073709551616",
    '""', "{}", "[]", "[[", "{", "}", "]", ",", ":", "\n", "\r\n", "\r\n\r\n", "\t", " ", '"', "\\", "\\u0000", "\\ud800", "/",
    "../", "%00", "%ff", "#", "&a ", "*a", "!!python/object/apply:os.system ", "<<: ", "- ", "? ", "| ", "---\n", "...", "é",
    "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", "Expect: 100-continue\r\n", "5\r\nhello\r\n0\r\n\r\n",
    "Inference-Header-Content-Length: 3\r\n", "tidal_", 'le="', "# TYPE ", "__name__", "x" * 300)] + [
    b"\0", b"\xff", b"\xfe\xff", b"\x1f\x8b", b"\x80", b"\xed\xa0\x80", b"\xff" * 8, b"\0" * 8]


def mutated(rng, corpus, longest=1 << 16):
    """One of the corpus, changed in one to six places."""
    data = bytearray(rng.choice(corpus))
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
