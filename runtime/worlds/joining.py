"""How members find each other: the creating process calls the roll. Everything here runs on the links' thread."""

from __future__ import annotations

import time
from collections import defaultdict
from itertools import count
from typing import Any

from .coming import Coming
from .fate import Reason
from .invitation import Invitation, Member
from .links import Links


class _Roll:
    """Who has come to a world that is being created here."""

    def __init__(self, coming: Coming, size: int) -> None:
        self.coming, self.size = coming, size
        self.came: dict[int, Member] = {}

    @property
    def complete(self) -> bool:
        """Whether all others have come."""
        return len(self.came) == self.size - 1


class _Question:
    """What we have asked a creating process, and its answer."""

    def __init__(self, coming: Coming) -> None:
        self.coming = coming
        self.answer: Invitation | OSError | None = None

    def settle(self, answer: Invitation | OSError) -> None:
        """The first answer counts."""
        self.answer = self.answer or answer
        self.coming.stir()


class Joining:
    """Both sides of the roll call.

    Args:
        links: the process' own.
    """

    def __init__(self, links: Links) -> None:
        self._links = links
        self._numbers = count()
        self._epochs: dict[str, int] = defaultdict(int)
        self._rolls: dict[str, _Roll] = {}
        self._waiting: list[tuple[str, dict[str, Any], float]] = []  # came before their world was created; uid, frame, until
        self._questions: dict[tuple[str, str, int], _Question] = {}  # by uid, name, rank

    # --- The creating side ---------------------------------------------------------------------------------------------------

    def awaited(self) -> bool:
        """Whether somebody waits for a world to be created. From any thread."""
        return bool(self._waiting)

    async def gather(self, name: str, size: int, backend: str, coming: Coming) -> Invitation:
        """Wait until all others have come.

        Raises:
            TimeoutError: somebody did not.
            WorldError: somebody came and died, or it was left before.
        """
        self._epochs[name] += 1
        coming.world.raise_if_over()
        epoch, roll = self._epochs[name], _Roll(coming, size)
        self._rolls[name] = roll
        early, self._waiting = self._waiting, []
        for uid, frame, until_s in early:
            if until_s > time.monotonic():
                self._come(uid, frame, until_s)

        def missing() -> str:
            absent = ", ".join(str(rank) for rank in range(1, size) if rank not in roll.came)
            return f"rank {absent} of {size} did not come in time"

        try:
            await coming.until(lambda: roll.complete, missing)
        finally:
            if self._rolls.get(name) is roll:  # it was left, and its name is used again
                del self._rolls[name]
        members = [Member(self._links.uid, self._links.address), *(roll.came[rank] for rank in range(1, size))]
        return Invitation(f"{self._links.uid}-{next(self._numbers)}", epoch, 0, backend, members)

    def welcome(self, name: str, invitation: Invitation, stands: bool) -> None:
        """Tell the others that all have come, and whether our wire stands."""
        members = [vars(member) for member in invitation.members]
        welcome = {**vars(invitation), "type": "welcome", "name": name, "members": members, "stands": stands}
        for rank, member in enumerate(invitation.members[1:], 1):
            self._links.send(member.uid, {**welcome, "rank": rank})

    def _come(self, uid: str, frame: dict[str, Any], until_s: float) -> None:
        name, rank = frame["name"], frame["rank"]
        roll = self._rolls.get(name)
        if roll is None:
            self._waiting.append((uid, frame, until_s))
        elif rank >= roll.size or rank in roll.came:
            why = "is taken" if rank in roll.came else f"is outside 1 to {roll.size - 1}"
            self._links.send(uid, {"type": "refuse", "name": name, "rank": rank, "text": f"rank {rank} {why}"})
        else:
            roll.came[rank] = Member(uid, frame["address"])
            roll.coming.stir()

    # --- The joining side ----------------------------------------------------------------------------------------------------

    async def ask(self, name: str, rank: int, address: str, coming: Coming) -> Invitation:
        """Go to where the world is created, and wait to be welcomed.

        Raises:
            Refused, OSError, TimeoutError: nobody there, not one of ours, or the rank is not to be had.
            WorldError: it was left before.
        """
        left_s = coming.left_s
        try:
            uid = await self._links.connect(address, left_s)
        except TimeoutError:
            raise TimeoutError(f"{address} did not answer within {left_s:.1f} s") from None
        except OSError as error:
            raise ConnectionError(f"nobody can be reached at {address} ({error.strerror or error})") from None
        coming.world.raise_if_over()
        left_s = coming.left_s
        question = self._questions[uid, name, rank] = _Question(coming)
        self._links.send(uid, {"type": "join", "name": name, "rank": rank, "address": self._links.address, "within_s": left_s})
        try:
            await coming.until(
                lambda: question.answer is not None,
                lambda: f"{address} has no complete world {name!r}, {left_s:.1f} s after we came",
            )
        finally:
            if self._questions.get((uid, name, rank)) is question:
                del self._questions[uid, name, rank]
        if isinstance(question.answer, Invitation):
            return question.answer
        assert question.answer is not None
        raise question.answer

    # --- What the links bring ------------------------------------------------------------------------------------------------

    def receive(self, uid: str, frame: dict[str, Any]) -> None:
        """A frame of the roll call."""
        if frame["type"] == "join":
            self._come(uid, frame, time.monotonic() + frame["within_s"])
        elif (question := self._questions.get((uid, str(frame["name"]), int(frame["rank"])))) is not None:
            if frame["type"] == "welcome":
                members = [Member(**member) for member in frame["members"]]
                said = (frame["uid"], frame["epoch"], frame["rank"], frame["backend"], members, frame["stands"])
                question.settle(Invitation(*said))
            else:
                question.settle(ConnectionRefusedError(frame["text"]))

    def lost(self, uid: str, text: str) -> None:
        """A process is gone."""
        self._waiting = [entry for entry in self._waiting if entry[0] != uid]
        for roll in self._rolls.values():
            for rank, member in roll.came.items():
                if member.uid == uid:
                    roll.coming.world.breaks(Reason.PEER_DIED, rank, text)
        for (asked, _, _), question in self._questions.items():
            if asked == uid:
                question.settle(ConnectionError(f"the process that creates the world is gone: {text}"))
