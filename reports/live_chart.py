"""The strip chart of a live run, as SVG that needs no script: load, latency against the SLO, replicas by variant."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Sequence

from runtime.demo.record import Record
from runtime.demo.show import clock

WIDTH, LEFT, GAP, HEAD = 1120, 52, 30, 20
LOAD, LATENCY, REPLICAS = 130, 90, 60  # heights
RAMP = 7  # colours of the style sheet's ramp, --v0 to --v6
TICK_S = 10

Scale = Callable[[float], float]


def chart(run: Record) -> str:
    """The whole chart."""
    span_s = max([run.seconds, *(m.t_s for m in run.moments)])
    height = LOAD + LATENCY + REPLICAS + 3 * GAP + HEAD

    def x(t_s: float) -> float:
        return LEFT + (WIDTH - LEFT - 4) * t_s / span_s

    parts = [*_load(run, x), *_latency(run, x), *_replicas(run, x), *_times(span_s, x, height), *_kill(run, x, height)]
    label = f"Load, latency and replicas over {run.seconds} seconds"
    return (f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}" style="min-width:640px">'
            f"{''.join(parts)}</svg>")  # fmt: skip


def legend(run: Record) -> str:
    """Which colour is which variant."""
    boxes = "".join(f'<span style="display:inline-block;width:10px;height:10px;border-radius:2px;background:{colour}"></span>'
                    f"<span>{html.escape(name)}</span>" for name, colour in _colours(run).items())  # fmt: skip
    return f"{boxes}<span>pale: loading</span>"


def _load(run: Record, x: Scale) -> Iterator[str]:
    top, floor = HEAD, HEAD + LOAD
    most = max([m.offered_rps or 0.0 for m in run.moments] or [1.0]) * 1.1 or 1.0

    def y(rps: float) -> float:
        return floor - (floor - top) * rps / most

    yield from _panel("offered load, req/s", top, floor, [(f"{v:g}", y(v)) for v in _ticks(most)])
    yield f'<path class="load" d="{_line([(m.t_s, m.offered_rps) for m in run.moments], x, y)}"/>'
    for made in run.during:
        if "→" in made.changes:
            told = html.escape(f"{clock(made.t_s)} {made.changes}: {made.reason}")
            yield f'<path class="mark" d="M{x(made.t_s):.1f},{floor + 1}l4,8h-8z"><title>{told}</title></path>'


def _latency(run: Record, x: Scale) -> Iterator[str]:
    top = HEAD + LOAD + GAP
    floor = top + LATENCY
    known = [v for m in run.moments for v in (m.p50_s, m.p99_s) if v]
    low, high = min([*known, run.slo_s]) * 0.8, max([*known, run.slo_s]) * 1.25

    def y(latency_s: float) -> float:
        share = math.log(max(latency_s, low) / low) / math.log(high / low)
        return floor - (floor - top) * share

    decades = [10.0**p for p in range(-4, 3) if low <= 10.0**p <= high]
    yield from _panel("latency p50 (grey) and p99 (dark), logarithmic", top, floor,
                      [(f"{1e3 * v:g} ms" if v < 1 else f"{v:g} s", y(v)) for v in decades])
    yield f'<path class="p50" d="{_line([(m.t_s, m.p50_s) for m in run.moments], x, y)}"/>'
    yield f'<path class="p99" d="{_line([(m.t_s, m.p99_s) for m in run.moments], x, y)}"/>'
    yield f'<line class="slo" x1="{LEFT}" x2="{WIDTH - 4}" y1="{y(run.slo_s):.1f}" y2="{y(run.slo_s):.1f}"/>'
    yield (f'<text class="slo-text halo" x="{WIDTH - 4}" y="{y(run.slo_s) - 4:.1f}" text-anchor="end">'
           f"SLO {1e3 * run.slo_s:.0f} ms</text>")  # fmt: skip


def _replicas(run: Record, x: Scale) -> Iterator[str]:
    top = HEAD + LOAD + LATENCY + 2 * GAP
    floor, colours = top + REPLICAS, _colours(run)
    most = max([sum(m.ready.values()) + sum(m.pending.values()) for m in run.moments] or [1]) or 1
    unit = (floor - top) / most
    yield from _panel("replicas, ready by variant", top, floor, [(f"{n}", floor - n * unit) for n in range(most + 1)])
    before_s = 0.0
    for moment in run.moments:
        below, left = float(floor), x(before_s)
        for counts, opacity in ((moment.ready, 1.0), (moment.pending, 0.3)):
            for variant in colours:
                tall = counts.get(variant, 0) * unit
                if tall:
                    style = f"fill:{colours[variant]};opacity:{opacity:g}"
                    yield (f'<rect x="{left:.1f}" width="{x(moment.t_s) - left + 0.3:.1f}" y="{below - tall:.1f}" '
                           f'height="{tall:.1f}" style="{style}"/>')  # fmt: skip
                    below -= tall
        before_s = moment.t_s


def _times(span_s: float, x: Scale, height: int) -> Iterator[str]:
    for t_s in range(0, int(span_s) + 1, TICK_S):
        yield f'<text x="{x(t_s):.1f}" y="{height - 6}" text-anchor="middle">{clock(t_s)}</text>'


def _kill(run: Record, x: Scale, height: int) -> Iterator[str]:
    if run.kill:
        at = x(run.kill.t_s)
        style = "stroke:var(--bad);stroke-width:1.4"
        yield f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{HEAD}" y2="{height - GAP + 6}" style="{style}"/>'
        yield f'<text class="slo-text halo" x="{at + 4:.1f}" y="{HEAD + 10}">kill -9</text>'


def _panel(title: str, top: float, floor: float, ticks: Sequence[tuple[str, float]]) -> Iterator[str]:
    yield f'<text x="{LEFT}" y="{top - 6}">{title}</text>'
    for text, at in ticks:
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - 4}" y1="{at:.1f}" y2="{at:.1f}"/>'
        yield f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{text}</text>'
    yield f'<line class="axis" x1="{LEFT}" x2="{WIDTH - 4}" y1="{floor}" y2="{floor}"/>'


def _line(points: Sequence[tuple[float, float | None]], x: Scale, y: Scale) -> str:
    """A path with a gap where a number is missing."""
    drawn, pen = [], "M"
    for t_s, value in points:
        if value is None:
            pen = "M"
        else:
            drawn.append(f"{pen}{x(t_s):.1f},{y(value):.1f}")
            pen = "L"
    return "".join(drawn)


def _ticks(most: float) -> list[float]:
    step = 10 ** math.floor(math.log10(most))
    step = next(s for s in (step / 5, step / 2, step, 2 * step) if most / s <= 5)
    return [i * step for i in range(int(most / step) + 1)]


def _colours(run: Record) -> dict[str, str]:
    """By variant, the least accurate first: the style sheet's ramp."""
    names = list(run.accuracy)
    return {name: f"var(--v{1 + round(i * (RAMP - 2) / max(1, len(names) - 1))})" for i, name in enumerate(names)}
