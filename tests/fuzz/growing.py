"""A corpus that grows: an input that makes a parser of ours execute a line that none before did is one to begin from, too.

Lines are seen by `sys.settrace`, which is slow, so that a few inputs are looked at and millions are made from what they found.
"""

import contextlib
import sys
from pathlib import Path

from mutations import mutated

OURS = f"{Path(__file__).parents[2]}/"
NOT_OURS = f"{OURS}.venv"
LONGEST = 1 << 15  # bytes of what is kept


def lines_of(parse, data):
    """The lines of ours that it executes, each a (file, number); whatever it raises."""
    seen = set()

    def line(frame, event, _):
        seen.add((frame.f_code.co_filename, frame.f_lineno))
        return line

    def call(frame, event, _):
        file = frame.f_code.co_filename
        return line if file.startswith(OURS) and not file.startswith(NOT_OURS) else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        with contextlib.suppress(Exception):
            parse(data)
    finally:
        sys.settrace(before)
    return seen


def grown(parser, more, rng, tries):
    """What to begin from beside the good inputs.

    Args:
        parser: of `parsers`.
        more: what there was already.
        rng: a `random.Random`.
        tries: inputs to look at.

    Returns:
        More of it, and how many lines the good inputs reach, and how many all of it.
    """
    for data in parser.corpus:
        lines_of(parser.parse, data)  # what is imported at its first use is no line that an input reaches
    seen = set().union(*(lines_of(parser.parse, data) for data in parser.corpus))
    good, more = len(seen), list(more)
    for data in more:
        seen |= lines_of(parser.parse, data)
    for _ in range(tries):
        data = mutated(rng, parser.corpus + more)
        if len(data) <= LONGEST and (new := lines_of(parser.parse, data)) - seen:
            seen |= new
            more.append(data)
    return more, good, len(seen)
