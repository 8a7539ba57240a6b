"""Other policies, limits and numbers of the scenario without a restart: read anew when asked to, while the loop goes on
deciding by those that it has.

All or nothing: where one of them cannot be used, that is told in one line, and the last good ones stay.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

from envs.envelope import Limits
from envs.scenario import Scenario
from runtime.autoscaler.policy_host import PolicyHost

log = logging.getLogger("tidal.autoscaler")


@dataclass(frozen=True)
class Setup:
    """By what is decided.

    Attributes:
        host: the acting policy.
        limits: the operator's.
        shadow_host: another policy, for the mode shadow only.
        scenario: the problem, as it is now; None: as it was.
    """

    host: PolicyHost
    limits: Limits
    shadow_host: PolicyHost | None = None
    scenario: Scenario | None = None

    @property
    def hosts(self) -> tuple[PolicyHost, ...]:
        """Those that there are."""
        return tuple(host for host in (self.host, self.shadow_host) if host is not None)

    def close(self) -> None:
        """Ends the policies' threads."""
        for host in self.hosts:
            host.close()


class Reload:
    """Reads in a thread of its own, so that a policy that compiles itself holds up no decision.

    Args:
        read: makes all of it anew.
        take: is given what was read.
        refused: called where it cannot be used.
    """

    def __init__(self, read: Callable[[], Setup], take: Callable[[Setup], None], refused: Callable[[], None]) -> None:
        self._read, self._take, self._refused = read, take, refused
        self._asked: queue.SimpleQueue[bool] = queue.SimpleQueue()  # its `put` may be called in a signal's handler
        self._thread = threading.Thread(target=self._run, name="reload", daemon=True)
        self._thread.start()

    def ask(self) -> None:
        """Has it read anew; however often it is asked while it reads, it reads once more."""
        self._asked.put(True)

    def close(self) -> None:
        """Reads no more; does not wait for what is being read."""
        self._asked.put(False)

    def _run(self) -> None:
        while self._asked.get():
            while not self._asked.empty():
                if not self._asked.get():
                    return
            try:
                setup = self._read()
            except Exception as error:  # whatever it is: what there is goes on
                self._refused()
                log.error("what was to be taken up cannot be used, the last good ones stay: %s: %s",
                          type(error).__name__, " ".join(str(error).split()))
            else:
                self._take(setup)
