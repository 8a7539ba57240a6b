"""What autoscalers have told of their decisions, the newest of it, in memory: the journal keeps it all."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import count

from runtime.account import Account

DECISIONS_KEPT = 1000


@dataclass(frozen=True)
class Told:
    """An account, as it came: counted from 1, at a time of the cluster's clock."""

    number: int
    at_s: float
    account: Account


class Decisions:
    """Keeps the newest `DECISIONS_KEPT`, each decision once."""

    def __init__(self) -> None:
        self._told: deque[Told] = deque(maxlen=DECISIONS_KEPT)
        self._numbers = count(1)

    def add(self, account: Account, at_s: float) -> Told:
        """An account came. The same again changes nothing; another one of the same decision takes the first one's place."""
        for told in reversed(self._told):
            if told.account == account:
                return told
            if told.account.decision_id == account.decision_id:
                self._told.remove(told)
                break
        self._told.append(Told(next(self._numbers), at_s, account))
        return self._told[-1]

    def after(self, number: int = 0) -> list[Told]:
        """Those with a higher number, the oldest first."""
        return [told for told in self._told if told.number > number]

    @property
    def newest(self) -> Told | None:
        """The last one of an autoscaler that acts; of one that does not, only where no other has told anything."""
        acting = (told for told in reversed(self._told) if told.account.mode != "advisory")
        return next(acting, self._told[-1] if self._told else None)
