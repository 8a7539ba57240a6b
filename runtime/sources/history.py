"""The past of a Prometheus: samples on a grid of times, read in pieces. Nothing is written there, and nothing extrapolated.

`last_over_time` over one step gives each sample once, and none where there was none: a plain range query would repeat the last
sample for five minutes, and show a hole as a flat line.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from urllib3.util import Retry

from runtime.deadline import DeadlineMissed, DeadlineThread
from runtime.sources.page import SourceError
from runtime.sources.prometheus import escaped, refuse_partial_results

TIMEOUT_S = 30.0
MOST_POINTS = 10_000  # of a series in one answer; Prometheus gives 11 000 at most
MOST_VALUES = 500_000  # in one answer, over all series


@dataclass(frozen=True)
class Grid:
    """Times at which samples are looked up: `steps` + 1 of them.

    Attributes:
        begin_s: Unix time of the first one, a whole second.
        step_s: between two, a whole number of milliseconds.
    """

    begin_s: float
    step_s: float
    steps: int

    @property
    def end_s(self) -> float:
        """Unix time of the last one."""
        return self.begin_s + self.steps * self.step_s


@dataclass(frozen=True, eq=False)
class Samples:
    """Series of one metric: their labels, and (S, T + 1) values with nan where there is no sample."""

    labels: tuple[Mapping[str, str], ...]
    values: np.ndarray


class History:
    """Reads one Prometheus between two times.

    Args:
        url: "http://127.0.0.1:9090".
        begin_s: Unix time.
        end_s: Unix time.
        select: labels that series must have; those that a series does not have at all do not count against it.
    """

    def __init__(self, url: str, begin_s: float, end_s: float, select: Mapping[str, str]) -> None:
        self._url, self.begin_s, self.end_s, self._select = url.rstrip("/"), begin_s, end_s, select
        session = requests.Session()
        session.hooks["response"].append(refuse_partial_results)
        self._session = session
        self._client = PrometheusConnect(self._url, session=session, retry=Retry(total=0), timeout=TIMEOUT_S)
        self._thread = DeadlineThread(f"history of {url}")

    def close(self) -> None:
        """Ends the thread."""
        self._session.close()
        self._thread.close()

    def names(self) -> frozenset[str]:
        """Metrics that had samples in the time; raises SourceError."""
        span = {"start": f"{self.begin_s:.3f}", "end": f"{self.end_s:.3f}", "match[]": self._matching('__name__=~".+"', {})}
        return frozenset(self._ask(lambda: self._client.get_label_values("__name__", params=span)))

    def series(self, metric: str, where: Mapping[str, str]) -> list[Mapping[str, str]]:
        """Labels of each series that a metric had in the time; raises SourceError."""
        begin, end = (datetime.fromtimestamp(t_s, UTC) for t_s in (self.begin_s, self.end_s))
        match = {"match[]": self.selector(metric, where)}
        found: list[Mapping[str, str]] = self._ask(lambda: self._client.get_series(begin, end, params=match))
        return found

    def scrape_s(self, metric: str) -> float | None:
        """Time between two samples of a metric, the median, where most of them are; None: it has hardly any.

        Raises:
            SourceError: it cannot be read.
        """
        window_s = max(60, min(3600, math.ceil(self.end_s - self.begin_s)))
        counted = self._range(f"max(count_over_time({self.selector(metric, {})}[{window_s}s]))", self.begin_s + window_s,
                              max(self.end_s, self.begin_s + window_s), float(window_s))  # fmt: skip
        points = [(float(value), float(t_s)) for row in counted for t_s, value in row["values"]]
        if not points or max(points)[0] < 3:
            return None
        look_s = min(window_s, 900)
        at_s = max(points)[1]
        for end_s in (at_s, at_s - (window_s - look_s) / 2, at_s - (window_s - look_s)):
            query = f"{self.selector(metric, {})}[{look_s}s]"
            rows = self._ask(lambda: self._client.custom_query(query, params={"time": f"{end_s:.3f}"}))  # noqa: B023
            times = [np.array([float(t_s) for t_s, _ in row["values"]]) for row in rows]
            between = np.concatenate([np.diff(t) for t in times] or [np.empty(0)])
            if between.size >= 2:
                return float(np.median(between))
        return window_s / (max(points)[0] - 1)

    def instant(self, query: str) -> list[tuple[Mapping[str, str], float]]:
        """Labels and value of each row of a query now; a scalar is one row. Raises SourceError."""
        found = self._ask(lambda: self._client.custom_query(query))
        if found and not isinstance(found[0], Mapping):
            return [({}, float(found[1]))]
        return [(row["metric"], float(row["value"][1])) for row in found]

    def rate(self, metric: str, where: Mapping[str, str], window: str) -> float:
        """What all counters of a metric counted each second of the last `window` in which they were seen.

        `rate()` would divide by the whole window, also where they have been scraped for a part of it only.

        Raises:
            SourceError: it cannot be read.
        """
        rows = self._ask(lambda: self._client.custom_query(f"{self.selector(metric, where)}[{window}]"))
        series = [np.array(row["values"], float).T for row in rows if len(row["values"]) > 1]
        if not series:
            return math.nan
        span_s = max(float(t[-1]) for t, _ in series) - min(float(t[0]) for t, _ in series)
        counted = [np.diff(values) for _, values in series]
        return float(sum(np.where(rise >= 0, rise, 0.0).sum() for rise in counted)) / span_s

    def samples(self, metric: str, where: Mapping[str, str], grid: Grid, series: int) -> Samples:
        """Values of all series of a metric on a grid.

        Args:
            metric: its name.
            where: as in `runtime.sources.adapter.Counter`.
            grid: the times.
            series: how many series there are, so that no answer grows too large.

        Raises:
            SourceError: a piece cannot be read.
        """
        points = max(1, min(MOST_POINTS, MOST_VALUES // max(series, 1)))
        query = f"last_over_time({self.selector(metric, where)}[{round(1000 * grid.step_s) - 1}ms])"  # both ends count
        rows: dict[tuple[tuple[str, str], ...], np.ndarray] = {}
        for first in range(0, grid.steps + 1, points):
            last = min(first + points - 1, grid.steps)
            begin_s, end_s = (grid.begin_s + i * grid.step_s for i in (first, last))
            for row in self._range(query, begin_s, end_s, grid.step_s):
                key = tuple(sorted((k, v) for k, v in row["metric"].items() if k != "__name__"))
                values = rows.setdefault(key, np.full(grid.steps + 1, np.nan))
                for t_s, value in row["values"]:
                    values[round((float(t_s) - grid.begin_s) / grid.step_s)] = float(value)
        table = np.array(list(rows.values())) if rows else np.empty((0, grid.steps + 1))
        table[~np.isfinite(table)] = np.nan
        return Samples(tuple(dict(key) for key in rows), table)

    def selector(self, metric: str, where: Mapping[str, str]) -> str:
        """`metric{label=~"..."}`; a label that is selected may be absent."""
        return self._matching(f'__name__="{escaped(metric)}"', where)

    def _matching(self, name: str, where: Mapping[str, str]) -> str:
        chosen = [f'{label}=~"{escaped(f"(?:{re.escape(value)})?")}"' for label, value in self._select.items()]
        matched = [f'{label}=~"{escaped(pattern)}"' for label, pattern in where.items()]
        return "{" + ",".join([name, *chosen, *matched]) + "}"

    def _range(self, query: str, begin_s: float, end_s: float, step_s: float) -> Sequence[Mapping[str, Any]]:
        span = {"start": f"{begin_s:.3f}", "end": f"{end_s + step_s / 100:.3f}"}  # the client's own are whole seconds
        begin = datetime.fromtimestamp(begin_s, UTC)
        rows: Sequence[Mapping[str, Any]] = self._ask(
            lambda: self._client.custom_query_range(query, begin, begin, f"{step_s:.3f}", params=span))  # fmt: skip
        return rows

    def _ask(self, call: Any) -> Any:
        try:
            return self._thread.call(call, TIMEOUT_S)
        except requests.ConnectionError as error:
            raise SourceError(f"{self._url}: no connection; is a Prometheus there?") from error
        except (requests.RequestException, PrometheusApiClientException, DeadlineMissed) as error:
            raise SourceError(f"{self._url}: {error}") from error
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise SourceError(f"{self._url}: not an answer of Prometheus ({type(error).__name__}: {error})") from error
