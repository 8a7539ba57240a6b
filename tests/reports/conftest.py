"""Synthetic episodes for the tests of reports, made once."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from synthetic import episodes

POLICIES = ("infadapter", "hpa", "static", "ppo")


@pytest.fixture(scope="session")
def played():
    """Four policies on three windows and two seeds."""
    return episodes(POLICIES, windows=3, seeds=2, intervals=60)
