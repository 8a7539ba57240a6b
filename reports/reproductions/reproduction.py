"""What a reproduction is: rows of ours beside theirs, and how near they have to come.

A file of this folder, ``some_name.py``, is the reproduction ``some-name``: it sets ``REPRODUCTION``. Nothing else is needed.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
Value = float | str


@dataclass(frozen=True)
class Row:
    """One published figure beside ours.

    Attributes:
        table: which table of the publication it belongs to; rows of one table follow each other.
        case: the row of that table ("load 100 req/s").
        figure: what is compared there ("objective").
        ours: number or words (nan: we have none).
        theirs: number or words; None: they published none, the row only tells ours.
        tolerance: greatest absolute difference of two numbers that counts as reached; None: nothing is judged.
        unit: of the numbers.
        decimals: of the numbers, as shown.
        note: what a reader has to know ("fitted to this row").
    """

    table: str
    case: str
    figure: str
    ours: Value
    theirs: Value | None = None
    tolerance: float | None = None
    unit: str = ""
    decimals: int = 4
    note: str = ""

    @property
    def difference(self) -> float | None:
        """Ours minus theirs; None where one of them is words, or not there."""
        if isinstance(self.ours, str) or self.theirs is None or isinstance(self.theirs, str):
            return None
        return self.ours - self.theirs

    @property
    def reached(self) -> bool | None:
        """Whether ours is near enough; words have to be the same. None: nothing is judged."""
        if isinstance(self.ours, str) or isinstance(self.theirs, str):
            return None if self.theirs is None else self.ours == self.theirs
        if self.theirs is None or self.tolerance is None:
            return None
        return not math.isnan(self.ours) and abs(self.ours - self.theirs) <= self.tolerance


def no_account(rows: Sequence[Row]) -> Sequence[str]:
    """Says nothing more."""
    return ()


@dataclass(frozen=True)
class Reproduction:
    """One reproduction.

    Attributes:
        title: what is made again.
        source: where they published it.
        aim: what would count as a success.
        rows: makes the rows, one after the other.
        account: sentences on what was found, from the rows: what falls short, and why.
    """

    title: str
    source: str
    aim: str
    rows: Callable[[], Iterable[Row]]
    account: Callable[[Sequence[Row]], Sequence[str]] = no_account


@dataclass(frozen=True)
class Found:
    """What a reproduction gave.

    Attributes:
        name, reproduction: which.
        rows: ours beside theirs.
        account: sentences on what was found.
        missing: why it could not be run; empty where it was.
    """

    name: str
    reproduction: Reproduction
    rows: tuple[Row, ...] = ()
    account: tuple[str, ...] = ()
    missing: str = ""

    @property
    def verdict(self) -> str:
        """How many of the judged rows are reached, in words."""
        judged = [row.reached for row in self.rows if row.reached is not None]
        if self.missing:
            return f"not run: {self.missing}"
        return f"{sum(judged)} of {len(judged)} judged rows reached; {len(self.rows)} rows in all"


def texts(row: Row) -> tuple[str, str, str, str]:
    """Theirs, ours, difference and allowed difference, as shown."""

    def shown(value: float | str | None) -> str:
        if value is None or isinstance(value, str):
            return value or ""
        return f"{value:.{row.decimals}f}{f' {row.unit}' if row.unit else ''}" if value == value else "none"

    words = {True: "same", False: "other", None: ""}[row.reached] if isinstance(row.ours, str) else ""
    difference = f"{row.difference:+.2g}" if row.difference is not None else words
    return shown(row.theirs), shown(row.ours), difference, "" if row.tolerance is None else f"{row.tolerance:g}"


def names() -> tuple[str, ...]:
    """All reproductions, by name; nothing is imported."""
    files = (module.name for module in pkgutil.iter_modules([str(HERE)]) if module.name != Path(__file__).stem)
    return tuple(sorted(name.replace("_", "-") for name in files))


def find(name: str) -> Reproduction:
    """A reproduction by name.

    Raises:
        LookupError: there is none of that name.
    """
    if name not in names():
        raise LookupError(f"no reproduction '{name}'; there are {', '.join(names())}, all")
    found: Reproduction = importlib.import_module(f"{__package__}.{name.replace('-', '_')}").REPRODUCTION
    return found
