"""The version of the code that a number hangs on: a digest of source files and of all files of this checkout that they import.

Imports are read, not run, also those inside functions; what is named by a text only (the registry's policies) is not followed.
So a change of one planner makes its own rows new, and no other's.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def version_of(*sources: Path, root: Path = ROOT) -> str:
    """A digest of these files and of what they import, and so on.

    Args:
        sources: Python files; they need not lie under the root.
        root: where modules are looked for; those that are not there (libraries) are not followed.
    """
    found: set[Path] = set()
    left = [path.resolve() for path in sources]
    while left:
        path = left.pop()
        if path not in found:
            found.add(path)
            left += _imported(path, root)
    digests = sorted(_digest(path) for path in found)
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:16]


@cache
def _imported(path: Path, root: Path) -> tuple[Path, ...]:
    """Files under the root that a file imports."""
    return tuple(file for name in _names(ast.parse(path.read_text(encoding="utf-8"))) if (file := _file(name, root)))


def _names(tree: ast.Module) -> Iterator[str]:
    """Names that may be modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _file(name: str, root: Path) -> Path | None:
    """The file of a module under the root, that of a package its ``__init__``; None: there is none."""
    place = root.joinpath(*name.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


@cache
def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
