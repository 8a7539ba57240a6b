"""The protocol's outcomes on disk, each under the digest of all that it hangs on: what is there is never played again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reports.record import plain


class Store:
    """Outcomes by key, in a file that only grows; a line that an interruption cut short is passed over.

    Args:
        folder: made where it is not there.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "outcomes.jsonl"
        self._found: dict[str, dict[str, Any]] = {}
        for line in self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else []:
            try:
                told = json.loads(line)
            except json.JSONDecodeError:
                continue
            self._found[told.pop("key")] = told

    def get(self, key: str) -> dict[str, Any] | None:
        """An outcome, or None."""
        return self._found.get(key)

    def put(self, key: str, outcome: dict[str, Any]) -> None:
        """Keeps an outcome, on disk before this returns."""
        self._found[key] = json.loads(json.dumps(plain(outcome)))
        ends = not self.path.is_file() or self.path.read_bytes()[-1:] in (b"", b"\n")
        with self.path.open("a", encoding="utf-8") as file:
            file.write(("" if ends else "\n") + json.dumps({"key": key, **self._found[key]}) + "\n")
