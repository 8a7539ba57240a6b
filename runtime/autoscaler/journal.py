"""The journal: what was decided, why, and what became of it. JSON lines, only appended to, on disk before anything is done.

A folder of segments, `journal-00000001.jsonl` and so on; each begins with a line of type `journal`. A line counts once
its line feed is on disk: what a crash has torn is cut off when the journal is opened again, whatever byte it was torn at.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from envs.versions import refusal

FORMAT = 1
SEGMENT_BYTES = 16 * 1024**2
SEGMENTS_KEPT = 64

Record = dict[str, Any]


class JournalError(ValueError):
    """A folder is not a journal; the text says which, and what to do."""


class Journal:
    """Appends to the journal in a folder, which is made where there is none. One process at a time may (see `lease`).

    Args:
        folder: where the segments are.
        segment_bytes: a segment of this size is followed by a new one.
        segments_kept: older ones are deleted.

    Attributes:
        id: drawn when the journal was begun; part of the ids of its decisions.

    Raises:
        OSError: the folder cannot be written to.
        JournalError: it holds a journal of another format.
    """

    def __init__(self, folder: Path, segment_bytes: int = SEGMENT_BYTES, segments_kept: int = SEGMENTS_KEPT) -> None:
        self._folder, self._segment_bytes, self._segments_kept = folder, segment_bytes, segments_kept
        folder.mkdir(parents=True, exist_ok=True)
        newest = _segments(folder)[-1:]
        self.id = _id(folder) or secrets.token_hex(4)
        self._number = int(newest[0].stem.rpartition("-")[2]) if newest else 0
        self._file = -1
        if newest:
            self._open(newest[0])
        else:
            self._next_segment()

    def append(self, record: Mapping[str, Any]) -> None:
        """Writes a line; when this returns, it is on disk.

        Raises:
            OSError: it could not be written; the journal is as it was before.
        """
        if self._end >= self._segment_bytes:
            self._next_segment()
        self._begin()
        self._write(record)

    def close(self) -> None:
        """Closes the file."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def _open(self, path: Path) -> None:
        self.close()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640)
        whole = path.read_bytes()
        self._end = whole.rfind(b"\n") + 1
        os.ftruncate(self._file, self._end)
        self._begin()

    def _begin(self) -> None:
        """The first line of a segment, also of one that was made when the disk had no room for it."""
        if not self._end:
            self._write({"type": "journal", "format": FORMAT, "id": self.id})

    def _next_segment(self) -> None:
        self._number += 1
        self._open(self._folder / f"journal-{self._number:08}.jsonl")
        directory = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        for old in _segments(self._folder)[: -self._segments_kept]:
            old.unlink()

    def _write(self, record: Mapping[str, Any]) -> None:
        text = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        line = text.encode("utf-8", "backslashreplace") + b"\n"  # of a JSON answer, half a character: \ud800
        try:
            written = 0
            while written < len(line):
                written += os.write(self._file, line[written:])
            os.fsync(self._file)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._end)
            raise
        self._end += len(line)


def newest_first(folder: Path) -> Iterator[Record]:
    """The records of a journal, the newest first; also while it is being written."""
    for path in reversed(_segments(folder)):
        yield from in_segment(path)


def in_segment(path: Path) -> Iterator[Record]:
    """The records of one segment, the newest first. Lines that are no JSON, as a crash leaves them, are left out.

    Raises:
        JournalError: it is of another format.
    """
    lines = path.read_bytes().split(b"\n")[:-1]
    for line in lines[:1]:
        _check_format(path, _head(line))
    for line in reversed(lines):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            yield record


def _segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("journal-*.jsonl"))


def _id(folder: Path) -> str:
    """The id of the journal in a folder, "" where there is none."""
    for path in reversed(_segments(folder)):
        with path.open("rb") as file:
            line = file.readline()
        if line.endswith(b"\n"):
            head = _head(line)
            _check_format(path, head)
            if "id" not in head:
                raise JournalError(f"{path}: not a journal; give another folder")
            return str(head["id"])
    return ""


def _head(line: bytes) -> Record:
    """What the first line of a segment says; empty where it is none."""
    try:
        head = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return head if isinstance(head, dict) and head.get("type") == "journal" else {}


def _check_format(path: Path, head: Record) -> None:
    if head and (other := refusal("journal, format", head.get("format"), FORMAT, "give another folder")):
        raise JournalError(f"{path}: {other}")
