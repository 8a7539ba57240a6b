"""How the demonstration is watched: lines as things happen, and in a terminal a strip of the last minute below them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from runtime.demo.record import Moment
from runtime.figures import millis, percent

LINE_EVERY_S = 5.0
BARS = "▁▂▃▄▅▆▇█"
STRIP = 60
WIDTH = 100


class Lines:
    """Plain lines, where there is no terminal: each event, and each few seconds what is seen.

    Args:
        console: to write to.
        slo_s: which latencies are too long; 0 until it is known.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told_s = 0.0

    def say(self, text: str) -> None:
        """See `runtime.demo.run.Show`."""
        self._console.print(Text(text), soft_wrap=True)

    def event(self, t_s: float, text: str) -> None:
        """See `runtime.demo.run.Show`."""
        self._console.print(Text.assemble((f"{clock(t_s):>5}  ", "dim"), (text, _style(text))), soft_wrap=True)

    def moment(self, moment: Moment) -> None:
        """See `runtime.demo.run.Show`."""
        if moment.t_s - self._told_s >= LINE_EVERY_S:
            self._told_s = moment.t_s
            self._console.print(Text(f"{clock(moment.t_s):>5}  {seen(moment)}", "dim"), soft_wrap=True)

    def close(self) -> None:
        """Nothing is left to do."""


class Screen(Lines):
    """The same in a terminal, above a strip that moves."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._moments: deque[Moment] = deque(maxlen=STRIP)
        self._live: Live | None = None

    def moment(self, moment: Moment) -> None:
        """See `runtime.demo.run.Show`."""
        self._moments.append(moment)
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(self._strip(), refresh=True)

    def close(self) -> None:
        """Takes the strip away."""
        if self._live:
            self._live.stop()

    def _strip(self) -> Group:
        now, table = self._moments[-1], Table.grid(padding=(0, 1))
        rows = [("load", [m.offered_rps for m in self._moments], number(now.offered_rps, " req/s")),
                ("p99", [m.p99_s for m in self._moments], millis(now.p99_s)),
                ("violations", [m.violation_ratio for m in self._moments], percent(now.violation_ratio))]  # fmt: skip
        for name, values, last in rows:
            table.add_row(Text(name, "dim"), Text(bars(values).rjust(STRIP), "cyan"), Text(last, "bold"))
        table.add_row(Text("replicas", "dim"), replicas(now), "")
        return Group(Text(), Text(f"{clock(now.t_s)}", "bold"), table)


def watching(console: Console) -> Lines:
    """The way that suits the console."""
    return Screen(console) if console.is_terminal else Lines(console)


def seen(moment: Moment) -> str:
    """A moment as a line."""
    return (f"load {number(moment.offered_rps, ' req/s')}, p99 {millis(moment.p99_s)}, "
            f"violations {percent(moment.violation_ratio)}, {replicas(moment)}")


def replicas(moment: Moment) -> str:
    """'2 x resnet18, 1 x resnet50 loading'."""
    ready = [f"{count} x {variant}" for variant, count in moment.ready.items()]
    pending = [f"{count} x {variant} loading" for variant, count in moment.pending.items()]
    return ", ".join(ready + pending) or "no replica"


def bars(values: Iterable[float | None]) -> str:
    """A row of bars, the highest value filling the line; a gap for what is missing."""
    known = list(values)
    top = max((v for v in known if v is not None), default=0.0) or 1.0
    return "".join(" " if v is None else BARS[min(len(BARS) - 1, int(v / top * len(BARS)))] for v in known)


def clock(t_s: float) -> str:
    """'0:07'; the time before the load is below zero."""
    whole = int(abs(t_s))
    return f"{'-' if t_s <= -1 else ''}{whole // 60}:{whole % 60:02}"


def number(value: float | None, unit: str = "") -> str:
    """To a whole number."""
    return "missing" if value is None else f"{value:.0f}{unit}"


def _style(text: str) -> str:
    return "bold red" if text.startswith("kill -9") else "cyan" if "→" in text else ""
