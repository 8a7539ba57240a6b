"""Tokens and certificates that are replaced while we serve: their files are looked at each second, and read when they change.

What cannot be used is told in one line, and what was there stays; so does all that is under way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from runtime.serving.rounds import rounds

LOOK_S = 1.0

log = logging.getLogger(__name__)


class Renewal:
    """What depends on files.

    Args:
        look_s: between two looks.
    """

    def __init__(self, look_s: float = LOOK_S) -> None:
        self._look_s = look_s
        self._watched: list[tuple[Sequence[Path], Callable[[], None], list[object]]] = []

    def watch(self, files: Sequence[Path], renew: Callable[[], None]) -> None:
        """Calls `renew` when one of the files has changed from what it is now; a ValueError or OSError of it is told."""
        self._watched.append((files, renew, [_looks(files)]))

    async def run(self) -> None:
        """Until cancelled."""
        await rounds(self._look_s, self._look)

    def _look(self) -> None:
        for files, renew, seen in self._watched:
            looks = _looks(files)
            if looks == seen[0]:
                continue
            names = ", ".join(map(str, files))
            try:
                renew()
            except (ValueError, OSError) as error:
                log.error("%s: not taken up, what was there stays: %s", names, " ".join(str(error).split()))
            else:
                log.info("%s: taken up", names)
            seen[0] = looks


def _looks(files: Sequence[Path]) -> list[tuple[int, int, int] | None]:
    """What changes when a file is written or replaced."""
    return [_stat(file) for file in files]


def _stat(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
