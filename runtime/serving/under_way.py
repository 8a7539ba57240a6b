"""What a batch still waits for while workers have it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from runtime.serving.replica import Answered, RequestRefused, Tensors


class UnderWay:
    """A batch as workers have it: a message for each shape of its requests.

    Args:
        requests, messages: how many.
        freed, answered: see `Replica.serve`.
    """

    def __init__(self, requests: int, messages: int, freed: Callable[[], None], answered: Answered) -> None:
        self._answers: list[Tensors | Exception] = [RequestRefused("no answer")] * requests
        self._to_free = self._to_answer = messages
        self._freed, self.answered = freed, answered

    def free(self) -> None:
        """A message has left the first stage."""
        self._to_free -= 1
        if not self._to_free:
            self._freed()

    def answer(self, told: dict[str, Any], outputs: Sequence[np.ndarray]) -> None:
        """A message is answered."""
        for place, text in told["errors"].items():
            self._answers[int(place)] = RequestRefused(text)
        at = 0
        for place, size in zip(told["places"], told["sizes"]):
            self._answers[place] = [output[at : at + size] for output in outputs]
            at += size
        self._to_answer -= 1
        if not self._to_answer:
            self.answered(self._answers)
