"""The statistics of calibration.json, restated from its descriptions, so that generators and files are measured alike."""

import numpy as np
import pandas as pd


def index_of_dispersion(counts: np.ndarray) -> float:
    """Variance / mean of counts."""
    return float(counts.var() / counts.mean())


def local_index_of_dispersion(counts: np.ndarray, window: int = 30) -> float:
    """Variance / mean after removing a straight line in windows of 30 bins."""
    rows = counts[: counts.size // window * window].reshape(-1, window).astype(float)
    x = np.arange(window) - (window - 1) / 2
    slope = rows @ x / (x @ x)
    residual = rows - rows.mean(axis=1, keepdims=True) - slope[:, None] * x
    return float((residual**2).sum() / (rows.shape[0] * (window - 2)) / rows.mean())


def bursts(per_minute: np.ndarray, window: int = 121) -> pd.DataFrame:
    """Runs of minutes above 1.5 x the running median, excess above 4 sqrt(median), one-minute holes merged."""
    series = pd.Series(per_minute, dtype=float)
    median = series.rolling(window, center=True, min_periods=1).median().to_numpy()
    high = (per_minute > 1.5 * median) & (per_minute - median > 4 * np.sqrt(median))
    high[1:-1] |= high[:-2] & high[2:]
    edges = np.flatnonzero(np.diff(high.astype(int), prepend=0, append=0)).reshape(-1, 2)
    ratio = per_minute / np.maximum(median, 1e-12)
    return pd.DataFrame(
        {
            "start_s": 60.0 * edges[:, 0],
            "duration_s": 60.0 * (edges[:, 1] - edges[:, 0]),
            "peak_ratio": [ratio[a:b].max() for a, b in edges],
            "mean_ratio": [ratio[a:b].mean() for a, b in edges],
            "time_to_peak_s": [60.0 * (1 + ratio[a:b].argmax()) for a, b in edges],
        }
    )


def daily_profile(per_minute: np.ndarray, knots: int = 48) -> np.ndarray:
    """Mean load of each half hour divided by its day's mean."""
    days = per_minute[: per_minute.size // 1440 * 1440].reshape(-1, 1440)
    shares = days / days.mean(axis=1, keepdims=True)
    return shares.reshape(days.shape[0], knots, -1).mean(axis=(0, 2))


def log_residual(per_minute: np.ndarray, knots: int = 48) -> np.ndarray:
    """Log of count / (day mean x daily profile)."""
    days = per_minute[: per_minute.size // 1440 * 1440].reshape(-1, 1440)
    profile = np.repeat(daily_profile(per_minute, knots), 1440 // knots)
    return np.log(np.maximum(days, 1e-9) / (days.mean(axis=1, keepdims=True) * profile)).ravel()


def autocorrelation(series: np.ndarray, lag: int) -> float:
    """Correlation of a series with itself, `lag` steps later."""
    return float(np.corrcoef(series[:-lag], series[lag:])[0, 1])
