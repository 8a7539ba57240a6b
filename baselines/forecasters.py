"""Forecasters of the next interval's load: last value, max of the last k, exponentially weighted mean, autoregression, LSTM.

All see one number per interval, the mean offered load (req/s); InfAdapter's authors forecast from per-minute maxima of
per-second counts (EuroMLSys 2023, artefact), which an `Observation` does not carry, so a margin here covers bursts
within an interval too. Missing observations (nan) are held: the last good value stands in for them, never 0.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np


class Forecaster(ABC):
    """Forecasts the load of the next interval, times a margin.

    Args:
        margin: factor on the forecast (InfAdapter: 1.1).

    Attributes:
        memory_intervals: how many past observations determine the forecast.
        interval_s: time between observations, as `reset` was told.
    """

    memory_intervals: int = 1

    def __init__(self, margin: float = 1.0) -> None:
        if not margin > 0:
            raise ValueError(f"margin {margin}: give a factor above 0, such as 1.1")
        self.margin = margin
        self.reset()

    def reset(self, interval_s: float = 30.0) -> None:
        """Forgets all observations; `interval_s` is the time from one to the next."""
        self.interval_s = interval_s
        self._last = math.nan
        self._clear()

    def observe(self, rps: float) -> None:
        """Takes the mean offered load of one interval, req/s; nan repeats the last good value."""
        if not math.isnan(rps):
            self._last = rps
        if not math.isnan(self._last):
            self._take(self._last)

    def forecast(self) -> float:
        """Load of the next interval times the margin, req/s, at least 0; nan before the first observation."""
        return math.nan if math.isnan(self._last) else max(0.0, self.margin * self._predict())

    @abstractmethod
    def _clear(self) -> None: ...

    @abstractmethod
    def _take(self, rps: float) -> None: ...

    @abstractmethod
    def _predict(self) -> float: ...


class LastValue(Forecaster):
    """The next interval is like the last one."""

    def _clear(self) -> None:
        pass

    def _take(self, rps: float) -> None:
        pass

    def _predict(self) -> float:
        return self._last


class MaxOfLast(Forecaster):
    """The greatest of the last k intervals."""

    def __init__(self, k: int = 2, margin: float = 1.0) -> None:
        self.memory_intervals = _whole("k", k)
        super().__init__(margin)

    def _clear(self) -> None:
        self._window: deque[float] = deque(maxlen=self.memory_intervals)

    def _take(self, rps: float) -> None:
        self._window.append(rps)

    def _predict(self) -> float:
        return max(self._window)


class EWM(Forecaster):
    """Exponentially weighted mean with weights (1 - a)^age, a = 2 / (span + 1), as `pandas.Series.ewm(span).mean()`.

    InfAdapter falls back on it (span 10) before it has ten minutes of history.
    """

    def __init__(self, span: float = 10, margin: float = 1.0) -> None:
        if not span >= 1:
            raise ValueError(f"span {span}: give at least 1")
        self._keep = 1 - 2 / (span + 1)
        self.memory_intervals = math.ceil(10 * span)  # all older weights together: below e^-20
        super().__init__(margin)

    def _clear(self) -> None:
        self._sum = self._weight = 0.0

    def _take(self, rps: float) -> None:
        self._sum = self._keep * self._sum + rps
        self._weight = self._keep * self._weight + 1

    def _predict(self) -> float:
        return self._sum / self._weight


class LinearAR(Forecaster):
    """Linear autoregression with intercept, fitted by least squares.

    Args:
        order: how many past intervals it looks at.
        margin: factor on the forecast.
        training: a series of loads (req/s per interval) to fit once; without it, the fit is renewed at every forecast on the
        last
            20 x order observations. Until 2 x order observations are there, the forecast is the last value.
    """

    def __init__(self, order: int = 10, margin: float = 1.0, training: Sequence[float] | None = None) -> None:
        self.order = _whole("order", order)
        self._fixed = None if training is None else fit_linear_ar(training, order)
        self.memory_intervals = order if self._fixed is not None else 20 * order
        super().__init__(margin)

    def _clear(self) -> None:
        self._window: deque[float] = deque(maxlen=self.memory_intervals)

    def _take(self, rps: float) -> None:
        self._window.append(rps)

    def _predict(self) -> float:
        if len(self._window) < (self.order if self._fixed is not None else 2 * self.order + 1):
            return self._last
        weights = self._fixed if self._fixed is not None else fit_linear_ar(list(self._window), self.order)
        recent = np.array(self._window)[-self.order:]
        return float(weights[0] + weights[1:] @ recent)


def fit_linear_ar(series: Sequence[float], order: int) -> np.ndarray:
    """Least-squares weights of x[t] on an intercept and x[t - order], ..., x[t - 1].

    Args:
        series: loads, at least order + 1 of them, without nan.
        order: number of past values.

    Returns:
        Weights of shape (order + 1,), the intercept first; of least norm where the series does not determine them.

    Raises:
        ValueError: the series is too short, or has missing values.
    """
    values = np.asarray(series, dtype=float)
    if values.size <= order or not np.isfinite(values).all():
        raise ValueError(f"a fit of order {order} needs at least {order + 1} finite loads, got {values.size}")
    past = np.lib.stride_tricks.sliding_window_view(values, order)[:-1]
    design = np.column_stack([np.ones(len(past)), past])
    return np.linalg.lstsq(design, values[order:], rcond=None)[0]


def _whole(name: str, value: int) -> int:
    if value != int(value) or value < 1:
        raise ValueError(f"{name} {value}: give a whole number, at least 1")
    return int(value)


def _lstm(margin: float) -> Forecaster:
    from baselines.lstm import LSTM

    return LSTM(margin)


_BY_NAME: dict[str, Callable[[int, float], Forecaster]] = {
    "last": lambda memory, margin: LastValue(margin),
    "max": MaxOfLast,
    "ewm": EWM,
    "ar": LinearAR,
    "lstm": lambda memory, margin: _lstm(margin),
}
NAMES = tuple(_BY_NAME)


def forecaster(name: str, memory: int, margin: float) -> Forecaster:
    """A forecaster by name, as calibration draws them.

    Args:
        name: ``last``, ``max``, ``ewm``, ``ar`` or ``lstm`` (the one pretrained on Twitter).
        memory: intervals it looks back: k, span, or order (``last`` and ``lstm`` ignore it).
        margin: factor on the forecast.

    Raises:
        ValueError: no such forecaster.
    """
    if name not in _BY_NAME:
        raise ValueError(f"unknown forecaster '{name}'; known: {', '.join(NAMES)}")
    return _BY_NAME[name](memory, margin)
