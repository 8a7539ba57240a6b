"""No input makes a parser of what comes from outside fail in a way that is not its own (`make fuzz` tries millions)."""

import os
import random
import signal

import pytest
from fuzzing import BLOCK, Kept, _alarm, tried
from growing import grown
from parsers import Parser, all_parsers

INPUTS = 60


@pytest.fixture(scope="module")
def parsers(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        before = signal.signal(signal.SIGPROF, _alarm)
        yield all_parsers(tmp_path_factory.mktemp("fuzz"))
        signal.signal(signal.SIGPROF, before)


def test_what_is_right_is_taken(parsers):
    for name, parser in parsers.items():
        for data in parser.corpus:
            if name != "world-handshake":  # whose proof is of another nonce
                parser.parse(data)


def test_nothing_but_refusals(parsers):
    found, refused = {}, 0
    for name, parser in parsers.items():
        here, faults = tried(name, parser, 1, 0, INPUTS)
        refused += here
        if faults:
            found[name] = faults
    assert not found
    assert refused > len(parsers) * INPUTS / 4  # the inputs are not all right


def test_a_fault_is_found_and_can_be_made_again():
    def parse(data):
        if b"NaN" in data:
            raise KeyError("no number")

    refused, faults = tried("made", Parser(parse, [b"1,2,3"]), 0, 0, 3000)
    [(place, (number, data, text))] = faults.items()
    assert not refused and place.startswith("KeyError in test_parsers.py") and b"NaN" in data and "no number" in text
    assert tried("made", Parser(parse, [b"1,2,3"]), 0, number, 1)[1][place][1] == data


def test_inputs_go_on_where_they_ended(tmp_path):
    def parse(data):
        seen.append(data)

    seen, parser = [], Parser(parse, [b"1,2,3"])
    for _ in range(2):
        kept = Kept(tmp_path / "fuzz.json", 5)
        kept.lines["made"], kept.corpus["made"] = [1, 1], []
        kept.piece("made", parser, "a commit")
        kept.write()
    pieces, seen = seen, []
    tried("made", parser, 5, 0, 2 * BLOCK)
    assert pieces == seen and len(seen) == 2 * BLOCK
    assert Kept(tmp_path / "fuzz.json", 0).commits == {"a commit": 2 * BLOCK}


def test_a_corpus_grows_to_where_good_inputs_do_not_reach():
    def parse(data):
        if b"{" not in data:
            return
        if b"[" not in data:
            return
        if data.count(b"[") > 2:
            reached.append(data)

    reached, parser, rng = [], Parser(parse, [b"1,2,3"]), random.Random(0)
    more, good, all_ = grown(parser, (), rng, 3000)
    assert reached and all_ == good + 4 and 1 <= len(more) <= 4
    again, *lines = grown(parser, more, rng, 10)
    assert again == more and lines == [good, all_]
