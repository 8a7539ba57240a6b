"""What is wrong with a file that a user wrote, and on which line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong with a file.

    Attributes:
        file: path of the file as the user gave it, or as the file that names it does.
        line: line in it, from 1; 0 where the trouble is with the file as a whole.
        where: the part that is wrong ("services.classify.slo_s"), "" where it is the whole file.
        reason: what is wrong, and what would be right.
    """

    file: str
    line: int
    where: str
    reason: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (place, self.where, self.reason) if part)
