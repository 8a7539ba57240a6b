"""The JSON record of a run: command, machine and versions once at the top, then one row per number.

Every command that takes ``--json FILE`` writes this shape: ``{"format", "command", "machine", "versions", ..., "rows":
[{"figure", "value", "unit", "target", "peer", "how", ...}]}``. Missing numbers are null, never NaN: any JSON reader takes
the file.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any

from envs.digest import plain as plain

PACKAGES = ("numpy", "pandas", "numba", "scipy", "gymnasium", "stable-baselines3", "torch")
FORMAT = 1  # of the record's shape
HOUSE = Path(__file__).resolve().parents[1]


def record(rows: Iterable[Mapping[str, Any]], argv: Sequence[str], **parts: Any) -> dict[str, Any]:
    """The record of a run, ready for `write`.

    Args:
        rows: one mapping per number; ``target`` and ``peer`` are added as null where they are absent.
        argv: the program and its arguments.
        parts: further entries of the top level, placed before the rows.
    """
    filled = [{"figure": None, "value": None, "unit": "", "target": None, "peer": None, "how": "", **row} for row in rows]
    return plain({"format": FORMAT, "command": command(argv), "machine": machine(), "versions": versions(), **parts,
                  "rows": filled})


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Writes a record; a reader never sees half a file.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".part")
    scratch.write_text(_text(document) + "\n", encoding="utf-8")
    scratch.replace(path)


def _text(value: Any, depth: int = 0) -> str:
    """JSON, with whatever holds nothing but numbers and words on one line."""
    whole = partial(json.dumps, allow_nan=False, ensure_ascii=False)
    if isinstance(value, Mapping):
        parts = [(whole(name) + ": ", one) for name, one in value.items()]
    else:
        parts = [("", one) for one in value] if isinstance(value, list) else []
    if not any(isinstance(one, Mapping | list) for _, one in parts):
        return whole(value)
    begin, end = "{}" if isinstance(value, Mapping) else "[]"
    lines = [" " * (depth + 1) + name + _text(one, depth + 1) for name, one in parts]
    return f"{begin}\n" + ",\n".join(lines) + "\n" + " " * depth + end


def command(argv: Sequence[str]) -> str:
    """The command line that made the run, as one would type it."""
    program = Path(argv[0])
    return shlex.join(
        ["python", str(program.relative_to(HOUSE) if program.is_relative_to(HOUSE) else program.name), *argv[1:]]
    )


@cache
def machine() -> dict[str, Any]:
    """Processor, cores this process may use, memory and system."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None
    return {
        "processor": _processor(),
        "cores": cores,
        "memory_bytes": memory,
        "system": f"{platform.system()} {platform.release()}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


@cache
def versions() -> dict[str, str]:
    """Tidal's commit, Python, and the libraries that numbers hang on."""
    found = {"tidal": _commit(), "python": sys.version.split()[0]}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str:
    """Short commit of the checkout, with '+' where files differ from it; 'unknown' outside one."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(HOUSE), *words], capture_output=True, text=True, check=True, timeout=20
        ).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
