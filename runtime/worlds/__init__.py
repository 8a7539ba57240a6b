"""Many small, independently failing process groups on unpatched PyTorch (MultiWorld, arXiv 2407.08980); see docs/worlds.md."""

from .aio import AsyncWorld
from .aio_messages import AsyncMessages
from .backends.inproc import Exchange
from .backends.wire import Reduction
from .fate import Broken, InitFailed, NameTaken, Reason, State, TensorMismatch, WorldBroken, WorldClosed, WorldError
from .manager import WorldManager
from .world import World

__all__ = [
    "AsyncMessages",
    "AsyncWorld",
    "Broken",
    "Exchange",
    "InitFailed",
    "NameTaken",
    "Reason",
    "Reduction",
    "State",
    "TensorMismatch",
    "World",
    "WorldBroken",
    "WorldClosed",
    "WorldError",
    "WorldManager",
]
