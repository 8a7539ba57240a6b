"""Each invariant, on a small history that keeps it, and on others that break it in one place."""

from dataclasses import replace

import pytest

from envs.scenario_file import load
from runtime.chaos import clients, problem
from runtime.chaos.history import Asked, Begun, Held, History, Intent, Look, Try, Version
from runtime.chaos.invariants import broken


@pytest.fixture(scope="module")
def scenario(tmp_path_factory):
    return load(problem.write(tmp_path_factory.mktemp("chaos"), workers=True).path)


GOOD = Try(0.0, 0.1, 200, right=True)
AGAIN = Try(0.0, 0.1, 503, told="no replica")
NONE = Try(0.0, 4.0, 0, 0, told="TimeoutError")


@pytest.fixture
def history(scenario):
    """A good one: a request sent again, a worker lost with a request, a scale-out, a decision that was in conflict."""
    one, two, four = (scenario.deployment(levels) for levels in ((1, 0), (2, 0), (4, 2)))
    return History(
        scenario, problem.LIMITS,
        asked=[Asked(1, 0.0, (GOOD,)), Asked(2, 0.0, (NONE, AGAIN, GOOD)), Asked(3, 0.0, (AGAIN,))],
        looks=[look(1.0, held(0)), look(1.1, held(0), held(1, "pending")), look(1.2, held(1, processes=((9, 90),)))],
        versions=[Version(1, one), Version(2, two, "j/2"), Version(3, four, "j/8")],
        intents=[Intent("j/2", 1.0, one, two, "applied"), Intent("j/3", 1.5, two, one, "conflict"),
                 Intent("j/8", 4.0, two, four, "applied")],
        advised=frozenset({"a/2"}),
        begun=[Begun(7, 0.0, (1, 2)), Begun(8, 0.5, (2,)), Begun(8, 0.6, (2,)), Begun(8, 0.7, (2,))],
    )


def held(number, state="ready", started_s=0.0, units=1, candidate=0, processes=()):
    return Held(number, state, started_s, units, candidate, processes)


def look(at_s, *replicas):
    return Look(at_s, replicas)


def test_a_good_history_breaks_nothing(history):
    assert broken(history) == []


def names(history):
    return {text.partition(":")[0] for text in broken(history)}


ASKED = {
    "lost": (NONE, NONE),
    "answered twice": (replace(GOOD, answers=2),),
    "answered again": (GOOD, GOOD),
    "another's answer": (replace(GOOD, right=False, told="id 7"),),
    "no reason": (replace(AGAIN, told=""),),
}


@pytest.mark.parametrize("tries", ASKED.values(), ids=ASKED)
def test_an_answer_too_many_too_few_or_of_another(history, tries):
    history.asked = [*history.asked, Asked(9, 0.0, tries)]
    assert names(history) == {"answered or refused"}


BEGUN = {
    "twice by the one that lives": [Begun(7, 0.0, (1,)), Begun(7, 0.5, (1,))],
    "by two that both live": [Begun(7, 0.0, (1,)), Begun(8, 0.5, (1,)), Begun(7, 0.6, (3,))],
    "never asked": [Begun(7, 0.0, (77,))],
    "back at the first": [Begun(7, 0.0, (1,)), Begun(8, 0.5, (1,)), Begun(7, 0.6, (1,))],
}


@pytest.mark.parametrize("begun", BEGUN.values(), ids=BEGUN)
def test_executed_once_too_often(history, begun):
    history.begun = begun
    assert names(history) == {"executed once"}


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_each_worker_that_is_lost_with_a_request_excuses_one_more_time(history, lost):
    history.begun = [Begun(pid, 0.1 * pid, (1,)) for pid in range(lost + 1)]
    assert names(history) == set()


def test_over_the_budget_or_below_the_floor(history, scenario):
    for levels in ((5, 4), (0, 1)):
        history.versions = [Version(1, replace_first(scenario, levels))]
        history.intents = ()
        assert names(history) == {"within bounds"}


def replace_first(scenario, levels):
    """A deployment whose counts may be what no action says."""
    kinds = [candidate.kinds[0] for candidate in scenario.candidates]
    return replace(scenario.initial_deployment, replicas={kind: n for kind, n in zip(kinds, levels) if n})


def test_more_units_than_budgets_that_overlap(history):
    history.looks = [look(1.0, *(held(n) for n in range(16)))]
    assert names(history) == set()
    history.looks = [look(1.0, *(held(n) for n in range(17)))]
    assert names(history) == {"nothing runs away"}


@pytest.mark.parametrize("state", ["failed", "draining"])
def test_below_the_floor_for_longer_than_a_moment(history, state):
    history.looks = [look(1.0), look(1.1, held(0, state)), look(1.2, held(1, "pending"))] * 3
    assert names(history) == set()
    history.looks = [look(1.0), look(1.1, held(0, state)), look(1.2, held(0, state))]
    assert names(history) == {"nothing runs away"}
    history.looks = [replace(one, serving=False) for one in history.looks]
    assert names(history) == set()


