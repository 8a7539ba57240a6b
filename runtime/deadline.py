"""A thread whose answers may come too late: whoever waits longer than the deadline goes on without the answer."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class DeadlineMissed(TimeoutError):
    """No answer within the deadline, or the thread is still busy with a call whose deadline was missed."""


class Call(Generic[T]):
    """A call on its way."""

    def __init__(self, name: str, function: Callable[[], T]) -> None:
        self._name, self._function = name, function
        self._done = threading.Event()
        self._answer: T | None = None
        self._error: BaseException | None = None

    @property
    def running(self) -> bool:
        """True until it has returned or raised."""
        return not self._done.is_set()

    def answer(self, deadline_s: float) -> T:
        """The function's answer, waited for no longer than that.

        Raises:
            DeadlineMissed: it takes longer.
            Exception: what the function raised; a RuntimeError for one that would end the process.
        """
        if not self._done.wait(deadline_s):
            raise DeadlineMissed(f"{self._name}: no answer within {deadline_s:.3g} s")
        if isinstance(self._error, Exception):
            raise self._error
        if self._error is not None:
            raise RuntimeError(f"{self._name}: {type(self._error).__name__}") from self._error
        return self._answer  # type: ignore[return-value]  # set where no error is

    def run(self) -> None:
        """Runs it, in the thread."""
        try:
            self._answer = self._function()
        except BaseException as error:  # raised again where it is waited for
            self._error = error
        self._done.set()


class DeadlineThread:
    """Runs calls one after another in one daemon thread; it is started by the first call.

    A late answer is dropped, never handed to a later caller. A call that never returns holds the thread for good: all
    further calls miss their deadline at once, and the process can still end.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: queue.SimpleQueue[Call[Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._last: Call[Any] | None = None

    @property
    def busy(self) -> bool:
        """True while a call is running."""
        return self._last is not None and self._last.running

    def start(self, function: Callable[[], T]) -> Call[T]:
        """Starts a call.

        Raises:
            DeadlineMissed: an earlier one still runs.
        """
        if self.busy:
            raise DeadlineMissed(f"{self._name}: an earlier call is still running")
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        call = self._last = Call(self._name, function)
        self._calls.put(call)
        return call

    def call(self, function: Callable[[], T], deadline_s: float) -> T:
        """The function's answer; raises as `start` and `Call.answer` do."""
        return self.start(function).answer(deadline_s)

    def close(self) -> None:
        """Ends the thread; does not wait for a call that still runs."""
        if self._thread is not None:
            self._calls.put(None)
            if not self.busy:
                self._thread.join()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call.run()
