"""The strip chart of an episode: offered load, ready capacity by variant, queue, p99 against the SLO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from envs.scenario import Scenario

if TYPE_CHECKING:
    from envs.clusters import Clusters

PANELS = ("load and ready capacity, req/s", "queue, requests", "p99, s")


class StripChart:
    """What one cluster did since its episode began; drawn when asked for.

    Args:
        scenario: the problem.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._slo_s = min(a.slo_s for a in scenario.applications.values())
        self._capacity_rps = np.array([scenario.capacity_rps(k, k.variants[0]) for k in scenario.kinds])
        variants = list(scenario.variants)
        self._variant = np.array([variants.index(k.variants[0]) for k in scenario.kinds])
        self._figure: Any = None
        self._shown = False
        self.clear()

    def clear(self) -> None:
        """Begins an empty chart."""
        self._t_s: list[float] = []
        self._rows: list[np.ndarray] = []  # offered load, queue, p99, then ready capacity of each variant
        self._held: list[str] = []

    def add(self, clusters: Clusters, e: int) -> None:
        """Adds the last interval of one cluster."""
        truth = clusters.truth
        capacity = np.bincount(self._variant, truth.ready[e] * self._capacity_rps, len(self._scenario.variants))
        p99_s = np.fmax.reduce(truth.quantiles_s[e, :, 2])
        self._t_s.append(clusters.t_s)
        self._rows.append(np.concatenate([[truth.offered_rps[e].sum(), truth.service_waiting[e].sum(), p99_s], capacity]))
        ready = [f"{n:.0f} x {kind}" for kind, n in zip(clusters.kinds, truth.ready[e]) if n]
        self._held.append(", ".join(ready) or "nothing")

    def text(self) -> str:
        """One line about the last interval."""
        if not self._rows:
            return f"{self._scenario.name} t=0 s"
        load, queue, p99_s = self._rows[-1][:3]
        return (
            f"{self._scenario.name} t={self._t_s[-1]:.0f} s: {load:.4g} req/s, ready {self._held[-1]}, queue {queue:.0f}, "
            f"p99 {p99_s:.3f} s of {self._slo_s:g} s"
        )

    def pixels(self) -> np.ndarray:
        """The chart as an image, (height, width, 3) uint8."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        if self._figure is None:
            self._figure = Figure(figsize=(8, 6), dpi=80, layout="constrained")
            FigureCanvasAgg(self._figure)
        self._draw(self._figure)
        self._figure.canvas.draw()
        return np.asarray(self._figure.canvas.buffer_rgba())[..., :3].copy()

    def show(self) -> None:
        """Draws the chart in a window."""
        import matplotlib.pyplot as plt

        if self._figure is None:
            self._figure, self._shown = plt.figure(figsize=(8, 6), layout="constrained"), True
        self._draw(self._figure)
        plt.pause(0.001)

    def close(self) -> None:
        """Closes the window, if there is one."""
        if self._shown:
            import matplotlib.pyplot as plt

            plt.close(self._figure)
        self._figure, self._shown = None, False

    def _draw(self, figure: Any) -> None:
        """Three panels over time."""
        figure.clear()
        above, middle, below = figure.subplots(3, 1, sharex=True, height_ratios=(3, 1, 1))
        rows = np.array(self._rows).reshape(len(self._rows), 3 + len(self._scenario.variants))
        t_s = np.array(self._t_s)
        if len(t_s):
            above.stackplot(t_s, rows[:, 3:].T, labels=list(self._scenario.variants), step="pre", alpha=0.6)
        above.plot(t_s, rows[:, 0], color="black", label="offered")
        above.legend(loc="upper left", fontsize="small", ncols=3)
        middle.plot(t_s, rows[:, 1], color="black")
        below.plot(t_s, rows[:, 2], color="black")
        below.axhline(self._slo_s, color="red", linestyle="--", linewidth=1, label="SLO")
        below.legend(loc="upper left", fontsize="small")
        below.set_xlabel(f"{self._scenario.name}: time, s")
        for axis, title in zip((above, middle, below), PANELS):
            axis.set_title(title, loc="left", fontsize="small")
            axis.set_ylim(bottom=0)
            axis.set_xlim(0, self._scenario.interval_s * self._scenario.episode_intervals)
