"""The HPA's rules against rows worked by hand from Kubernetes' documentation and the controller's source."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines.hpa_rules import (
    DEFAULT_DOWN,
    DEFAULT_UP,
    Recommendation,
    ScaleEvent,
    ScalingPolicy,
    ScalingRules,
    desired_replicas,
    limited,
    scale_down_limit,
    scale_up_limit,
    stabilised,
)


@pytest.mark.parametrize(
    ("current", "values", "target", "more", "expected"),
    [
        # Documentation: 200m of 100m doubles, 50m of 100m halves.
        (3, [200.0] * 3, 100, {}, 6),
        (4, [50.0] * 4, 100, {}, 2),
        # Tolerance 0.1: ratios of 0.9 to 1.1 change nothing.
        (10, [0.88] * 10, 0.8, {}, 10),
        (10, [0.72] * 10, 0.8, {}, 10),
        (10, [0.90] * 10, 0.8, {}, 12),  # ratio 1.125: ceil(11.25)
        (10, [0.71] * 10, 0.8, {}, 9),  # ratio 0.8875: ceil(8.875)
        (10, [0.82] * 10, 0.8, {"up": ScalingRules((), 0, tolerance=0.01)}, 11),  # its own tolerance: ceil(10.25)
        (10, [0.78] * 10, 0.8, {"up": ScalingRules((), 0, tolerance=0.01)}, 10),  # the other direction keeps 0.1
        # No hair's breadth: 0.3 / 0.1 is 2.9999999999999996, 0.6 / 0.2 is 2.9999999999999996 in binary.
        (1, [0.3], 0.1, {}, 3),
        # The mean over pods: (1.0 + 0.2) / 2 = 0.6 of 0.5 = 1.2, ceil(2.4).
        (2, [1.0, 0.2], 0.5, {}, 3),
        # Missing on the way up count 0: mean of 3 x 1.0 and one 0 = 0.75, ratio 1.5, ceil(6) (without: ratio 2, 8).
        (4, [1.0] * 3, 0.5, {"missing": 1}, 6),
        # Missing on the way down count the target: mean of 0.2 0.2 0.5 0.5 = 0.35, ratio 0.7, ceil(2.8).
        (4, [0.2] * 2, 0.5, {"missing": 2}, 3),
        # ... or the whole request, as for CPU: mean of 0.2 0.2 1 1 = 0.6 turns the direction round: unchanged.
        (4, [0.2] * 2, 0.5, {"missing": 2, "missing_value": 1.0}, 4),
        # Missing pods bring the ratio within the tolerance: (3 x 0.7 + 0) / 4 = 0.525 of 0.5 = 1.05.
        (4, [0.7] * 3, 0.5, {"missing": 1}, 4),
        # Unready on the way up count 0: 2 ready at 1.0, 2 unready: mean 0.5, ratio 1: unchanged.
        (4, [1.0] * 2, 0.5, {"unready": 2}, 4),
        # Unready on the way up, still short: 3 at 1.0 and 1 unready: ratio 1.5 over 4: 6.
        (4, [1.0] * 3, 0.5, {"unready": 1}, 6),
        # Unready on the way down do not count: ratio 0.4 over the 5 ready: 2.
        (8, [0.2] * 5, 0.5, {"unready": 3}, 2),
        # The controller counts ready pods, not asked for: ratio 0.8 of 5 ready = 4.
        (6, [0.4] * 5, 0.5, {}, 4),
        # ... even where that makes a ratio above 1 fewer pods: ceil(1.2 x 4).
        (6, [0.8, 0.8, 0.8, 0.0], 0.5, {}, 5),
        # With missing pods that is a turn of direction: (3 x 0.9 + 0) / 4 of 0.5 = 1.35, ceil(5.4) < 8: unchanged.
        (8, [0.9, 0.9, 0.9], 0.5, {"missing": 1}, 8),
        (3, [0.0] * 3, 0.5, {}, 0),  # the bounds come later
    ],
)
def test_desired_replicas(current, values, target, more, expected):
    assert desired_replicas(current, values, target, **more) == expected


def test_without_any_metric_there_is_no_recommendation():
    with pytest.raises(ValueError, match="no ready pod"):
        desired_replicas(3, [], 0.5, missing=3)


def recommendations(*rows):
    return [Recommendation(t_s, n) for t_s, n in rows]


WINDOWS = {"up": ScalingRules((), 60), "down": ScalingRules((), 300)}


@pytest.mark.parametrize(
    ("current", "desired", "before", "expected"),
    [
        (10, 4, [(0, 10)], 10),  # the 10 of 299 s ago is inside 300 s
        (10, 4, [(-1, 10)], 4),  # 300 s ago is outside
        (10, 4, [(-1, 10), (100, 7), (200, 5)], 7),  # the highest inside
        (10, 12, [(200, 5)], 12),  # outside the 60 s up
        (10, 12, [(250, 11)], 11),  # up at most to the lowest inside
        (10, 12, [(250, 8)], 10),  # a dip inside 60 s: stays
        (10, 10, [(250, 4), (260, 16)], 10),
        (10, 4, [], 4),
    ],
)
def test_stabilisation_windows(current, desired, before, expected):
    assert stabilised(current, desired, recommendations(*before), 299, **WINDOWS) == expected


def test_default_windows_are_none_up_and_five_minutes_down():
    past = recommendations((0, 5), (10, 20))
    assert stabilised(10, 30, past, 15) == 30
    assert stabilised(10, 2, past, 15) == 10
    assert stabilised(30, 2, past, 15) == 20
    assert (DEFAULT_UP.window_s, DEFAULT_DOWN.window_s) == (0, 300)


def test_documented_scale_down_of_eighty_replicas():
    """4 pods or 10 % a minute, the greater: from 80 by 8, from 72 by 8 (7.2 rounded up), ...; below 40 four at a time."""
    rules = ScalingRules((ScalingPolicy("pods", 4, 60), ScalingPolicy("percent", 10, 60)), window_s=0)
    current, events, track = 80, [], [80]
    for minute in range(14):
        fewer = limited(current, 10, events, 60.0 * minute, 1, 100, down=rules)
        events.append(ScaleEvent(60.0 * minute, fewer - current))
        current = fewer
        track.append(current)
    # By hand: trunc(80 x 0.9) = 72, trunc(64.8) = 64, 57, 51, 45, 40, 36 (both), then 32, 28, ... 12, 10.
    assert track == [80, 72, 64, 57, 51, 45, 40, 36, 32, 28, 24, 20, 16, 12, 10]


def policies(*rows, select="max"):
    return ScalingRules(tuple(ScalingPolicy(*row) for row in rows), 0, select)


def events(*rows):
    return [ScaleEvent(t_s, change) for t_s, change in rows]


@pytest.mark.parametrize(
    ("current", "past", "rules", "expected"),
    [
        (1, [], DEFAULT_UP, 5),  # + 4 pods
        (10, [], DEFAULT_UP, 20),  # + 100 %
        (20, [(90, 10)], DEFAULT_UP, 20),  # 10 at the start of the period: 20 is all
        (20, [(85, 10)], DEFAULT_UP, 40),  # 15 s ago is outside
        (18, [(90, 10), (95, -2)], DEFAULT_UP, 20),  # start = 18 - 10 + 2
        (10, [], policies(("pods", 4, 15), ("percent", 100, 15), select="min"), 14),
        (10, [], policies(("pods", 4, 15), select="disabled"), 10),
        (10, [], policies(("percent", 15, 15)), 12),  # ceil(11.5)
        (100, [], policies(("percent", 10, 15)), 110),  # 100 x 1.1 is 110.00000000000001 in binary
        (30, [(50, 5), (95, 9)], policies(("pods", 2, 15), ("pods", 20, 60)), 36),  # max of 21 + 2, 16 + 20
        (30, [(95, 20)], policies(("pods", 4, 15)), 30),  # never below the current number
    ],
)
def test_scale_up_limit(current, past, rules, expected):
    assert scale_up_limit(current, events(*past), 100, rules) == expected


@pytest.mark.parametrize(
    ("current", "past", "rules", "expected"),
    [
        (10, [], DEFAULT_DOWN, 0),  # - 100 %
        (80, [], policies(("pods", 4, 60), ("percent", 10, 60)), 72),
        (80, [], policies(("pods", 4, 60), ("percent", 10, 60), select="min"), 76),
        (36, [], policies(("pods", 4, 60), ("percent", 10, 60)), 32),
        (76, [(80, -4)], policies(("pods", 4, 60)), 76),
        (78, [(80, -4), (90, 2)], policies(("pods", 4, 60)), 76),  # start = 78 + 4 - 2
        (10, [], policies(("pods", 4, 60), select="disabled"), 10),
    ],
)
def test_scale_down_limit(current, past, rules, expected):
    assert scale_down_limit(current, events(*past), 100, rules) == expected


def test_bounds_come_with_the_limits():
    assert limited(5, 50, [], 0, 1, 8) == 8
    assert limited(5, 0, [], 0, 2, 8) == 2
    assert limited(5, 5, [], 0, 6, 8) == 5  # no change asked for


@given(st.integers(0, 50), st.integers(0, 50), st.lists(st.integers(0, 50), max_size=6), st.integers(1, 30))
def test_a_stable_recommendation_lies_between_current_and_desired(current, desired, past, gap_s):
    rows = recommendations(*((100 - gap_s * (i + 1), n) for i, n in enumerate(past)))
    stable = stabilised(current, desired, rows, 100, **WINDOWS)
    assert min(current, desired) <= stable <= max(current, desired, *[r.replicas for r in rows])
    if not past:
        assert stable == desired


@given(st.lists(st.integers(-5, 5), max_size=6), st.integers(10, 60), st.integers(0, 90))
def test_limits_never_turn_the_direction(changes, current, wanted):
    past = events(*((10.0 * i, c) for i, c in enumerate(changes) if c))
    given_now = limited(current, wanted, past, 50.0, 1, 80)
    assert min(current, wanted, 80) <= given_now <= max(current, wanted, 1)
