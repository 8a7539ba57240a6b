"""Limits by the clock: floors, ceilings and pins for hours of the week, on top of an operator's limits.

    timezone: Europe/Berlin
    schedule:
      - {days: [mon, tue, wed, thu, fri], from: "07:45", to: "18:00", min_levels: [0, 2]}    # two at least, while people work
      - {days: [sat], from: "22:00", to: "02:00", levels: [0, 1]}                            # pinned, into Sunday

A span without days holds on each. Where spans overlap, the later one in the file wins. A floor counts from its first decision
on: begin it by a load time earlier than it is needed. Bounds come before change per window and cool-down (`envs.envelope`), so
that a floor is reached no faster than these allow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from envs.envelope import Limits

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Levels = tuple[Annotated[int, Field(ge=0)], ...]


def _minute(value: Any) -> Any:
    """Minutes since midnight, of `HH:MM`. YAML takes an unquoted 18:00 for 18 x 60 + 0, which is the same."""
    hours, colon, minutes = str(value).partition(":")
    if isinstance(value, str) and colon and hours.isdecimal() and minutes.isdecimal() and int(minutes) < 60:
        return int(hours) * 60 + int(minutes)
    if isinstance(value, str):
        raise ValueError("give a time of day, HH:MM")
    return value


Minute = Annotated[int, BeforeValidator(_minute), Field(ge=0, le=24 * 60)]


class Span(BaseModel):
    """Hours of the week, and the levels that hold in them; `levels` is floor and ceiling at once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    days: tuple[Day, ...] = DAYS
    begins: Minute = Field(alias="from")
    ends: Minute = Field(alias="to")
    min_levels: Levels | None = None
    max_levels: Levels | None = None
    levels: Levels | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Span:
        bounds = self.min_levels is not None or self.max_levels is not None
        if bounds == (self.levels is not None):
            raise ValueError("give min_levels or max_levels, or levels")
        if self.begins == self.ends:
            raise ValueError("it ends when it begins")
        return self

    @property
    def bounds(self) -> dict[str, Any]:
        """The fields of `Limits` that it sets."""
        said = {"min_levels": self.min_levels if self.levels is None else self.levels,
                "max_levels": self.max_levels if self.levels is None else self.levels}
        return {name: levels for name, levels in said.items() if levels is not None}

    def holds(self, local: datetime) -> bool:
        """Whether it holds at a local time. One that ends before it begins ends on the next day."""
        minute, today = local.hour * 60 + local.minute, DAYS[local.weekday()]
        if self.begins < self.ends:
            return today in self.days and self.begins <= minute < self.ends
        yesterday = DAYS[(local - timedelta(days=1)).weekday()]
        return (today in self.days and minute >= self.begins) or (yesterday in self.days and minute < self.ends)


@dataclass(frozen=True)
class ScheduledLimits(Limits):
    """Limits that hang on the time.

    Attributes:
        spans: in the order of the file.
        zone: whose days and hours they are.
    """

    spans: tuple[Span, ...] = ()
    zone: ZoneInfo = field(default_factory=partial(ZoneInfo, "UTC"))

    def at(self, t_s: float) -> Limits:
        """See `Limits.at`."""
        local = datetime.fromtimestamp(t_s, self.zone)
        bounds = {name: levels for span in self.spans if span.holds(local) for name, levels in span.bounds.items()}
        return replace(self, spans=(), **bounds)

    def each(self) -> Iterator[Limits]:
        """What holds in each span alone."""
        return (replace(self, spans=(), **span.bounds) for span in self.spans)
