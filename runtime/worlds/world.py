"""A world: one process group with its own fate.

States: `NEW -> JOINING -> UP -> DRAINING -> CLOSED`; from any of the first four to `BROKEN(reason, peer, time)`. A broken or
closed world never comes back: recovery is a new world. Operations block the calling thread, and are freed at once when the
world breaks; `aio.py` has the same for asyncio.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

from .backends.wire import Reduction, Wire, Work, patience
from .board import Board
from .fate import Fate, Reason, State, TensorMismatch, WorldBroken, WorldClosed
from .frames import lay_out
from .invitation import Invitation, Member
from .lanes import Form, Lane, carries, check_form, check_layout, refuse
from .streams import Streams

VERDICT_S = 0.05  # after an operation has failed the control links say why: what they get within this time counts
LINKS_S = 10.0  # in which the links' thread surely has its turn
TAGS = 1 << 24
UP, RECEIVING = (State.UP,), (State.UP, State.DRAINING)  # in which one may begin, and may still receive
T = TypeVar("T")


class Transfer:
    """A send or receive that has been started."""

    __slots__ = ("_lane", "_tensor", "_work", "_world")

    def __init__(self, world: World, lane: Lane, tensor: torch.Tensor, work: Work) -> None:
        self._world, self._lane, self._work = world, lane, work
        self._tensor = tensor  # must live until it is through

    def wait(self, timeout_s: float | None = None) -> None:
        """Until it is through; to be called exactly once. Raises as `World.send`."""
        world, lane = self._world, self._lane
        timeout_s = world.patience_s(timeout_s)
        began_s = 0.0 if timeout_s is None else time.monotonic()
        try:
            self._work.wait(patience(timeout_s))
            lane.passed += 1
        except RuntimeError as error:
            raise world.verdict(lane, error, timeout_s, time.monotonic() - began_s) from error
        finally:
            lane.busy = False
            lane.lock.release()


class World(Fate):
    """One member's view of a world; made by `WorldManager.create` and `WorldManager.join`.

    Threads: every method may be called from any thread. Operations on different lanes (peer, direction, tag, plain or message)
    run side by side; those on one lane one after the other; collectives one after the other, in the same order at every
    member.

    Attributes:
        name: what both sides call it.
        rank: our own; the world was created by rank 0. -1 until it is known.
        size: number of members. 0 until it is known.
        members: their processes, by rank.
        epoch: how many worlds of that name the creating process has made, this one included.
        backend: "gloo", "nccl" or "inproc".
        device: where tensors must be.
        op_timeout_s: after how long an operation breaks the world; None: never.
    """

    def __init__(self, name: str, device: torch.device | None, op_timeout_s: float | None) -> None:
        super().__init__(name)
        self.op_timeout_s = op_timeout_s
        self.device: torch.device = device  # type: ignore[assignment]  # None takes the wire's, before anybody can use it
        self.uid, self.backend = "", ""
        self.rank, self.size, self.epoch = -1, 0, 0
        self.members: list[Member] = []
        self.board: Board | None = None
        self.streams: Streams | None = None
        self._wire: Wire | None = None
        self.farewells: dict[int, int] = {}  # by rank: how much a member has sent us, said when we left
        self._sends: dict[tuple[int, int], Lane] = {}
        self._recvs: dict[tuple[int, int], Lane] = {}
        self._message_sends: dict[tuple[int, int], Lane] = {}
        self._message_recvs: dict[tuple[int, int], Lane] = {}
        self._collective = Lane(None)
        self._agreed: set[bytes] = set()
        self._under_way: tuple[str, bytes] | None = None  # the collective that runs without having been compared again
        self.at_end.append(self._release)

    def __repr__(self) -> str:
        broken = f" ({self._broken.reason})" if self._broken else ""
        return (
            f"<World {self.name!r} epoch {self.epoch}, rank {self.rank} of {self.size}, {self.backend}: {self._state}{broken}>"
        )

    # --- Coming and going ----------------------------------------------------------------------------------------------------

    def set_out(
        self, invitation: Invitation, board: Board, streams: Streams, caught_up: Callable[[Callable[[], None]], None]
    ) -> None:
        """The members are known. `caught_up` calls something once the links have handled what tells of a death just now."""
        with self._changed:
            self.raise_if_over()
            self.uid, self.epoch, self.backend = invitation.uid, invitation.epoch, invitation.backend
            self.rank, self.members, self.size = invitation.rank, invitation.members, len(invitation.members)
            self.board, self.streams, self._caught_up = board, streams, caught_up

    def comes_up(self, wire: Wire) -> None:
        """Its data connections stand."""
        with self._changed:
            self.raise_if_over()
            self._wire, self.device, self._state = wire, wire.device, State.UP
            self._changed.notify_all()

    def _release(self) -> None:
        """Free whoever waits or is in an operation."""
        if self.board is not None:
            self.board.fail(self.failure)
        if self.streams is not None:
            self.streams.abort()
        if self._wire is not None:
            self._wire.abort()

    def free(self) -> None:
        """Close the wire once the last operation has returned. Takes a while; called once, after the end."""
        for lane in self._lanes():
            with lane.lock:
                lane.start = None  # type: ignore[assignment]  # it keeps the wire; nothing is started any more
        if self._wire is not None:
            self._wire.close()
            self._wire = None
        if self.streams is not None:
            self.streams.close()

    def sent_to(self, peer: int) -> int:
        """How many tensors and messages have gone to a member."""
        return sum(lane.passed for lane in [*self._sends.values(), *self._message_sends.values()] if lane.peer == peer)

    def received_from(self, peer: int) -> int:
        """How many tensors and messages have come from a member."""
        return sum(lane.passed for lane in [*self._recvs.values(), *self._message_recvs.values()] if lane.peer == peer)

    def sending(self) -> bool:
        """Whether a send or a collective is under way."""
        return any(lane.busy for lane in [*self._sends.values(), *self._message_sends.values(), self._collective])

    def _lanes(self) -> list[Lane]:
        kinds = (self._sends, self._recvs, self._message_sends, self._message_recvs)
        return [self._collective, *(lane for lanes in kinds for lane in lanes.values())]

    # --- Running one operation -----------------------------------------------------------------------------------------------

    def _run(
        self, lane: Lane, timeout_s: float | None, operation: Callable[..., T], *arguments: Any, states: Sequence[State] = UP
    ) -> T:
        """Run an operation, which takes the timeout first, on its lane; turn any failure into the world's."""
        with lane.lock:
            self._enter(lane, states)
            began_s = 0.0 if timeout_s is None else time.monotonic()
            try:
                result = operation(timeout_s, *arguments)
            except RuntimeError as error:
                raise self.verdict(lane, error, timeout_s, time.monotonic() - began_s) from error
            finally:
                lane.busy = False
            lane.passed += 1
            return result

    def _enter(self, lane: Lane, states: Sequence[State] = UP) -> None:
        """An operation begins on a lane that we hold."""
        if self._state not in states:
            raise self.failure()
        lane.busy = True

    def verdict(self, lane: Lane, error: RuntimeError, timeout_s: float | None, took_s: float) -> WorldBroken | WorldClosed:
        """The backend says only that an operation failed; why is known here, or on the control link a moment later at most."""
        if timeout_s is not None and took_s >= timeout_s:
            self.breaks(Reason.TIMEOUT, lane.peer, f"an operation took longer than {timeout_s} s")
        if not self.over:
            text = str(error).split("\n", 1)[0][:300]
            self.fails(lane.peer, text)
            with self._changed:
                self._changed.wait_for(lambda: self.over, LINKS_S)
            self.breaks(Reason.OP_ERROR, lane.peer, text)
        return self.failure()

    def fails(self, peer: int | None, text: str) -> None:
        """Something has failed: it breaks, soon, with that for a reason where the links know no better one."""
        self._caught_up(lambda: self.breaks(Reason.OP_ERROR, peer, text))

    def _up(self, states: Sequence[State] = UP) -> tuple[Wire, Board]:
        if self._state not in states or self._wire is None or self.board is None:
            raise self.failure()
        return self._wire, self.board

    def _check_peer(self, peer: int, tag: int) -> None:
        if not 0 <= peer < self.size or peer == self.rank:
            raise ValueError(
                f"rank {peer} is no other member of world {self.name!r} (ranks 0 to {self.size - 1}; we are {self.rank})"
            )
        if not 0 <= tag < TAGS:
            raise ValueError(f"tag {tag} is outside 0 to {TAGS - 1}")

    def patience_s(self, timeout_s: float | None) -> float | None:
        return self.op_timeout_s if timeout_s is None else timeout_s

    # --- Tensors that both sides know ----------------------------------------------------------------------------------------

    def send(self, tensor: torch.Tensor, dst: int, tag: int = 0, timeout_s: float | None = None) -> None:
        """Send a tensor to a receiver that knows what comes; blocks until it has it.

        All tensors of one tag have one dtype and number of elements: those of the receiver's first `recv`. A timeout breaks
        the world.

        Raises:
            TensorMismatch: not what the receiver expects, or it cannot go as it lies in memory. Nothing was sent.
            WorldBroken, WorldClosed: the world is over.
        """
        self.isend(tensor, dst, tag).wait(timeout_s)

    def recv(self, tensor: torch.Tensor, src: int, tag: int = 0, timeout_s: float | None = None) -> torch.Tensor:
        """Receive into a tensor, and return it. Raises as `send`."""
        self.irecv(tensor, src, tag).wait(timeout_s)
        return tensor

    def isend(self, tensor: torch.Tensor, dst: int, tag: int = 0) -> Transfer:
        """Start a `send`; whoever starts it must wait for it. Only the first of a tag blocks, until the receiver calls `recv`.
        """
        return self._begin(self._sends.get((dst, tag)) or self._open_send(tensor, dst, tag), tensor)

    def irecv(self, tensor: torch.Tensor, src: int, tag: int = 0) -> Transfer:
        """Start a `recv`; whoever starts it must wait for it."""
        return self._begin(self._recvs.get((src, tag)) or self._open_recv(tensor, src, tag), tensor)

    def _begin(self, lane: Lane, tensor: torch.Tensor) -> Transfer:
        if not carries(lane, tensor, self.device):
            refuse(lane, tensor, self.device)
        lane.lock.acquire()
        try:
            self._enter(lane)
            return Transfer(self, lane, tensor, lane.start(tensor))
        except BaseException as error:
            lane.busy = False
            lane.lock.release()
            if isinstance(error, RuntimeError):
                raise self.verdict(lane, error, None, 0.0) from error
            raise

    def _open_send(self, tensor: torch.Tensor, dst: int, tag: int) -> Lane:
        wire, board = self._up()
        self._check_peer(dst, tag)
        check_layout(tensor, self.device)
        deadline_s = None if self.op_timeout_s is None else time.monotonic() + self.op_timeout_s
        try:
            form = Form.decode(board.read(dst, f"form/{self.rank}/{tag}", deadline_s))
        except TimeoutError:
            self.breaks(Reason.TIMEOUT, dst, f"rank {dst} called no recv() for tag {tag} within {self.op_timeout_s} s")
            raise self.failure() from None
        return self._sends.setdefault((dst, tag), Lane(dst, form, wire.sender(dst, tag)))

    def _open_recv(self, tensor: torch.Tensor, src: int, tag: int) -> Lane:
        wire, board = self._up()
        self._check_peer(src, tag)
        check_layout(tensor, self.device)
        with self._changed:
            lane = self._recvs.get((src, tag))
            if lane is None:
                lane = Lane(src, Form.of(tensor), wire.receiver(src, tag))
                board.announce(f"form/{src}/{tag}", lane.form.encode(), to=src)
                self._recvs[src, tag] = lane
            return lane

    # --- Messages ------------------------------------------------------------------------------------------------------------

    def send_message(self, tensors: Sequence[torch.Tensor], dst: int, tag: int = 0, timeout_s: float | None = None) -> None:
        """Send several tensors of any dtypes and shapes; blocks while more is on its way to the receiver than its connection
        holds. Raises as `send`.
        """
        layout = lay_out(tuple([(tensor.dtype, tensor.shape) for tensor in tensors]))
        for tensor in tensors:
            check_layout(tensor, self.device)
        lane = self._message_sends.get((dst, tag)) or self._open_messages(self._message_sends, dst, tag, UP)
        self._run(lane, self.patience_s(timeout_s), lane.start, tensors, layout)

    def recv_message(self, src: int, tag: int = 0, timeout_s: float | None = None) -> list[torch.Tensor]:
        """The next message of a member: its tensors; also what is still on its way while a member leaves. Raises as `send`."""
        lane = self._message_recvs.get((src, tag)) or self._open_messages(self._message_recvs, src, tag, RECEIVING)
        return self._run(lane, self.patience_s(timeout_s), lane.start, states=RECEIVING)

    def message_lanes(self, peer: int) -> tuple[Lane, Lane]:
        """Those of messages to and from a member under tag 0. Whoever moves messages himself counts them there."""
        return (self._open_messages(self._message_sends, peer, 0, UP), self._open_messages(self._message_recvs, peer, 0, UP))

    def _open_messages(self, lanes: dict[tuple[int, int], Lane], peer: int, tag: int, states: Sequence[State]) -> Lane:
        wire, _ = self._up(states)
        self._check_peer(peer, tag)
        start = wire.message_sender if lanes is self._message_sends else wire.message_receiver
        return lanes.setdefault((peer, tag), Lane(peer, start=start(peer, tag)))

    # --- Collectives ---------------------------------------------------------------------------------------------------------

    def broadcast(self, tensor: torch.Tensor, src: int) -> torch.Tensor:
        """Every member's tensor becomes that of rank `src`.

        Before a collective of a form (operation, root, dtype, elements) is run for the first time, all members compare what
        they are about to do.

        Raises:
            TensorMismatch: the members do not agree. Nothing was sent.
            WorldBroken, WorldClosed: the world is over.
        """
        self._collect("broadcast", lambda wire, timeout_s: wire.broadcast(tensor, src, timeout_s), tensor, src)
        return tensor

    def all_reduce(self, tensor: torch.Tensor, op: Reduction = Reduction.SUM) -> torch.Tensor:
        """Every member's tensor becomes the combination of all. Raises as `broadcast`."""
        self._collect(f"all_reduce {op}", lambda wire, timeout_s: wire.all_reduce(tensor, op, timeout_s), tensor)
        return tensor

    def reduce(self, tensor: torch.Tensor, dst: int, op: Reduction = Reduction.SUM) -> torch.Tensor:
        """The tensor of rank `dst` becomes the combination of all; the others' keep no particular value. Raises as
        `broadcast`.
        """
        self._collect(f"reduce {op}", lambda wire, timeout_s: wire.reduce(tensor, dst, op, timeout_s), tensor, dst)
        return tensor

    def gather(self, tensor: torch.Tensor, dst: int) -> list[torch.Tensor] | None:
        """All members' tensors by rank, at rank `dst`; None elsewhere. Raises as `broadcast`."""
        into = [torch.empty_like(tensor) for _ in range(self.size)] if self.rank == dst else None
        self._collect("gather", lambda wire, timeout_s: wire.gather(tensor, into, dst, timeout_s), tensor, dst)
        return into

    def all_gather(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """All members' tensors by rank, everywhere. Raises as `broadcast`."""
        into = [torch.empty_like(tensor) for _ in range(self.size)]
        self._collect("all_gather", lambda wire, timeout_s: wire.all_gather(tensor, into, timeout_s), tensor)
        return into

    def scatter(self, tensor: torch.Tensor, src: int, parts: Sequence[torch.Tensor] | None = None) -> torch.Tensor:
        """Receive into `tensor` our part of the `parts` that rank `src` gives, one for each rank. Raises as `broadcast`."""
        if self.rank == src:
            if parts is None or len(parts) != self.size:
                raise TensorMismatch(
                    f"rank {src} scatters {0 if parts is None else len(parts)} parts among {self.size} members"
                )
            for part in parts:
                check_layout(part, self.device)
                check_form(part, Form.of(tensor), "every member receives")
        own = parts if self.rank == src else None
        self._collect("scatter", lambda wire, timeout_s: wire.scatter(tensor, own, src, timeout_s), tensor, src)
        return tensor

    def barrier(self) -> None:
        """Wait until every member is here. Raises as `broadcast`."""
        self._collect("barrier", lambda wire, timeout_s: wire.barrier(timeout_s))

    def _collect(
        self,
        what: str,
        operation: Callable[[Wire, float | None], None],
        tensor: torch.Tensor | None = None,
        root: int | None = None,
    ) -> None:
        if tensor is not None:
            check_layout(tensor, self.device)
        self._up()
        if root is not None and not 0 <= root < self.size:
            raise ValueError(f"rank {root} is no member of world {self.name!r} (ranks 0 to {self.size - 1})")
        form = f"{what}{'' if tensor is None else f' of {Form.of(tensor)}'}{'' if root is None else f', root {root}'}".encode()

        def run(timeout_s: float | None) -> None:
            wire, _ = self._up()
            key = f"collective/{self._collective.passed}"
            with self._changed:
                known = form in self._agreed and not self._up()[1].has(key)
                self._under_way = (key, form) if known else None
            if not known:
                self._agree(key, form, timeout_s)
            operation(wire, timeout_s)
            self._under_way = None

        self._run(self._collective, self.op_timeout_s, run)

    def _agree(self, key: str, form: bytes, timeout_s: float | None) -> None:
        _, board = self._up()
        board.announce(key, form)
        try:
            forms = board.read_all(key, None if timeout_s is None else time.monotonic() + timeout_s)
        except TimeoutError as error:
            self.breaks(Reason.TIMEOUT, None, f"the members did not all come to {form.decode()}: {error}")
            raise self.failure() from None
        if any(other != form for other in forms):
            self._collective.passed += 1
            raise TensorMismatch(
                "the members do not agree: " + "; ".join(f"rank {r}: {f.decode()}" for r, f in enumerate(forms))
            )
        self._agreed.add(form)

    def note(self, rank: int, key: str, value: bytes) -> None:
        """A member's announcement has arrived."""
        assert self.board is not None
        self.board.receive(rank, key, value)
        with self._changed:
            under_way = self._under_way
        if under_way is not None and under_way[0] == key:  # it starts something else than what we are in already
            self.board.announce(*under_way)
            self.breaks(Reason.OP_ERROR, rank, f"we are in {under_way[1].decode()}, rank {rank} starts {value.decode()}")
