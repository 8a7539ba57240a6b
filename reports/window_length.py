"""How long a window is that is played: what `evaluate.py` was asked for, in intervals of the scenario."""

from __future__ import annotations

import argparse

from envs.scenario import Scenario


def intervals_of(arguments: argparse.Namespace, scenario: Scenario) -> int:
    """Length of a window, as asked in intervals or hours, or the scenario's episode.

    Raises:
        ValueError: less than one interval.
    """
    if arguments.intervals:
        return int(arguments.intervals)
    if arguments.hours is None:
        return scenario.episode_intervals
    if round(arguments.hours * 3600 / scenario.interval_s) < 1:
        raise ValueError(f"--hours {arguments.hours:g} is less than one interval of {scenario.interval_s:g} s")
    return round(arguments.hours * 3600 / scenario.interval_s)
