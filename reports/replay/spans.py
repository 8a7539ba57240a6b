"""--from and --to: a date, or how long before the end.

    2026-11-01T00:00+01:00, 2026-11-01 00:00Z      with a zone; without one, that of this machine
    7d, 36h, 90m, 30s                              before the end: now, or the end of a file
"""

from __future__ import annotations

import re
from datetime import datetime

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


def moment(text: str, end_s: float) -> float:
    """Unix time of a date, or of a time before the end.

    Args:
        text: as above, or "now".
        end_s: Unix time of the end.

    Raises:
        ValueError: it is neither.
    """
    if text == "now":
        return end_s
    if found := re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip()):
        return end_s - float(found[1]) * _UNITS_S[found[2]]
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except ValueError:
        raise ValueError(f"'{text}' is no time: give a date such as 2026-11-01T00:00+01:00, or 7d, 36h, 90m") from None


def is_relative(text: str | None) -> bool:
    """True where no date is named, so that a recording without dates will do."""
    return text is None or text == "now" or bool(re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip()))
