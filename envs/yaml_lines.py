"""YAML read safely, and a YAML file whose every part knows its line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import yaml

from envs.problem import Problem

DEEPEST = 100  # of brackets: far deeper than anybody writes, and read in no time


class _Loader(yaml.SafeLoader):
    """Refuses escapes that stand for half of a character ("\\ud800"): such text can be neither printed nor written."""

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        value = super().construct_scalar(node)
        try:
            str(value).encode()
        except UnicodeEncodeError as error:
            raise yaml.constructor.ConstructorError(None, None, f"{value!r} is no text", node.start_mark) from error
        return value


def read(text: str) -> Any:
    """What a YAML text holds.

    Raises:
        yaml.YAMLError: it is none, or nested too deep.
    """
    _check_depth(text)
    try:
        return _Loader(text).get_single_data()
    except (RecursionError, ValueError) as error:  # indented too deep; 2001-99-99 is taken for a date
        raise yaml.YAMLError(_said(error)) from error


def _check_depth(text: str) -> None:
    if max(accumulate((c in "[{") - (c in "]}") for c in text), default=0) > DEEPEST:
        raise yaml.YAMLError(f"nested more than {DEEPEST} deep")


def _said(error: Exception) -> str:
    return "nested too deep" if isinstance(error, RecursionError) else str(error)


class YamlFile:
    """A YAML file, read.

    Attributes:
        path: where it is.
        data: what it holds; None where it cannot be read.
        problems: what is wrong with it as YAML: no such file, syntax, a key given twice.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data: Any = None
        self.problems: list[Problem] = []
        self._root: yaml.Node | None = None
        try:
            text = path.read_text(encoding="utf-8")
            _check_depth(text)
            loader = _Loader(text)
            self._root = loader.get_single_node()
            self.data = loader.construct_document(self._root) if self._root else None
        except OSError as error:
            self._add(0, "", f"{error.strerror}")
        except UnicodeDecodeError:
            self._add(0, "", "not a text file in UTF-8")
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
            self._add(mark.line + 1 if mark else 0, "", f"not YAML: {getattr(error, 'problem', None) or error}")
        except (RecursionError, ValueError) as error:
            self._add(0, "", f"not YAML: {_said(error)}")
        else:
            for key in _repeated_keys(self._root):
                self._add(key.start_mark.line + 1, key.value, "given twice; the first would be lost")

    def _add(self, line: int, where: str, reason: str) -> None:
        self.problems.append(Problem(str(self.path), line, where, reason))

    def line(self, where: Sequence[str | int]) -> int:
        """The line, from 1, of the part at a path, or of the nearest part around it that is in the file."""
        node, line = self._root, 1
        for step in where:
            entry = _entry(node, step)
            if entry is None:
                break
            line, node = entry
        return line


def _entry(node: yaml.Node | None, step: str | int) -> tuple[int, yaml.Node] | None:
    """Line and node of one entry of a table (the line of its key) or of a list."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step].start_mark.line + 1, node.value[step]
    return None


def _repeated_keys(root: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    """Keys that their table has had already."""
    todo, visited = [root], set()
    while todo:
        node = todo.pop()
        if id(node) in visited:  # an alias
            continue
        visited.add(id(node))
        if isinstance(node, yaml.MappingNode):
            seen = set()
            for key, value in node.value:
                if key.value in seen:
                    yield key
                if isinstance(key, yaml.ScalarNode):
                    seen.add(key.value)
                todo.append(value)
        elif isinstance(node, yaml.SequenceNode):
            todo += node.value
