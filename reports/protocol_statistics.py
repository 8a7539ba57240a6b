"""Statistics of the protocol: draws that all rows of a cell share, one-sided tests that agree with them, Holm's correction.

A *cell* is one source of load at one cold start. Its rows are policies that played the same windows; a row of a learned agent
has several members, one for each training seed. Windows are drawn again together for all rows, members by themselves, so that
any arithmetic on the draws is a paired comparison, and shares of a gap have intervals too.

Sources: Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 2007 (two crossed factors, drawn independently);
Hesterberg 2015 for the expanded percentiles (`reports.statistics`); Holm, "A simple sequentially rejective multiple test
procedure", Scandinavian Journal of Statistics 1979.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from reports.statistics import Estimate, expanded_tail

LEVEL = 0.95
ALPHA = (1 - LEVEL) / 2  # of a one-sided test: that of one end of the interval
LEAST_WINDOWS = 3  # fewer tell nothing


@dataclass(frozen=True, eq=False)
class Drawn:
    """A statistic and what it was in every draw; sums, differences and ratios keep the pairing.

    Attributes:
        value: of all windows and members.
        draws: (B,) in each draw.
        windows: independent windows behind it.
    """

    value: float
    draws: np.ndarray
    windows: int

    def __sub__(self, other: Drawn) -> Drawn:
        return Drawn(self.value - other.value, self.draws - other.draws, self.windows)

    def __add__(self, other: Drawn) -> Drawn:
        return Drawn(self.value + other.value, self.draws + other.draws, self.windows)

    def __mul__(self, factor: float) -> Drawn:
        return Drawn(factor * self.value, factor * self.draws, self.windows)

    def estimate(self, level: float = LEVEL) -> Estimate:
        """The value with its interval; nan ends where there are too few windows."""
        if self.windows < LEAST_WINDOWS or not np.isfinite(self.draws).all():
            return Estimate(self.value, np.nan, np.nan)
        tail = expanded_tail(self.windows, level)
        low, high = np.quantile(self.draws, [tail, 1 - tail])
        return Estimate(self.value, float(low), float(high))

    def share_of(self, gap: Drawn) -> Estimate:
        """This over a gap, with its interval; nan where the gap itself is not told from none."""
        if not gap.estimate().low > 0:
            return Estimate(np.nan, np.nan, np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            return Drawn(self.value / gap.value, self.draws / gap.draws, self.windows).estimate()

    def p_above_zero(self) -> float:
        """p-value against "it is 0 or less": the least one-sided level at which the interval's lower end is above 0.

        The share q of draws at 0 or below is turned back through the expansion of the percentiles; nan: too few windows.
        """
        n = self.windows
        if n < LEAST_WINDOWS or not np.isfinite(self.draws).all():
            return float("nan")
        q = (np.count_nonzero(self.draws <= 0) + 1) / (len(self.draws) + 1)
        return float(stats.t.cdf(stats.norm.ppf(q) * np.sqrt((n - 1) / n), n - 1)) if q < 1 else 1.0


class Draws:
    """Draws the windows of a cell again, once for all of its rows.

    Args:
        windows: W, how many.
        rng: generator of the draws.
        resamples: B.
    """

    def __init__(self, windows: int, rng: np.random.Generator, resamples: int) -> None:
        self.windows, self._rng = windows, rng
        self._counts = rng.multinomial(windows, np.full(windows, 1 / windows), size=resamples)  # (B, W)

    def mean(self, values: np.ndarray) -> Drawn:
        """Mean of (members, W) values.

        Raises:
            ValueError: not one value for each window.
        """
        if values.ndim != 2 or values.shape[1] != self.windows:
            raise ValueError(f"values {values.shape} for {self.windows} windows: give (members, windows)")
        members = len(values)
        drawn = self._rng.multinomial(members, np.full(members, 1 / members), size=len(self._counts))
        draws = np.einsum("bm,mw,bw->b", drawn, values, self._counts, optimize=True) / (members * self.windows)
        return Drawn(float(values.mean()), draws, self.windows)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given.

    Where those of at most alpha are rejected, the chance that any of these is rejected falsely is at most alpha.
    A nan (nothing was tested) stays one and does not count as a test.
    """
    p = np.asarray(p_values, dtype=np.float64)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    adjusted = np.full(p.shape, np.nan)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return [float(x) for x in adjusted]
