"""What the autoscaler observes with: the `Source`, and the one that reads pages."""

from __future__ import annotations

from typing import Protocol

from envs.contract import Deployment, Observation
from envs.scenario import Scenario
from runtime.sources.page import PageReader, SourceError
from runtime.sources.window import Window


class Source(Protocol):
    """Reads the observation of the interval that has ended."""

    trouble: str
    """Why the last read failed, or nothing."""

    def read(self, t_s: float, deployment: Deployment) -> Observation:
        """The observation at the time of decision t_s (Unix time), whose `deployment` is the one given.

        Never raises and never blocks for long: what cannot be read is missing or stale in the observation.
        """


class PagedSource:
    """The source over a reader of pages (`runtime.sources.scrape`, `runtime.sources.prometheus`).

    Args:
        scenario: the problem.
        reader: where the pages come from.
        interval_s: between decisions; at its first read, the source looks up the pages at the times of decision before,
            where the reader knows them.
    """

    def __init__(self, scenario: Scenario, reader: PageReader, interval_s: float) -> None:
        self._window = Window(scenario)
        self._reader = reader
        self._interval_s = interval_s
        self._back = scenario.scrape.window_intervals
        self.trouble = ""

    def close(self) -> None:
        """Closes the reader."""
        if hasattr(self._reader, "close"):
            self._reader.close()

    def read(self, t_s: float, deployment: Deployment) -> Observation:
        """See `Source`."""
        try:
            if self._window.empty:
                for back in range(self._back, 0, -1):
                    before_s = t_s - back * self._interval_s
                    if pages := self._reader.pages_at(before_s):
                        self._window.take(pages, before_s, deployment)
            observation = self._window.take(self._reader.pages(), t_s, deployment)
        except SourceError as error:
            self.trouble = str(error)
            return self._window.stale(t_s, deployment)
        self.trouble = ""
        return observation
