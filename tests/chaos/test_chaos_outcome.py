"""What became of a fault, on small histories: when it was noticed, when what was planned was back, and who stood still."""

import pytest

from envs.scenario_file import load
from runtime.chaos import problem
from runtime.chaos.faults import Fault
from runtime.chaos.history import Held, History, Look
from runtime.chaos.outcome import Met, outcome


@pytest.fixture(scope="module")
def scenario(tmp_path_factory):
    return load(problem.write(tmp_path_factory.mktemp("chaos"), workers=True).path)


def met(name, at_s, for_s=0.0, whom="replica 1"):
    return Met(Fault(0.0, name, for_s, 0.0), at_s, whom)


def look(at_s, wanted, *ready, serving=True):
    return Look(at_s, tuple(Held(number, "ready", 0.0, 1, candidate) for number, candidate in ready), serving, wanted)


def event(t_s, what, replica):
    return {"t_s": t_s, "what": what, "replica": replica}


LOOKS = [look(0.0, (2, 0), (0, 0), (1, 0)), look(11.0, (2, 0), (0, 0)),
         look(12.0, (2, 1), (0, 0), serving=False), look(14.0, (2, 1), (0, 0), (2, 0), serving=False),
         look(15.0, (2, 1), (0, 0), (2, 0)), look(16.0, (2, 1), (0, 0), (2, 0))]


def test_capacity_is_back_when_as_many_as_are_wanted_are_ready_while_somebody_serves(scenario):
    history = History(scenario, problem.LIMITS, looks=LOOKS)
    found = outcome(met("worker killed", 10.0), [], history, [event(10.25, "failed", 0), event(10.5, "failed", 1)], [])
    assert (found["noticed_s"], found["back_s"]) == (0.5, 5.0)  # at 15; the other candidate has nothing to do with it
    assert (found["noticed_net_s"], found["back_net_s"]) == (0.5, 2.0)  # from 12 to 15 nobody served


@pytest.mark.parametrize("then", [look(11.5, (1, 0), (0, 0)), look(11.5, (4, 0), (0, 0), (2, 0))], ids=["less", "more"])
def test_it_is_back_too_when_less_is_wanted_or_more(scenario, then):
    history = History(scenario, problem.LIMITS, looks=[LOOKS[0], LOOKS[1], then])
    assert outcome(met("worker hung", 10.0), [], history, [event(10.5, "failed", 1)], [])["back_s"] == 1.5


def test_a_node_is_noticed_with_the_last_replica_that_was_on_it(scenario):
    history = History(scenario, problem.LIMITS, looks=[look(0.0, (2, 1), (1, 0), (2, 1)), look(20.0, (2, 1), (3, 0), (4, 0)),
                                                       look(30.0, (2, 1), (3, 0), (4, 0), (5, 1))])
    failed = [event(10.1, "failed", 1), event(11.0, "failed", 2)]
    found = outcome(met("Ray node killed", 10.0, whom="ray node 2, replica 1, replica 2"), [], history, failed, [])
    assert (found["noticed_s"], found["back_s"]) == (1.0, 20.0)


def test_the_time_in_which_the_watcher_was_stopped_is_left_out_of_the_net(scenario):
    """Four fifths of 10.5 to 11, and all from 11 on."""
    history = History(scenario, problem.LIMITS, looks=LOOKS[:2])
    others = [met("cluster starved of CPU", 10.5, 0.5, ""), met("cluster hung", 11.0, 2.0, ""), met("worker killed", 10.6)]
    found = outcome(met("worker hung", 10.0), others, history, [event(11.25, "failed", 1)], [])
    assert found["noticed_s"] == 1.25
    assert found["noticed_net_s"] == pytest.approx(1.25 - 0.8 * 0.5 - 0.25)


def test_capacity_is_counted_from_the_last_fault_that_kept_it_away_and_by_its_own_load_time(scenario):
    """Replica 1 is lost at 10; 2 begins to load at 10.5, is killed at 12; 3 loads from 12.5 to 16; 4, another's, until 15."""
    def at(at_s, *held, serving=True):
        return Look(at_s, tuple(Held(number, state, began_s, 1, candidate) for number, state, began_s, candidate in held),
                    serving, (1, 0))

    looks = [at(0.0, (1, "ready", 0.0, 0)), at(11.0, (2, "pending", 10.5, 0), (4, "pending", 10.5, 1)),
             at(12.5, (3, "pending", 12.5, 0), (4, "pending", 10.5, 1), serving=False),
             at(13.0, (3, "pending", 12.5, 0), (4, "pending", 10.5, 1)),
             at(15.0, (3, "pending", 12.5, 0), (4, "ready", 10.5, 1)),
             at(16.0, (3, "ready", 12.5, 0), (4, "ready", 10.5, 1))]
    history, failed = History(scenario, problem.LIMITS, looks=looks), [event(10.5, "failed", 1)]

    def found(*others):
        return outcome(met("worker killed", 10.0), others, history, failed, [])

    assert (found()["back_s"], found()["back_last_s"], found()["load_s"]) == (6.0, 3.0, 3.5)  # it serves again from 13 on
    assert found(met("loading worker killed", 12.0))["back_last_s"] == 3.0
    assert found(met("cluster's disk full", 12.0, 2.5))["back_last_s"] == 1.5
    assert found(met("cluster hung", 15.0, 2.0))["back_last_s"] == 3.0  # is not over before
    assert found(met("autoscaler hung", 12.0, 2.5))["back_last_s"] == 3.0  # keeps nothing away


def test_what_was_never_noticed_has_no_times(scenario):
    found = outcome(met("worker killed", 10.0), [], History(scenario, problem.LIMITS, looks=LOOKS), [], [])
    assert [found[f"{what}_s"] for what in ("noticed", "noticed_net", "back", "back_net", "back_last", "load")] == [None] * 6


def test_a_hang_that_is_over_is_not_taken_for_a_later_loss(scenario):
    history = History(scenario, problem.LIMITS, looks=LOOKS)
    failed = [event(12.5, "failed", 1)]
    assert outcome(met("Ray node hung", 10.0, 1.0), [], history, failed, [])["noticed_s"] is None
    assert outcome(met("Ray node hung", 10.0, 2.0), [], history, failed, [])["noticed_s"] == 2.5
