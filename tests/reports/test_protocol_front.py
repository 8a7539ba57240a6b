"""Planners in turns, on small cases solved by hand."""

import pytest

from reports.protocol_front import turns

CHEAP, DEAR = (0.1, 0.9 * 0.7, 0.2), (0.0, 0.7, 1.0)  # violations, accuracy over all requests, cost


def test_cost_is_shared_out_between_a_cheap_planner_and_a_dear_one():
    assert turns([CHEAP, DEAR], (0.02, 0.98 * 0.7, 0.6)) == pytest.approx([0.5, 0.5])


def test_accuracy_is_that_of_the_answers():
    """A share w of the accurate planner: (0.72 w + 0.6 (1 - w)) / (1 - 0.1 w) = 0.7, so w = 10 / 19."""
    accurate, coarse = (0.1, 0.9 * 0.8, 0.5), (0.0, 0.6, 0.5)
    assert turns([accurate, coarse], (0.5, 0.5 * 0.7, 0.5)) == pytest.approx([10 / 19, 9 / 19])


def test_a_planner_gets_where_it_is_itself_and_nobody_where_none_is():
    assert turns([CHEAP, DEAR], DEAR) == pytest.approx([0.0, 1.0], abs=1e-6)
    assert turns([CHEAP, DEAR], (0.0, 0.7, 0.1)) is None and turns([CHEAP, DEAR], (0.0, 0.8, 1.0)) is None
    assert turns([], DEAR) is None
