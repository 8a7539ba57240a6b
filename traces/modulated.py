"""A load whose rate is multiplied by a factor that changes over time: a flash crowd, a step, more or fewer users."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from traces.load import RECORDED, Load

FINEST_S = 5.0  # bins are no longer than this, so that a sudden factor is sudden

Factor = Callable[[np.ndarray], np.ndarray]


def modulated(load: Load, factor: Factor, finest_s: float = FINEST_S) -> Load:
    """The load with another rate; the law of the gaps around it stays.

    Args:
        load: with a rate.
        factor: of times in seconds of the load's own, (n,) to (n,), not negative; asked in the middle of each bin.
        finest_s: bins longer than this are parted into equal ones.

    Raises:
        ValueError: recorded arrivals, which have no rate, or a factor that is negative or no number.
    """
    if load.model == RECORDED:
        raise ValueError("recorded arrivals have no rate that could be multiplied; play the load by its rate")
    parts = max(1, int(np.ceil(load.bin_s / finest_s - 1e-9)))
    bin_s = load.bin_s / parts
    rate_rps = np.repeat(load.rate_rps, parts)
    factors = np.asarray(factor((np.arange(rate_rps.size) + 0.5) * bin_s), dtype=np.float64)
    if not (np.isfinite(factors).all() and (factors >= 0).all()):
        raise ValueError("a factor on a rate is a number, at least 0")
    return load._replace(rate_rps=np.ascontiguousarray(rate_rps * factors), bin_s=bin_s)
