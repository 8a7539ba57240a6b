"""Operations of all members of a world, in the same order at every one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch

from .backends.wire import Reduction, Wire
from .fate import Reason, TensorMismatch
from .lanes import Form, check_form, check_layout
from .operating import Operating


class Collectives(Operating):
    """The collectives of a `World`."""

    def __init__(self, name: str, device: torch.device | None, op_timeout_s: float | None) -> None:
        super().__init__(name, device, op_timeout_s)
        self._agreed: set[bytes] = set()
        self._under_way: tuple[str, bytes] | None = None  # the collective that runs without having been compared again

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
                known = form in self._agreed and not self._up()[1].who_has(key)
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
