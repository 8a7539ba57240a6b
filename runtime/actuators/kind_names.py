"""A replica kind by a short name that people write: its variant where only one kind has it, else the whole, `large @4c`."""

from __future__ import annotations

from collections.abc import Sequence

from envs.contract import ReplicaKind


def kind_named(name: str, kinds: Sequence[ReplicaKind]) -> ReplicaKind:
    """The kind of a name; "": the only one.

    Raises:
        ValueError: none, or several, of that name.
    """
    found = [kind for kind in kinds if not name or name in (str(kind), "+".join(kind.variants))]
    if len(found) != 1:
        told = f"{'several kinds' if found else 'no kind'} named '{name}'" if name else "name one of several kinds"
        raise ValueError(f"{told}; there are {', '.join(map(str, kinds))}")
    return found[0]
