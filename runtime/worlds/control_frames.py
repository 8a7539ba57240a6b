"""What comes over a control link once hands have been shaken: each frame is handled in the turn of the loop that brings it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from .handshake import HEAD_BYTES, body_bytes, decode


class ControlFrames(asyncio.Protocol):
    """The receiving end of one link.

    Args:
        on_frame: called with each frame.
        on_end: called with what `on_frame` or a broken frame raised, or None where the connection has ended; perhaps twice.
    """

    def __init__(self, on_frame: Callable[[dict[str, Any]], None], on_end: Callable[[Exception | None], None]) -> None:
        self._on_frame, self._on_end = on_frame, on_end
        self._rest = b""  # of a frame that has not come whole

    async def take_over(self, reader: asyncio.StreamReader, transport: asyncio.WriteTransport) -> None:
        """From the reader that has been told what came until now."""
        transport.set_protocol(self)
        reader.feed_eof()
        self.data_received(await reader.read())

    def data_received(self, data: bytes) -> None:
        data, at = self._rest + data, 0
        size = len(data)
        try:
            while size >= (body := at + HEAD_BYTES) and size >= (end := body + body_bytes(data, at)):
                at = end
                self._on_frame(decode(data[body:end]))
        except Exception as error:  # the link is of no use any more, and its end is told as such
            self._on_end(error)
        self._rest = data[at:]

    def connection_lost(self, _: Exception | None) -> None:
        self._on_end(None)
