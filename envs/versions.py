"""Versions of what outlives a process. What is of another one is migrated, or refused in a line with both and the way out.

A version is raised when what was written before would be misread. A field that is merely new has a default instead.
"""

from __future__ import annotations

NEWER = "use the Tidal that wrote it, or a newer one"


def refusal(what: str, found: object, here: int, older: str) -> str:
    """Why something is not read, "" where it may be.

    Args:
        what: it is, for people: "journal, format".
        found: the version that it says; anything, as it comes from a file.
        here: the version of this Tidal.
        older: what to do with an older one.
    """
    if type(found) is int and found == here:
        return ""
    newer = type(found) is int and found > here
    return f"{what} {found!r}, here {here}; {NEWER if newer else older}"
