"""One process at the other end of a control link, and how frames go to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading

from .handshake import Introduction


class Peer:
    """A linked process.

    A frame is sent by whichever thread has it: waking the loop's thread for it would cost more than sending it, and the loop's
    own `write` holds the interpreter's lock while the kernel wakes the receiver (0.1 ms on some virtual machines), for which
    everybody in this process would wait.

    Args:
        introduction: who it is.
        writer: of the control link, on the loop that runs.

    Attributes:
        pulses: where our pulse runs.
        silent_s: for how long no pulse of its has come.
        leaving: it has said goodbye.
    """

    def __init__(self, introduction: Introduction, writer: asyncio.StreamWriter) -> None:
        self.uid, self.address = introduction.uid, introduction.address
        self.pulses: asyncio.StreamWriter | None = None
        self.silent_s = 0.0
        self.leaving = False
        self._writer, self._loop = writer, asyncio.get_running_loop()
        self._line = own_end(writer)
        self._line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lock = threading.Lock()
        self._slow = False  # the kernel took no more once: from then on the loop keeps what is to go

    def send(self, frame: bytes) -> None:
        """Send an encoded frame, from any thread; never blocks. To one that is gone: nothing, the link tells."""
        with self._lock:
            if not self._slow:
                try:
                    frame = frame[self._line.send(frame, socket.MSG_DONTWAIT) :]
                except BlockingIOError:
                    pass
                except OSError:
                    return
                self._slow = bool(frame)
            if frame:
                with contextlib.suppress(RuntimeError):  # closed meanwhile
                    self._loop.call_soon_threadsafe(self._writer.write, frame)

    def ended(self) -> bool:
        """Whether the other side has closed the control link, and all that it sent has been read."""
        try:
            return not self._line.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def hang_up(self) -> None:
        """End both connections. On the loop's thread."""
        with self._lock:
            self._line.close()
        self._writer.transport.abort()
        if self.pulses is not None:
            self.pulses.transport.abort()


def own_end(writer: asyncio.StreamWriter) -> socket.socket:
    """The connection of a transport, as a descriptor of one's own."""
    return socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno()))
