"""One process compiles a kernel: others that need it meanwhile wait, and find what it compiled in numba's cache."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from numba.core.dispatcher import Dispatcher


class Turn:
    """Taken by one thread of one process at a time; who has it may take it again, since compiling is nested."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = threading.RLock()
        self._taken = False

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Waits for the turn and has it within."""
        with self._thread:
            if self._taken:
                yield
                return
            with self._path.open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                self._taken = True
                try:
                    yield
                finally:
                    self._taken = False


def compile_in_turn(module: ModuleType, path: Path) -> None:
    """Makes each of a module's functions wait for its turn before it is compiled, or read from the cache."""
    turn = Turn(path)
    functions: list[Any] = [value for value in vars(module).values() if isinstance(value, Dispatcher)]
    for function in functions:
        if function.py_func.__module__ == module.__name__:
            function.compile = _waiting(turn, function.compile)


def _waiting(turn: Turn, compile_: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def wait_and_compile(signature: Any) -> Any:
        with turn.taken():
            return compile_(signature)

    return wait_and_compile
