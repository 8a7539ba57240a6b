"""What a trial leaves behind: what clients asked and got, what the cluster remembered, what the autoscalers journaled.

All times are Unix time. Nothing here is read from a process' own account of how well it did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from envs.contract import Deployment
from envs.envelope import Limits
from envs.scenario import Scenario


@dataclass(frozen=True)
class Try:
    """One sending of a request.

    Attributes:
        sent_s, done_s: when.
        status: of HTTP; 0: no answer came.
        answers: that came on its connection, which was for it alone.
        right: the answer is a good one, and to this request.
        told: the reason, where it was refused; else what went wrong.
    """

    sent_s: float
    done_s: float
    status: int
    answers: int = 1
    right: bool = False
    told: str = ""


@dataclass(frozen=True)
class Asked:
    """A request, sent again under the same id until it was answered or its client lost patience."""

    number: int
    due_s: float
    tries: tuple[Try, ...]

    @property
    def doubled(self) -> bool:
        """Whether it was answered more than once: by two tries, or on one connection."""
        return sum(one.right for one in self.tries) > 1 or any(one.answers > 1 for one in self.tries)


@dataclass(frozen=True)
class Held:
    """A replica that the cluster remembers: its number, state and start, and its worker processes with their start times."""

    number: int
    state: str
    started_s: float
    units: int
    candidate: int
    processes: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Look:
    """What the cluster remembered at one time.

    Attributes:
        at_s: when.
        replicas: all.
        serving: whether it served then: was up, and not told to end.
        wanted: replicas of each candidate that the newest version wants.
    """

    at_s: float
    replicas: tuple[Held, ...]
    serving: bool = True
    wanted: tuple[int, ...] = ()


@dataclass(frozen=True)
class Version:
    """An accepted change of the deployment, and the decision that it came from, "" where it was an operator's."""

    number: int
    deployment: Deployment
    decision_id: str = ""


@dataclass(frozen=True)
class Intent:
    """A decision as it was journaled before it was carried out.

    Attributes:
        t_s: the time that was decided for.
        before, after: what was in force, and what was wanted.
        status: what became of it; "": the journal does not say.
    """

    decision_id: str
    t_s: float
    before: Deployment
    after: Deployment
    status: str = ""


@dataclass(frozen=True)
class Begun:
    """A batch that a worker began: its process, when, and the numbers of the requests."""

    pid: int
    at_s: float
    numbers: tuple[int, ...]


@dataclass
class History:
    """All of a trial.

    Attributes:
        scenario, limits: the problem, and what the autoscaler must keep to.
        asked: requests.
        looks: oldest first.
        versions: every one that was ever seen, by number; the same number twice, if it said two things.
        intents: those that were to be carried out, oldest first.
        advised: ids of decisions of the autoscaler that may only advise.
        begun: batches of workers, oldest first; empty where replicas are emulated.
        journal_whole: nothing kept the journal from being written.
        settled: in the end all was as wanted.
        left: commands of processes that outlived the end.
    """

    scenario: Scenario
    limits: Limits
    asked: Sequence[Asked] = ()
    looks: Sequence[Look] = ()
    versions: Sequence[Version] = ()
    intents: Sequence[Intent] = ()
    advised: frozenset[str] = frozenset()
    begun: Sequence[Begun] = ()
    journal_whole: bool = True
    settled: bool = True
    left: Sequence[str] = field(default_factory=tuple)
