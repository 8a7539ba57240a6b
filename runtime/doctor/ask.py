"""What the doctor asks of a Prometheus beside the numbers: its time, when it scraped last, how often, and what failed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

from runtime import metrics as m
from runtime.sources.page import SourceError
from runtime.sources.prometheus import escaped

TIMEOUT_S = 2.0
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class Target:
    """A target of a job.

    Attributes:
        instance: its label.
        scrape_s: time between two scrapes.
        error: of the last scrape, or nothing.
        scraped_s: when it was scraped last with success, by Prometheus' clock; None: it never was.
    """

    instance: str
    scrape_s: float
    error: str
    scraped_s: float | None


class PrometheusTargets:
    """Asks one Prometheus.

    Args:
        url: "http://127.0.0.1:9090".
        job: the `job_name` of Tidal's targets.
    """

    def __init__(self, url: str, job: str) -> None:
        self._url, self._job = url.rstrip("/"), job

    def now_s(self) -> float:
        """Unix time by its clock; raises SourceError."""
        return float(self._data("query", query="time()")["result"][0])

    def jobs(self) -> list[str]:
        """All that it scrapes; raises SourceError."""
        return sorted({str(target["labels"].get("job", "")) for target in self._active()})

    def targets(self) -> list[Target]:
        """Those of the job.

        Raises:
            SourceError: it does not answer, or not as a Prometheus does.
        """
        query = f'timestamp({m.EXPOSED_AT.name}{{job="{escaped(self._job)}"}})'
        scraped_s = {row["metric"]["instance"]: float(row["value"][1]) for row in self._data("query", query=query)["result"]}
        return [Target(target["labels"]["instance"], seconds(target.get("scrapeInterval", "")), target.get("lastError", ""),
                       scraped_s.get(target["labels"]["instance"]))
                for target in self._active() if target["labels"].get("job") == self._job]  # fmt: skip

    def _active(self) -> list[Mapping[str, Any]]:
        targets: list[Mapping[str, Any]] = self._data("targets", state="active")["activeTargets"]
        return targets

    def _data(self, what: str, **parameters: str) -> Any:
        try:
            response = requests.get(f"{self._url}/api/v1/{what}", params=parameters, timeout=TIMEOUT_S)
            response.raise_for_status()
            return response.json()["data"]
        except (requests.RequestException, KeyError, TypeError, ValueError) as error:
            raise SourceError(f"{self._url}: no answer of a Prometheus ({type(error).__name__})") from error


def seconds(duration: str) -> float:
    """Seconds of a duration as Prometheus writes it, '1m30s'; nan where it is none."""
    parts = re.findall(r"(\d+)(ms|[smhd])", duration)
    return sum(int(number) * _UNITS_S[unit] for number, unit in parts) if parts else float("nan")
