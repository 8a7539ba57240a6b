"""Pages read directly from the targets' /metrics, over HTTP: no Prometheus is needed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import requests

from runtime.actuators.bearer import Bearer
from runtime.deadline import DeadlineMissed, DeadlineThread
from runtime.sources.page import Page, Pages, SourceError, parsed

TIMEOUT_S = 1.0
LARGEST_BYTES = 64 * 1024**2


class Scraper:
    """Reads one page from each URL, each in a thread of its own, so that a slow target does not hold up the others.

    Args:
        urls: of the targets' pages, "http://127.0.0.1:9000/metrics".
        timeout_s: for all of an answer.
        token_file: of the token that the targets ask for; read anew each time.
    """

    def __init__(self, urls: Sequence[str], timeout_s: float = TIMEOUT_S, token_file: Path | None = None) -> None:
        self._timeout_s, self._token_file = timeout_s, token_file
        self._targets = {url: (requests.Session(), DeadlineThread(f"scrape {url}")) for url in urls}

    def pages(self) -> Pages:
        """One page from each URL; None for those that do not answer.

        Raises:
            SourceError: none of them answers.
        """
        deadline_s = time.monotonic() + self._timeout_s
        calls, problems = {}, []
        for url, (session, thread) in self._targets.items():
            try:
                calls[url] = thread.start(partial(_read, session, url, self._timeout_s, self._token_file))
            except DeadlineMissed as error:
                problems.append(str(error))
        found: dict[str, Page | None] = dict.fromkeys(self._targets)
        for url, call in calls.items():
            try:
                found[url] = call.answer(max(0.0, deadline_s - time.monotonic()))
            except (OSError, DeadlineMissed, ValueError) as error:  # also of the token file
                problems.append(f"{url}: {error}")
        if len(problems) == len(found):
            raise SourceError("; ".join(problems))
        return found

    def pages_at(self, t_s: float) -> Pages:
        """Nothing: a target tells of now only."""
        return {}

    def close(self) -> None:
        """Ends the threads."""
        for session, thread in self._targets.values():
            session.close()
            thread.close()


def _read(session: requests.Session, url: str, timeout_s: float, token_file: Path | None) -> Page:
    with session.get(url, auth=Bearer.of(token_file), timeout=timeout_s, stream=True) as response:
        response.raise_for_status()
        text = b""
        for chunk in response.iter_content(65536):
            text += chunk
            if len(text) > LARGEST_BYTES:
                raise ValueError(f"more than {LARGEST_BYTES} bytes")
    return parsed(text.decode("utf-8"))