@pytest.mark.parametrize("levels, within, alone", [
    ((4, 0), False, True), ((3, 0), True, True), ((2, 2), True, True), ((2, 3), False, False), ((1, 0), True, True)])
def test_more_change_in_a_window_than_the_operator_allows(history, scenario, levels, within, alone):
    """From one of the first and none of the second, over two in between, two more may come; without a window from there."""
    one, two, wanted = (scenario.deployment(said) for said in ((1, 0), (2, 0), levels))
    history.versions = [Version(1, one), Version(2, two, "j/2"), Version(3, wanted, "j/4")]
    history.intents = [Intent("j/2", 1.0, one, two), Intent("j/4", 2.0, two, wanted)]
    assert names(history) == (set() if within else {"changes per window"})
    history.intents[1] = replace(history.intents[1], t_s=10.0)
    assert names(history) == (set() if alone else {"changes per window"})


def test_falling_too_far(history, scenario):
    four, two, one = (scenario.deployment((n, 0)) for n in (4, 2, 1))
    history.versions = [Version(1, four), Version(2, two, "j/2"), Version(3, one, "j/4")]
    history.intents = [Intent("j/2", 1.0, four, two), Intent("j/4", 2.0, two, one)]
    assert names(history) == {"changes per window"}


@pytest.mark.parametrize("by_hand, wanted, within", [(3, (2, 3), True), (4, (1, 3), True), (3, (1, 4), False)])
def test_what_an_operator_has_raised_may_stay_or_fall_but_not_go_further(history, scenario, by_hand, wanted, within):
    """The autoscaler makes two of none, somebody more of them by hand."""
    none, two, more, wanted = (scenario.deployment(said) for said in ((1, 0), (1, 2), (1, by_hand), wanted))
    history.versions = [Version(1, none), Version(2, two, "j/2"), Version(3, more), Version(4, wanted, "j/4")]
    history.intents = [Intent("j/2", 1.0, none, two), Intent("j/4", 2.0, more, wanted)]
    assert names(history) == (set() if within else {"changes per window"})


def test_decisions_that_are_done_twice_unjournaled_or_not_done(history):
    good = list(history.versions)
    history.versions = [*good, Version(4, good[1].deployment, "j/2")]
    assert names(history) == {"decided once"}
    history.versions = [*good, Version(3, good[1].deployment, "j/3")]  # that number has been another's
    assert names(history) == {"decided once"}
    history.versions = [*good, Version(4, good[1].deployment, "j/99")]
    assert names(history) == {"decided once"}
    history.journal_whole = False
    assert names(history) == set()
    history.versions, history.journal_whole = [*good, Version(4, good[1].deployment, "j/claim-00")], True
    assert names(history) == set()
    history.versions = good[:2]
    assert names(history) == {"decided once"}


@pytest.mark.parametrize("second", [held(0, started_s=1.0), held(1, processes=((9, 90),))], ids=["number", "process"])
def test_two_of_one_identity(history, second):
    history.looks = [look(1.0, held(0, processes=((9, 90),))), look(1.1, second)]
    assert names(history) == {"one identity"}
    history.looks = [look(1.0, held(0, processes=((9, 90),))), look(1.1, held(1, processes=((9, 91),)))]  # that pid again
    assert names(history) == set()


def test_advice_that_is_acted_on(history, scenario):
    history.versions = [*history.versions, Version(4, scenario.initial_deployment, "a/2")]
    history.journal_whole = False
    assert names(history) == {"advice is not acted on"}


def test_what_does_not_come_to_be_and_what_does_not_go(history):
    for change in ({"settled": False}, {"left": ("tidal serve",)}):
        assert names(replace(history, **change)) == {"all is well in the end"}


@pytest.mark.parametrize("said, status, answers, right", [
    (b'HTTP/1.1 200 OK\r\n\r\n{"id": "7", "outputs": [{"data": [7.0]}]}', 200, 1, True),
    (b'HTTP/1.1 200 OK\r\n\r\n{"id": "8", "outputs": [{"data": [7.0]}]}', 200, 1, False),
    (b'HTTP/1.1 200 OK\r\n\r\n{"id": "7", "outputs": [{"data": [8.0]}]}', 200, 1, False),
    (b'HTTP/1.1 200 OK\r\n\r\n{"id": "7", "outp', 0, 1, False),
    (b'HTTP/1.1 503 Service Unavailable\r\n\r\n{"error": "shed"}', 503, 1, False),
    (b'HTTP/1.1 200 OK\r\n\r\n{}HTTP/1.1 200 OK\r\n\r\n{}', 0, 2, False),
    (b"", 0, 0, False),
])
def test_what_clients_make_of_the_bytes_that_come_back(said, status, answers, right):
    found = clients.judged(7, 0.0, 1.0, said)
    assert (found.status, found.answers, found.right) == (status, answers, right)
    assert bool(found.told) != right
    asked = [Asked(7, 0.5, (found,))]
    assert clients.from_json(clients.to_json(asked)) == asked
