"""One process compiles a kernel at a time: who comes later waits, and compiling within compiling does not."""

import threading
from fcntl import flock
from types import ModuleType

import numba
import pytest

from envs.kernel import in_turn
from envs.kernel.in_turn import Turn, compile_in_turn


@pytest.fixture
def module():
    """A module of two compiled functions, of which one calls the other."""
    made = ModuleType("made")
    exec("def one(x):\n    return x + 1\n", vars(made))
    made.one = numba.njit(made.one)
    exec("def two(x):\n    return 2 * one(x)\n", vars(made))
    made.two = numba.njit(made.two)
    return made


def test_it_compiles_when_nobody_else_does_and_waits_for_nobody_afterwards(module, tmp_path, monkeypatch):
    path, found, asks = tmp_path / "compiling", [], threading.Event()
    compile_in_turn(module, path)
    calling = threading.Thread(target=lambda: found.append(module.two(3)))
    with Turn(path).taken():  # a file that is opened anew is locked as by another process
        monkeypatch.setattr(in_turn.fcntl, "flock", lambda *lock: (asks.set(), flock(*lock)))
        calling.start()
        assert asks.wait(60) and not module.two.signatures
    calling.join(60)
    assert found == [8] and len(module.one.signatures) == 1
    with Turn(path).taken():
        assert module.two(4) == 10  # compiled already


def test_a_turn_ends_with_what_failed_in_it(tmp_path):
    turn = Turn(tmp_path / "compiling")
    for _ in range(2):
        with pytest.raises(KeyError), turn.taken(), turn.taken():
            raise KeyError
    with Turn(tmp_path / "compiling").taken():
        pass
