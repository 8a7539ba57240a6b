"""Something is short at one step: the n-th call of a sort fails, once."""

import errno
import os
import sys
from pathlib import Path

EACH = int(os.environ.get("TIDAL_EACH_STEP", "7"))  # 1: all of them
FILES = {"open", "scandir", "listdir", "write", "fsync", "ftruncate", "flock", "replace", "rename", "mkdir", "unlink"}


class Shortage:
    """Raises an error at one call.

    Args:
        n: which of them, from 1.

    Attributes:
        where: it was raised, "" while it was not.
    """

    def __init__(self, n):
        self._left, self.where = n, ""

    def __enter__(self):
        sys.setprofile(self._look)
        return self

    def __exit__(self, *_):
        sys.setprofile(None)

    def _look(self, frame, event, called):
        if event in ("call", "c_call") and self.concerns(frame, called if event == "c_call" else None):
            self._left -= 1
            if not self._left:
                what = f"{called.__name__}() in " if event == "c_call" else ""
                self.where = f"{what}{frame.f_code.co_qualname} ({Path(frame.f_code.co_filename).name}:{frame.f_lineno})"
                raise self.error()  # and Python calls us no more


class OfMemory(Shortage):
    """At a call that the modules of a package make, of a function of theirs or one of C."""

    def __init__(self, package, n):
        super().__init__(n)
        self._folder = str(Path(package.__file__).parent)

    def concerns(self, frame, called):
        return frame.f_code.co_filename.startswith(self._folder)

    def error(self):
        return MemoryError()


class OfFiles(Shortage):
    """At a call that opens, writes or names files, by whomever: no descriptors, or no room on the disk."""

    def __init__(self, number, n):
        super().__init__(n)
        self._number = number

    def concerns(self, frame, called):
        return getattr(called, "__name__", "") in FILES

    def error(self):
        return OSError(self._number, os.strerror(self._number))


DESCRIPTORS, ROOM = errno.EMFILE, errno.ENOSPC
