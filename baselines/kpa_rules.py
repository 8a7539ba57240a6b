"""The Knative Pod Autoscaler's rules, as pure functions of what it has seen.

Source: knative/serving, pkg/autoscaler/scaling/autoscaler.go (Scale), and its defaults (config-autoscaler). Two means of one
metric, over a long (stable) and a short (panic) window: the long one decides, until the short one asks for twice the pods
that are ready; then, until the long window has seen none of that, pods are only added.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

STABLE_WINDOW_S = 60.0  # stable-window
PANIC_WINDOW_RATIO = 0.1  # panic-window-percentage
PANIC_THRESHOLD = 2.0  # panic-threshold-percentage
MOST_UP, MOST_DOWN = 1000.0, 2.0  # max-scale-up-rate, max-scale-down-rate
TARGET = 0.7  # container-concurrency-target-percentage


@dataclass(frozen=True)
class Panic:
    """Panic mode.

    Attributes:
        since_s: when the short window last asked for too many pods; None: no panic.
        most: pods wanted since it began; fewer are not.
    """

    since_s: float | None = None
    most: int = 0


def desired_pods(stable: float, panic: float, target: float, ready: int, t_s: float, state: Panic,
                 stable_window_s: float = STABLE_WINDOW_S, threshold: float = PANIC_THRESHOLD,
                 most_up: float = MOST_UP, most_down: float = MOST_DOWN) -> tuple[int, Panic]:
    """Pods that hold the metric at its target, before any limits on their number.

    Args:
        stable: mean of the metric (of all pods together) over the stable window.
        panic: the same over the panic window.
        target: of one pod.
        ready: pods; none counts as one.
        t_s: now.
        state: panic mode so far.
        stable_window_s: for how long panic outlives its cause.
        threshold: pods asked for over pods ready that begin it.
        most_up: greatest factor up, at least one pod more.
        most_down: greatest factor down.

    Returns:
        The pods wanted, and panic mode from now on.
    """
    pods = max(1, ready)
    most, fewest = math.ceil(most_up * pods), math.floor(pods / most_down)
    by_stable, by_panic = math.ceil(stable / target), math.ceil(panic / target)
    wanted = min(max(by_stable, fewest), most)
    if by_panic / pods >= threshold:
        state = Panic(t_s, state.most)
    elif state.since_s is not None and state.since_s + stable_window_s < t_s:
        state = Panic()
    if state.since_s is None:
        return wanted, state
    state = Panic(state.since_s, max(wanted, min(max(by_panic, fewest), most), state.most))
    return state.most, state


def delayed(wanted: int, earlier: Iterable[tuple[float, int]], t_s: float, delay_s: float) -> int:
    """The most pods wanted in the last `delay_s` seconds, so that fewer come late; `earlier` holds (time, pods)."""
    return max([wanted, *(pods for at_s, pods in earlier if at_s > t_s - delay_s)])
