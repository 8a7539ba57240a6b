"""Trace ids of requests, as W3C Trace Context has them: taken from the client, passed to the worker, given back.

Source: https://www.w3.org/TR/trace-context/. A `traceparent` that is malformed counts as none; a `tracestate` is dropped where
it is malformed, or comes alone. Where no span is made here (`runtime.gateway.spans` makes them), they go on as they came.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from runtime.gateway.request import Outcome

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
MEMBERS = 32  # of a tracestate, at most
_PARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
_KEY = r"(?:[a-z0-9][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
_MEMBER = re.compile(_KEY + r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")


class Trace(NamedTuple):
    """What one request is part of.

    Attributes:
        parent: `traceparent`: of the client's span, or of our own.
        state: `tracestate`, "" where there is none.
    """

    parent: str
    state: str = ""

    @property
    def id(self) -> str:
        """Of the whole trace, 32 hexadecimal digits."""
        return self.parent[3:35]

    @property
    def headers(self) -> dict[str, str]:
        """What is given back."""
        return {TRACEPARENT: self.parent}


def read(headers: Mapping[str, str]) -> Trace | None:
    """The trace of a request with these headers (names in lower case), None where there is none that can be used."""
    parent = headers.get(TRACEPARENT)
    if parent is None:
        return None
    known = _PARENT.fullmatch(parent := parent.strip(" \t"))
    if not known or (known[1] == "00" and known[3] is not None):
        return None
    return Trace(parent, _state(headers.get(TRACESTATE, "")))


def _state(text: str) -> str:
    """A tracestate, or nothing where it is malformed. Empty members are allowed, a key twice is not."""
    members = [member for part in text.split(",") if (member := part.strip(" \t"))]
    keys = {member.partition("=")[0] for member in members}
    well_formed = len(members) == len(keys) <= MEMBERS and all(map(_MEMBER.fullmatch, members))
    return ",".join(members) if well_formed else ""


class Traces:
    """Passes traces through, and makes no spans."""

    def begin(self, application: str, headers: Mapping[str, str]) -> Trace | None:
        """A request has come: the trace that it goes on with."""
        return read(headers)

    def end(self, trace: Trace, outcome: Outcome) -> None:
        """It has settled."""

    def close(self) -> None:
        """No more requests come."""
