"""Pages read from a Prometheus that scrapes the targets, by the client `prometheus-api-client`.

One instant query returns the last scrape of every target whole, with the time at which the target took its numbers in
it. So nothing is extrapolated (`rate` over a window sees 90 % of a step only when nearly the whole window has passed,
and goes on for a window after its target is dead), and the age is the sample's, not that of the evaluation.

The client has no time limit and retries for seconds unless told otherwise, drops the server's warnings of partial results,
and does not escape labels: all of that is taken care of here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from urllib3.util import Retry

from runtime import metrics as m
from runtime.deadline import DeadlineMissed, DeadlineThread
from runtime.sources.page import Page, Pages, SourceError, page

TIMEOUT_S = 1.0
_OURS = {label for labels in m.sample_keys().values() for label in labels}


class PrometheusReader:
    """Reads the pages of all targets of one job.

    Args:
        url: of the Prometheus, "http://127.0.0.1:9090".
        job: the `job_name` under which it scrapes Tidal's targets.
        timeout_s: for all of an answer.
    """

    def __init__(self, url: str, job: str = "tidal", timeout_s: float = TIMEOUT_S) -> None:
        self._url, self._timeout_s = url.rstrip("/"), timeout_s
        self._session = requests.Session()
        self._session.hooks["response"].append(refuse_partial_results)
        self._client = PrometheusConnect(self._url, session=self._session, retry=Retry(total=0), timeout=timeout_s)
        self._thread = DeadlineThread(f"query {url}")
        self._query = f'{{__name__=~"tidal_.+|up",job="{escaped(job)}"}}'

    def pages(self) -> Pages:
        """The last scrape of each target; None for those that Prometheus cannot reach.

        Raises:
            SourceError: Prometheus does not answer in time, or answers with an error or only in part.
        """
        return self._pages({})

    def pages_at(self, t_s: float) -> Pages:
        """The same as it was at a time.

        Raises:
            SourceError: as above.
        """
        return self._pages({"time": repr(t_s)})

    def close(self) -> None:
        """Ends the thread."""
        self._session.close()
        self._thread.close()

    def _pages(self, parameters: dict[str, str]) -> Pages:
        try:
            rows = self._thread.call(lambda: self._client.custom_query(self._query, params=parameters), self._timeout_s)
            return _by_target(rows)
        except (requests.RequestException, PrometheusApiClientException, DeadlineMissed) as error:
            raise SourceError(f"{self._url}: {error}") from error
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
            raise SourceError(f"{self._url}: not an answer of Prometheus ({type(error).__name__}: {error})") from error


def escaped(value: str) -> str:
    """A label's value as it stands between the quotes of a selector."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _by_target(rows: Sequence[Mapping[str, Any]]) -> dict[str, Page | None]:
    """The page of each target that is up, by its label `instance`."""
    by_target: dict[str, list[tuple[str, dict[str, str], float]]] = {}
    up = {}
    for name, labels, value in _samples(rows):
        target = labels["instance"]
        if name == "up":
            up[target] = value == 1
        else:
            by_target.setdefault(target, []).append((name, labels, value))
    return {target: page(by_target.get(target, ())) if is_up else None for target, is_up in up.items()}


def _samples(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, str], float]]:
    """Labels of ours that Prometheus has renamed, since its own for the target has the same name, get their names back."""
    for row in rows:
        labels: dict[str, str] = row["metric"]
        ours = {label: labels[f"exported_{label}"] for label in _OURS if f"exported_{label}" in labels}
        yield labels["__name__"], labels | ours, float(row["value"][1])


def refuse_partial_results(response: requests.Response, *_: Any, **__: Any) -> None:
    """The client looks at data only; Prometheus and what speaks its language say in `warnings` that some is missing."""
    if response.status_code == 200 and (warnings := response.json().get("warnings")):
        raise requests.RequestException(f"partial result: {'; '.join(map(str, warnings))}")
