"""No input makes a parser of what comes from outside fail in a way that is not its own (`make fuzz` tries millions)."""

import os
import signal

import pytest
from fuzzing import _alarm, tried
from parsers import Parser, all_parsers

INPUTS = 60


@pytest.fixture(scope="module")
def parsers(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        before = signal.signal(signal.SIGALRM, _alarm)
        yield all_parsers(tmp_path_factory.mktemp("fuzz"))
        signal.signal(signal.SIGALRM, before)


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
