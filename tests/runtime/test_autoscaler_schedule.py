"""Limits by the clock: which hold when, what wins, and that a floor and a pin are decided on."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from autoscaling import autoscaler, journaled, run
from simulated_service import FakeClock
from test_autoscaler_process import Steady

from baselines.static import Static
from envs.scenario_file import load
from runtime.actuators.dry_run import DryRun
from runtime.autoscaler.limits_file import read_limits
from runtime.deployment_json import from_json

SCENARIO = load("live-demo")
BERLIN = ZoneInfo("Europe/Berlin")
FILE = """
max_levels: [2, 2, 2]
timezone: Europe/Berlin
schedule:
  - {days: [mon, tue, wed, thu, fri], from: "08:00", to: 18:00, min_levels: [1, 0, 0]}
  - {days: [sat], from: "22:00", to: "02:00", levels: [0, 1, 0]}
  - {days: [fri], from: "12:00", to: "13:00", min_levels: [2, 0, 0]}
"""


@pytest.fixture
def limits(tmp_path):
    def read(text=FILE):
        (tmp_path / "limits.yaml").write_text(text)
        return read_limits(tmp_path / "limits.yaml", SCENARIO)

    return read


def local(day, clock):
    """Unix time of a day of November 2026 in Berlin; the second is a Monday."""
    return datetime(2026, 11, day, *map(int, clock.split(":")), tzinfo=BERLIN).timestamp()


@pytest.mark.parametrize("day, clock, low, high", [
    (2, "07:59", None, (2, 2, 2)),
    (2, "08:00", (1, 0, 0), (2, 2, 2)),
    (2, "17:59", (1, 0, 0), (2, 2, 2)),
    (2, "18:00", None, (2, 2, 2)),
    (6, "12:30", (2, 0, 0), (2, 2, 2)),  # the later one in the file
    (7, "12:30", None, (2, 2, 2)),
    (7, "22:00", (0, 1, 0), (0, 1, 0)),
    (8, "01:59", (0, 1, 0), (0, 1, 0)),  # into Sunday
    (8, "02:00", None, (2, 2, 2)),
    (8, "22:30", None, (2, 2, 2)),
])
def test_what_holds_when(limits, day, clock, low, high):
    found = limits().at(local(day, clock))
    assert (found.min_levels, found.max_levels) == (low, high)


def test_hours_are_the_clock_s_in_summer_and_winter(limits):
    """Each minute of the two days on which Berlin's clocks change: 08:00 to 18:00 by the clock on the wall."""
    text = 'timezone: Europe/Berlin\nschedule: [{from: "08:00", to: "18:00", min_levels: [1, 0, 0]}]'
    scheduled = limits(text)
    for day in (datetime(2026, 3, 29, tzinfo=BERLIN), datetime(2026, 10, 25, tzinfo=BERLIN)):
        hours = [datetime.fromtimestamp(day.timestamp() + s, BERLIN) for s in range(0, 25 * 3600, 600)]
        for hour in hours:
            assert (scheduled.at(hour.timestamp()).min_levels is not None) == (8 <= hour.hour < 18), hour


def test_without_a_schedule_nothing_hangs_on_the_time(limits):
    plain = limits("max_rise: 1")
    assert plain.at(0.0) == plain.at(timedelta(days=3, hours=5).total_seconds())
    assert plain.at(0.0).max_rise == 1


@pytest.mark.parametrize("text, told", [
    ('schedule: [{from: "08:00", to: "18:00"}]', "give min_levels or max_levels, or levels"),
    ('schedule: [{from: "08:00", to: "18:00", levels: [0, 0, 0], min_levels: [0, 0, 0]}]', "or levels"),
    ('schedule: [{from: "08:00", to: "08:00", levels: [0, 0, 0]}]', "it ends when it begins"),
    ('schedule: [{from: "25:00", to: "08:00", levels: [0, 0, 0]}]', "schedule: 0: from: Input should be less than"),
    ('schedule: [{from: noon, to: "08:00", levels: [0, 0, 0]}]', "give a time of day, HH:MM"),
    ('schedule: [{days: [someday], from: "07:00", to: "08:00", levels: [0, 0, 0]}]', "schedule: 0: days: 0"),
    ('schedule: [{from: "07:00", to: "08:00", levels: [0]}]', "give 3 levels"),
    ('max_levels: [1, 1, 1]\nschedule: [{from: "07:00", to: "08:00", min_levels: [2, 0, 0]}]', "2 is above max_levels 1"),
    ("timezone: Europe/Nowhere", "timezone: "),
])
def test_a_wrong_schedule_is_refused(limits, text, told):
    with pytest.raises(ValueError, match=r"limits\.yaml: ") as caught:
        limits(text)
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_a_floor_and_a_pin_are_decided_on_whatever_the_policy_wants(limits, tmp_path):
    at_s = 7 * 3600.0 + 59 * 60  # of a Thursday, in UTC
    interval_s = SCENARIO.interval_s
    scheduled = limits('schedule: [{from: "08:00", to: "08:01", levels: [2, 0, 0]}]')
    clock = FakeClock(at_s, last_s=at_s + 180.0)
    run(autoscaler(SCENARIO, Static(), Steady(), DryRun(SCENARIO.initial_deployment), tmp_path / "journal", clock,
                   limits=scheduled))
    wanted = {record["t_s"]: SCENARIO.levels(from_json(record["deployment"])) for record in journaled(tmp_path / "journal")}
    pinned = {t_s for t_s, levels in wanted.items() if levels == (2, 0, 0)}
    assert pinned == {t_s for t_s in wanted if 8 * 3600 <= t_s < 8 * 3600 + 60} and len(pinned) == round(60 / interval_s)
