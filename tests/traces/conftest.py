"""The folder of shared traces, where there is one, and a way to write small files."""

import gzip
import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_root():
    """The folder of shared traces: TIDAL_TRACES, or shared/traces beside the checkout; the test is skipped without it."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "traces"
    root = Path(os.environ.get("TIDAL_TRACES") or beside)
    if not (root / "manifest.json").is_file():
        pytest.skip("no folder of shared traces: set TIDAL_TRACES")
    return root


@pytest.fixture
def write(tmp_path):
    """Writes a text file, gzipped when its name ends so, and returns its path."""

    def write_file(name: str, text: str) -> Path:
        path = tmp_path / name
        data = text.encode()
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write_file
