"""A world: one process group with its own fate.

States: `NEW -> JOINING -> UP -> DRAINING -> CLOSED`; from any of the first four to `BROKEN(reason, peer, time)`. A broken or
closed world never comes back: recovery is a new world. Operations block the calling thread, and are freed at once when the
world breaks; `aio.py` has the same for asyncio.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from .backends.wire import Work
from .collectives import Collectives
from .fate import Reason, State
from .frames import lay_out
from .lanes import Form, Lane, carries, check_layout, refuse
from .operating import RECEIVING, UP


class Transfer:
    """A send or receive that has been started."""

    __slots__ = ("_lane", "_work", "_world")

    def __init__(self, world: World, lane: Lane, work: Work) -> None:
        self._world, self._lane, self._work = world, lane, work

    def wait(self, timeout_s: float | None = None) -> None:
        """Until it is through; to be called exactly once. Raises as `World.send`."""
        world, lane = self._world, self._lane
        timeout_s = world.patience_s(timeout_s)
        began_s = 0.0 if timeout_s is None else time.monotonic()
        try:
            self._work.wait(timeout_s)
            lane.passed += 1
        except RuntimeError as error:
            raise world.verdict(lane, error, timeout_s, time.monotonic() - began_s) from error
        finally:
            lane.busy = False
            lane.lock.release()


class World(Collectives):
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

    # --- Tensors that both sides know ----------------------------------------------------------------------------------------

    def send(self, tensor: torch.Tensor, dst: int, tag: int = 0, timeout_s: float | None = None) -> None:
        """Send a tensor to a receiver that knows what comes; blocks until it is on its way, and may be changed.

        All tensors of one tag have one dtype and number of elements: those of the receiver's first `recv`, which the first
        `send` waits for. A timeout breaks the world.

        Raises:
            TensorMismatch: not what the receiver expects, or it cannot go as it lies in memory. Nothing was sent.
            WorldBroken, WorldClosed: the world is over.
        """
        self._begin(self._sends.get((dst, tag)) or self._open_send(tensor, dst, tag), tensor, UP).wait(timeout_s)

    def recv(self, tensor: torch.Tensor, src: int, tag: int = 0, timeout_s: float | None = None) -> torch.Tensor:
        """Receive into a tensor, and return it; also what is still on its way while a member leaves. Raises as `send`."""
        self._begin(self._recvs.get((src, tag)) or self._open_recv(tensor, src, tag), tensor, RECEIVING).wait(timeout_s)
        return tensor

    def isend(self, tensor: torch.Tensor, dst: int, tag: int = 0) -> Transfer:
        """Start a `send`; whoever starts it must wait for it, and leave the tensor as it is until then. It goes on meanwhile.
        Only the first of a tag blocks, until the receiver calls `recv`.
        """
        return self._begin(self._sends.get((dst, tag)) or self._open_send(tensor, dst, tag), tensor, UP, goes_on=True)

    def irecv(self, tensor: torch.Tensor, src: int, tag: int = 0) -> Transfer:
        """Start a `recv`; whoever starts it must wait for it. It goes on meanwhile."""
        return self._begin(self._recvs.get((src, tag)) or self._open_recv(tensor, src, tag), tensor, RECEIVING, goes_on=True)

    def _begin(self, lane: Lane, tensor: torch.Tensor, states: Sequence[State], goes_on: bool = False) -> Transfer:
        if not carries(lane, tensor, self.device):
            refuse(lane, tensor, self.device)
        lane.lock.acquire()
        try:
            self._enter(lane, states)
            work = lane.start(tensor)
            if goes_on:
                work.go_on()
            return Transfer(self, lane, work)
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
