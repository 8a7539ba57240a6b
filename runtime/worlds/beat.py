"""The process that beats for its parent: one byte every tenth of a second on each connection handed to it.

It is started by `pulse.py` as `python -I -S beat.py FD` and needs nothing of ours. Beside its parent it does not share the
parent's interpreter lock, so that a parent busy for seconds in one call (loading a model) is not taken for dead. It falls
silent while the parent is stopped or has made no progress for `HUNG_S`, and ends with it. It tells the parent whenever it has
beaten.
"""

import os
import select
import signal
import socket
import sys
import time

BEAT_S = 0.1
HUNG_S = 60.0


def stopped(pid: int) -> bool:
    """Whether a process is stopped, traced or a zombie (Linux)."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] in "TtZX"
    except OSError:
        return False


def main(descriptor: int) -> None:
    """Beat until the parent is gone. FD: a UNIX socket; it brings connections, and a byte for every sign of progress; a byte
    goes back for every beat.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent, parent_pid = socket.socket(fileno=descriptor), os.getppid()
    connections: list[int] = []
    progress_s = next_s = time.monotonic()
    while os.getppid() == parent_pid:
        if select.select([parent], [], [], max(0.0, next_s - time.monotonic()))[0]:
            try:
                data, new, _, _ = socket.recv_fds(parent, 4096, 64)
            except OSError:
                return
            if not data:
                return
            connections += new
            progress_s = time.monotonic()
            continue
        next_s = max(next_s + BEAT_S, time.monotonic())
        if stopped(parent_pid) or time.monotonic() - progress_s > HUNG_S:
            continue
        for connection in list(connections):
            try:
                os.write(connection, b".")
            except BlockingIOError:
                pass
            except OSError:
                os.close(connection)
                connections.remove(connection)
        try:
            parent.send(b"b", socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass  # it is busy, and has enough of them
        except OSError:
            return


if __name__ == "__main__":
    main(int(sys.argv[1]))
