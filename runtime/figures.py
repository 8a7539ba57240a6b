"""Figures as people read them. What is missing is said, and never looks like zero."""


def millis(value_s: float | None) -> str:
    """Seconds as milliseconds."""
    return "missing" if value_s is None else f"{1e3 * value_s:.0f} ms"


def percent(ratio: float | None) -> str:
    """A ratio as percent."""
    return "missing" if ratio is None else f"{100 * ratio:.1f} %"
