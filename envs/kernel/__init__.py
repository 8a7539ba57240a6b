"""The event kernel: one source, compiled for the features that a scenario uses.

The parts of the kernel (`PARTS`) name flags that they do not define. `specialise` puts them together into one module with
the flags as constants on top, so that numba leaves out what a scenario does not need. A part sees the names of the parts
before it. The module is a file, named by a digest of its text and of what it imports, because numba keeps compiled code
beside the file.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from envs.kernel.in_turn import compile_in_turn
from envs.state import State

PARTS = (
    "fates", "dispatch", "batches", "calendar", "idle", "serving",
    "queues", "replicas", "reconcile", "turns", "loop", "many",
)
_BESIDE = (
    "clocks.py",
    "compiled.py",
    "../rules.py",
    "../state.py",
    "../randomness.py",
    "../../traces/samplers.py",
    "../../traces/draws.py",
)
_CLUSTER_OF = """
from numba import njit
from envs.state import State


@njit(cache=True, inline="always", _nrt=False)
def cluster_of(s, e):
    return State({})


"""  # one cluster of many, as views; written out because compiled code cannot go through the fields of a tuple


class Flags(NamedTuple):
    """What a kernel is compiled for; see `envs.model.flags`."""

    EARLY: bool  # one queue per replica, else one per kind
    LANES: bool  # several variants or tenants to choose from in one queue
    CHAINS: bool  # requests move from service to service
    PIPELINE: bool  # several stages, or an overhead after the last
    NOISE: bool  # service times vary
    BATCHING: bool  # batches larger than one
    WAIT: bool  # batches wait to fill
    DROPS: bool  # requests are given up at some age
    LIMITS: bool  # queues are bounded
    QUOTAS: bool  # tenants have admission quotas
    PREDICT: bool  # expected clocks are kept
    RESIZE: bool  # replicas are resized in place
    BESIDE_LOADS: bool  # a replica that loads slows those beside it
    ONE_QUEUE: bool  # late binding, each service hosted by one kind, with one variant: nothing to dispatch
    SERVERS: bool  # replicas of several servers
    APPS: bool  # several applications
    RECORD: bool  # every fate is written down


@lru_cache(maxsize=1)
def _sources() -> dict[str, str]:
    here = Path(__file__).parent
    return {name: (here / name).read_text() for name in [*(f"{part}.py" for part in PARTS), *_BESIDE]}


def _folder(name: str) -> Path:
    """Where the specialised sources are written, and where numba keeps what it compiled from them."""
    for root in (Path(__file__).parent / "__pycache__", Path(tempfile.gettempdir()) / f"tidal-{os.getuid()}"):
        folder = root / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    raise OSError("neither the checkout nor the temporary folder can be written to: no place for compiled kernels")


@lru_cache(maxsize=64)
def specialise(flags: Flags) -> ModuleType:
    """The kernel compiled for these flags; its `run` and other functions are attributes."""
    sources = _sources()
    text = "".join(f"{name} = {value!r}\n" for name, value in flags._asdict().items())
    text += _CLUSTER_OF.format(", ".join(f"s.{name}[e]" for name in State._fields))
    text += "".join(sources[f"{part}.py"] for part in PARTS)
    digest = hashlib.sha256((text + "".join(sources[name] for name in _BESIDE)).encode()).hexdigest()[:16]
    path = _folder(digest) / "kernel.py"
    if not path.exists():
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(text)
        draft.rename(path)  # whole or not at all, whoever else writes it
    spec = importlib.util.spec_from_file_location(f"envs.kernel.specialised_{digest}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    spec.loader.exec_module(module)
    compile_in_turn(module, path.with_name("compiling"))
    return module
