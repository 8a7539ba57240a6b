"""What clients of the gateway may do, over HTTP and gRPC."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

SHEDDING = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)  # come again later


@dataclass(frozen=True)
class Limits:
    """What clients may do.

    Attributes:
        body_bytes: of a request.
        bodies_bytes: of all requests together, until they are answered.
        header_bytes: its line and headers together.
        connections: at once; further ones are told to come back.
        refusals_per_s: so many who are turned away (429, 503) are told so each second, all together: those who ask again at
            once do not take the time of those who are served.
        header_s: from a connection, or the end of an answer, to the next request's last header: idle ones are closed.
        body_s: from there to the end of its body.
        send_s: until a client has taken so much of an answer that the rest fits the buffers.
        connection_s: over gRPC, which cannot see who takes an answer how slowly: after that long a client is asked to connect
            anew, which it does by itself.
        call_s: what is still under way on the old connection then may last so long, answers taken; it ends there.
    """

    body_bytes: int = 16 * 2**20
    bodies_bytes: int = 256 * 2**20
    header_bytes: int = 16 * 2**10
    connections: int = 1024
    refusals_per_s: float = 2000.0
    header_s: float = 10.0
    body_s: float = 10.0
    send_s: float = 10.0
    connection_s: float = 60.0
    call_s: float = 120.0
