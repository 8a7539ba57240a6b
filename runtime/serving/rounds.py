"""Rounds: what is made good again and again, since a step may have failed midway, for want of memory, say."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

log = logging.getLogger(__name__)


async def rounds(every_s: float, *steps: Callable[[], object]) -> None:
    """Takes each step, and again after so many seconds, until cancelled. One that fails is told, and taken again then."""
    while True:
        try:
            for step in steps:
                step()
        except Exception:
            log.exception("a round; the next is in %g s", every_s)
        await asyncio.sleep(every_s)
