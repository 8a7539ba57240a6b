"""The decision core, as a table: what is seen, what is wanted, what happens, what bound it."""

import math
from dataclasses import replace

import pytest

from envs.contract import Decision
from envs.envelope import Change, Limits
from envs.observation import missing_observation
from envs.scenario_file import load
from runtime.autoscaler.decision import decide

SCENARIO = load("live-demo")  # small, medium, large: one core each, at most two of each, two cores
HERE = (0, 0, 1)
NAN = math.nan


def seen(levels=HERE, age_s=1.0, rps=20.0, violation_ratio=0.0, t_s=100.0):
    nothing = missing_observation(SCENARIO, SCENARIO.kinds, SCENARIO.deployment(levels), t_s)
    application = replace(nothing.applications["classify"], violation_ratio=violation_ratio, offered_rps=rps)
    service = replace(nothing.services["classify"], offered_rps=rps)
    return replace(nothing, age_s=age_s, services={"classify": service}, applications={"classify": application})


PANIC = Limits(panic_violation_ratio=0.2)
CHANGED = (Change(95.0, SCENARIO.deployment((0, 0, 2))),)  # 2 -> 1 of large, 5 s ago


@pytest.mark.parametrize("observation, wanted, limits, history, now_s, done, bound", [
    # nothing in the way
    (seen(), (0, 2, 0), Limits(), (), 100, (0, 2, 0), ""),
    (seen(), HERE, Limits(), (), 100, HERE, ""),
    (seen(rps=0.0), (1, 0, 0), Limits(), (), 100, (1, 0, 0), ""),  # no load is not missing
    # missing and stale: hold
    (seen(age_s=NAN), (2, 0, 0), Limits(), (), 100, HERE, "held: no observation"),
    (seen(rps=NAN), (2, 0, 0), Limits(), (), 100, HERE, "held: offered load of classify is missing"),
    (seen(age_s=6.0), (2, 0, 0), Limits(), (), 100, HERE, "held: observation is 6 s old"),
    (seen(age_s=6.0), (2, 0, 0), Limits(max_age_s=10), (), 100, (2, 0, 0), ""),
    (seen(age_s=1.0), (2, 0, 0), Limits(), (), 104.0, (2, 0, 0), ""),
    (seen(age_s=1.0), (2, 0, 0), Limits(), (), 104.5, HERE, "held: observation is 5.5 s old"),  # it aged meanwhile
    (seen(age_s=1.0), (2, 0, 0), Limits(), (), 90.0, (2, 0, 0), ""),  # a clock that goes back makes nothing younger
    # budget
    (seen(), (2, 1, 1), Limits(), (), 100, (2, 0, 0), "1 x medium @1c dropped"),  # small carries most per core
    # bounds
    (seen(), (0, 0, 2), Limits(max_levels=(2, 2, 1)), (), 100, HERE, "large: level 2 -> 1, in force 1"),
    (seen(), (0, 1, 0), Limits(min_levels=(0, 0, 1)), (), 100, (0, 1, 1), "large: level 0 -> 1, in force 1"),
    # change per window
    (seen((0, 0, 0)), (2, 0, 0), Limits(max_rise=1), (), 100, (1, 0, 0), "small: level 2 -> 1, in force 0"),
    (seen((0, 0, 2)), (0, 0, 0), Limits(max_fall=1), (), 100, (0, 0, 1), "large: level 0 -> 1, in force 2"),
    (seen(), (0, 0, 0), Limits(max_fall=1, change_window_s=30), CHANGED, 100, HERE, "large: level 0 -> 1, in force 1"),
    (seen(), (0, 0, 0), Limits(max_fall=1, change_window_s=5), CHANGED, 100, (0, 0, 0), ""),
    # cool-down
    (seen(), (0, 0, 2), Limits(rise_cooldown_s=10), CHANGED, 100, HERE, "large: level 2 -> 1, in force 1"),
    (seen(), (0, 0, 2), Limits(rise_cooldown_s=5), CHANGED, 100, (0, 0, 2), ""),
    (seen(), (0, 0, 0), Limits(fall_cooldown_s=10), CHANGED, 100, HERE, "large: level 0 -> 1, in force 1"),
    # panic floor: two of large carry twice what one does; one of small carries more than both (see the profile)
    (seen((0, 0, 2), violation_ratio=0.3), (0, 0, 1), PANIC, (), 100, (0, 0, 2), "panic: classify"),
    (seen((0, 0, 2), violation_ratio=0.1), (0, 0, 1), PANIC, (), 100, (0, 0, 1), ""),
    (seen((0, 0, 2), violation_ratio=0.3), (2, 0, 0), PANIC, (), 100, (2, 0, 0), ""),
    (seen((0, 0, 2), violation_ratio=NAN), (0, 0, 1), PANIC, (), 100, (0, 0, 1), ""),
])
def test_what_is_done_and_what_bound_it(observation, wanted, limits, history, now_s, done, bound):
    proposal = Decision(SCENARIO.deployment(wanted), "wanted", {"n": 1.0})
    verdict = decide(observation, proposal, history, limits, SCENARIO, now_s)
    assert SCENARIO.levels(verdict.decision.deployment) == done
    assert verdict.acts == (SCENARIO.deployment(done) != observation.deployment)
    assert (verdict.decision.reason, verdict.decision.details) == ("wanted", {"n": 1.0})
    assert any(note.startswith(bound) for note in verdict.bounds) if bound else verdict.bounds == ()


def test_deciding_changes_nothing_that_was_passed_in():
    observation, history = seen((0, 0, 2), violation_ratio=0.3), CHANGED
    before = repr((observation, history))
    decide(observation, Decision(SCENARIO.deployment((2, 0, 0)), ""), history, PANIC, SCENARIO, 100)
    assert repr((observation, history)) == before
