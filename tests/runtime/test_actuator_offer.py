"""What is offered as a gauge: nothing before a decision, nothing that nobody stands by."""

import pytest
from offering import SILENCE_S, Decider

from envs.contract import Deployment
from envs.scenario_file import load


@pytest.fixture
def decider():
    return Decider()


def test_before_the_first_decision_there_is_no_series_and_no_zero(decider):
    assert decider.gauge == [None, None]
    decider.decides(2, 0)
    assert decider.gauge == [2, 0]


def test_the_last_good_number_stays_until_nobody_stands_by_it(decider):
    decider.decides(3, 1)
    decider.waits(SILENCE_S)
    assert decider.gauge == [3, 1]
    decider.waits(1.0)
    assert decider.gauge == [None, None]
    decider.decides(3, 1)
    assert decider.gauge == [3, 1]


def test_advice_is_not_offered(decider):
    decider.decides(3, 1, mode="advisory")
    assert decider.gauge == [None, None]


def test_what_nobody_scales_is_refused(decider):
    other = load("live-demo").kinds[2]
    found = decider.offer.apply(Deployment({other: 1}), decider.offer.current().version, "j/1")
    assert found.status == "refused" and str(other) in found.detail
