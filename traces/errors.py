"""The one error of this room: a trace that cannot be used, and why."""

from __future__ import annotations

from pathlib import Path


class TraceError(ValueError):
    """A trace file, manifest or name that cannot be used.

    Attributes:
        file: the file, or the trace's name when no file is meant.
        line: 1-based line of the first fault; None when the fault is not on one line.
        reason: what is wrong and what to do.
    """

    def __init__(self, file: str | Path, line: int | None, reason: str) -> None:
        self.file, self.line, self.reason = str(file), line, reason
        super().__init__(f"{file}:{line}: {reason}" if line is not None else f"{file}: {reason}")

    def __reduce__(self) -> tuple[type[TraceError], tuple[str, int | None, str]]:
        """Lets the error cross a process border with its three parts."""
        return type(self), (self.file, self.line, self.reason)
