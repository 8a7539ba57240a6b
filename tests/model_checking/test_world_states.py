"""A world's state machine as it is, in all orders in which those who move it can come.

Who opens it, who leaves it, the control links that hear of a leave or a death, and an operation that fails, each are a few
steps; all interleavings of them are played.
"""

from math import factorial, prod

import pytest

from runtime.worlds.fate import Fate, InitFailed, Reason, State, WorldBroken, WorldClosed, WorldError

ORDER = [State.NEW, State.JOINING, State.UP, State.DRAINING]


def opens(fate):
    """`WorldManager._start`, and the thread that brings it up."""
    for state in (State.JOINING, State.UP):
        yield
        try:
            fate.advance(state)
        except WorldError:
            return


def leaves(fate):
    """`leaving.take_leave`."""
    yield
    if fate.state in (State.NEW, State.JOINING):
        fate.breaks(Reason.LEFT, 0, "we left")
        return
    yield
    try:
        fate.advance(State.DRAINING)
    except WorldError:
        return
    yield
    fate.closed()


def hears_of_a_leave(fate):
    """`leaving.answer_leave`."""
    yield
    fate.drains_for(1)
    yield
    if fate.left_by is not None:
        fate.breaks(Reason.LEFT, 1, fate.left_by.text)


def hears_of_a_death(fate):
    yield
    fate.breaks(Reason.PEER_DIED, 1, "gone")


def operation_fails(fate):
    yield
    if fate.state is State.UP:
        yield
        fate.breaks(Reason.TIMEOUT, 1, "too slow")


def all_orders(actors, once=False):
    """Plays every interleaving; how many there were, and all that they led to. `once`: states that look alike go on once."""
    played, found, stack = 0, set(), [()]
    while stack:
        path = stack.pop()
        fate, ends, seen = Fate("w"), [], [State.NEW]
        fate.at_end.append(lambda ends=ends, fate=fate: ends.append((fate.state, fate.broken)))
        running = [actor(fate) for actor in actors]
        for actor in running:
            next(actor)
        for who in path:
            over, broken, failure = fate.over, fate.broken, fate.failure() if fate.over else None
            if next(running[who], "done") == "done":
                running[who] = None
            check(fate, ends, seen)
            if over:
                assert str(fate.failure()) == str(failure) and fate.broken is broken  # the end is the end
        state = looks(fate, seen, actors, running)
        if once and state in found:
            continue
        found.add(state)
        going = [who for who, actor in enumerate(running) if actor is not None]
        stack += [(*path, who) for who in going]
        played += not going
    return played, found


def looks(fate, seen, actors, running):
    """What the future depends on: where each actor is, and the world's own fate. Actors that do the same are exchangeable."""
    causes = tuple(cause and (cause.reason, cause.peer, cause.text) for cause in (fate.broken, fate.left_by))
    places = [(kind.__name__, *((actor.gi_frame.f_lasti, actor.gi_frame.f_locals.get("state")) if actor else ()))
              for kind, actor in zip(actors, running)]
    return fate.state, tuple(seen[-2:]), causes, tuple(sorted(map(str, places)))


def check(fate, ends, seen):
    if fate.state is not seen[-1]:
        if not fate.over:
            assert ORDER.index(fate.state) > ORDER.index(seen[-1]), f"{seen[-1]} -> {fate.state}"
        assert seen[-1] in ORDER, f"{seen[-1]} was the end"
        assert fate.state is not State.CLOSED or seen[-1] is State.DRAINING
        seen.append(fate.state)
    assert len(ends) == fate.over  # told once, when it is over
    assert (fate.state is State.BROKEN) == (fate.broken is not None)
    if fate.over:
        assert ends[0] == (fate.state, fate.broken)
        early = seen[-2] in (State.NEW, State.JOINING)
        wanted = WorldClosed if fate.state is State.CLOSED else InitFailed if early else WorldBroken
        failure = fate.failure()
        assert type(failure) is (WorldBroken if wanted is WorldClosed and fate.left_by else wanted)
        assert fate.wait() is fate.state  # nobody waits for what is over
        with pytest.raises(WorldError):
            fate.advance(State.UP)
        assert fate.state is seen[-1]


def test_the_interleavings_are_all_of_them():
    def steps(n):
        def actor(fate):
            for _ in range(n):
                yield
        return actor

    counts = (2, 3, 1)
    assert all_orders([steps(n) for n in counts])[0] == factorial(sum(counts)) // prod(map(factorial, counts))


def test_every_order_of_opening_leaving_hearing_and_failing():
    actors = [opens, leaves, hears_of_a_leave, hears_of_a_death, operation_fails]
    played, found = all_orders(actors)
    assert played > 1000 and all_orders(actors, once=True)[1] == found  # nothing is lost where states are followed once


def test_every_order_with_two_who_leave_at_once():
    assert all_orders([opens, leaves, leaves, hears_of_a_leave])[0] > 900


@pytest.mark.slow
def test_every_state_of_a_world_in_which_all_happens_twice():
    twice = [leaves, hears_of_a_leave, hears_of_a_death, operation_fails] * 2
    _, found = all_orders([opens, *twice], once=True)
    print(f"{len(found)} states")
    assert {state for state, *_ in found} == set(State)
