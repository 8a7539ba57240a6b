"""How members find each other: the creating process calls the roll, then all connect and come up together."""

from __future__ import annotations

import base64
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from socket import socket
from typing import Any

from .backends.wire import Connect
from .board import Board
from .fate import Reason
from .invitation import Invitation, Member
from .links import Links
from .operating import VERDICT_S
from .streams import Key, Streams, Way
from .world import World


class _Roll:
    """Who has come to a world that is being created here."""

    def __init__(self, world: World, size: int) -> None:
        self.world, self.size = world, size
        self.came: dict[int, Member] = {}


class Joining:
    """Both sides of the roll call.

    Args:
        links: the process' own.
    """

    def __init__(self, links: Links) -> None:
        self._links = links
        self._epochs: dict[str, int] = defaultdict(int)
        self._rolls: dict[str, _Roll] = {}
        self._waiting: list[tuple[str, dict[str, Any], float]] = []  # came before their world was created; uid, frame, until
        self._answers: dict[tuple[str, str, int], Future[Invitation]] = {}
        self._asking: dict[World, tuple[str, str, int]] = {}
        self._changed = threading.Condition()

    # --- The creating side ---------------------------------------------------------------------------------------------------

    def gather(self, name: str, size: int, backend: str, world: World, deadline_s: float) -> Invitation:
        """Wait until all others have come, and tell them.

        Raises:
            TimeoutError: somebody did not.
            WorldError: somebody came and died.
        """
        with self._changed:
            self._epochs[name] += 1
            roll = self._rolls[name] = _Roll(world, size)
            early, self._waiting = self._waiting, []
            for uid, frame, until_s in early:
                if until_s > time.monotonic():
                    self._come(uid, frame, until_s)
            self._changed.wait_for(lambda: len(roll.came) == size - 1 or world.over, deadline_s - time.monotonic())
            del self._rolls[name]
        world.raise_if_over()
        if len(roll.came) < size - 1:
            absent = ", ".join(str(rank) for rank in range(1, size) if rank not in roll.came)
            raise TimeoutError(f"rank {absent} of {size} did not come in time")
        members = [Member(self._links.uid, self._links.address), *(roll.came[rank] for rank in range(1, size))]
        invitation = Invitation(uuid.uuid4().hex, self._epochs[name], 0, backend, members)
        welcome = {"type": "welcome", "name": name, **vars(invitation), "members": [vars(member) for member in members]}
        for rank in range(1, size):
            self._links.send(members[rank].uid, {**welcome, "rank": rank})
        return invitation

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
            self._changed.notify_all()

    # --- The joining side ----------------------------------------------------------------------------------------------------

    def ask(self, name: str, rank: int, address: str, world: World, deadline_s: float) -> Invitation:
        """Go to where the world is created, and wait to be welcomed.

        Raises:
            Refused, OSError, TimeoutError: nobody there, not one of ours, or the rank is not to be had.
        """
        left_s = deadline_s - time.monotonic()
        try:
            uid = self._links.connect(address, left_s)
        except TimeoutError:
            raise TimeoutError(f"{address} did not answer within {left_s:.1f} s") from None
        except OSError as error:
            raise ConnectionError(f"nobody can be reached at {address} ({error.strerror or error})") from None
        answer: Future[Invitation] = Future()
        with self._changed:
            self._answers[uid, name, rank] = answer
            self._asking[world] = (uid, name, rank)
        left_s = max(0.0, deadline_s - time.monotonic())
        self._links.send(uid, {"type": "join", "name": name, "rank": rank, "address": self._links.address, "within_s": left_s})
        try:
            return answer.result(left_s)
        except TimeoutError:
            raise TimeoutError(f"{address} has no complete world {name!r}, {left_s:.1f} s after we came") from None
        finally:
            with self._changed:
                self._answers.pop((uid, name, rank), None)
                self._asking.pop(world, None)

    # --- Frames (on the links' thread) ---------------------------------------------------------------------------------------

    def receive(self, uid: str, frame: dict[str, Any]) -> None:
        """A frame of the roll call."""
        with self._changed:
            if frame["type"] == "join":
                self._come(uid, frame, time.monotonic() + frame["within_s"])
            elif (
                answer := self._answers.get((uid, str(frame["name"]), int(frame["rank"])))
            ) is not None and not answer.done():
                if frame["type"] == "welcome":
                    members = [Member(**member) for member in frame["members"]]
                    answer.set_result(Invitation(frame["uid"], frame["epoch"], frame["rank"], frame["backend"], members))
                else:
                    answer.set_exception(ConnectionRefusedError(frame["text"]))

    def lost(self, uid: str, text: str) -> None:
        """A process is gone."""
        with self._changed:
            self._waiting = [entry for entry in self._waiting if entry[0] != uid]
            broken = [
                (roll.world, rank) for roll in self._rolls.values() for rank, member in roll.came.items() if member.uid == uid
            ]
            for (asked, _, _), answer in self._answers.items():
                if asked == uid and not answer.done():
                    answer.set_exception(ConnectionError(f"the process that creates the world is gone: {text}"))
        for world, rank in broken:
            world.breaks(Reason.PEER_DIED, rank, text)

    def forget(self, world: World) -> None:
        """A world is over: whoever still waits for it on our side stops."""
        with self._changed:
            if (key := self._asking.get(world)) is not None and not self._answers[key].done():
                self._answers[key].set_exception(ConnectionAbortedError("it was left before it came up"))
            self._changed.notify_all()


def bring_up(
    world: World,
    invitation: Invitation,
    backends: Mapping[str, Connect],
    links: Links,
    admit: Callable[[World], None],
    deadline_s: float,
) -> None:
    """Connect to all members, make the wire, and come up once all are there.

    Raises:
        WorldError, RuntimeError, TimeoutError, OSError: it cannot be; the caller breaks the world.
    """
    members, rank = invitation.members, invitation.rank
    if invitation.backend not in backends:
        raise RuntimeError(f"the world is to run on {invitation.backend!r}, which this process does not have")

    def post(key: str, value: bytes, ranks: Iterable[int]) -> None:
        note = {"type": "note", "world": world.uid, "rank": rank, "key": key, "value": base64.b64encode(value).decode()}
        for other in ranks:
            links.send(members[other].uid, note)

    def dial(peer: int, way: Way) -> Future[socket]:
        return links.dial(members[peer].address, str(Key(world.uid, rank, way)))

    world.set_out(invitation, Board(rank, len(members), post), Streams(dial), partial(links.caught_up, VERDICT_S))
    admit(world)
    board, streams = world.board, world.streams
    assert board is not None and streams is not None
    for other in range(1, rank):
        if links.connect(members[other].address, max(0.0, deadline_s - time.monotonic())) != members[other].uid:
            raise ConnectionError(f"another process than rank {other} listens at {members[other].address}")
    if len(members) > 2:  # nobody writes to a member before all links stand
        board.announce("linked", to=0) if rank else [
            board.read(other, "linked", deadline_s) for other in range(1, len(members))
        ]
        board.announce("go") if rank == 0 else board.read(0, "go", deadline_s)
    wire = backends[invitation.backend](board, streams, world.uid, world.device, deadline_s)
    try:
        board.announce("up")
        board.read_all("up", deadline_s)
        world.comes_up(wire)
    except BaseException:
        wire.abort()
        wire.close()
        raise
