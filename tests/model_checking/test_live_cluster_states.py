"""The live cluster in all orders of what can happen: every state that a few events can lead to is visited.

A state is reached again by playing its events from the start (`live_model`); states that have the same future are followed
once. In each the invariants hold, and from each the cluster settles once nothing goes wrong any more.
"""

import asyncio
import math
import os
from itertools import count

import pytest
from live_model import DEPLOYMENTS, World

from runtime.serving.state_file import StateFile


async def played(path, world):
    """The world after these events, its invariants checked after the last one."""
    world.begin()
    await world.clock.settle()
    for at, (what, number) in enumerate(path):
        serving = bool(world.drains.serving)
        await world.play(what, number)
        if at == len(path) - 1:
            world.check(serving, what)
    return world


def explored(folder, depth=math.inf, deployments=DEPLOYMENTS, most=math.inf):
    """Visits every state that so many events lead to; how many states and transitions that were, and how deep."""
    names, seen, transitions = count(), set(), 0
    frontier, deep = [()], -1

    async def visit(path, here):
        world = await played(path, World(here, deployments, most))
        looks, events = world.looks(), world.events()
        if looks not in seen:
            await world.settles()
        await world.die()
        return looks, events

    with asyncio.Runner() as runner:
        while frontier and deep < depth:
            following, deep = [], deep + 1
            for path in frontier:
                here = folder / f"{next(names)}"
                here.mkdir()
                try:
                    looks, events = runner.run(visit(path, here))
                except AssertionError as error:
                    raise AssertionError(f"after {path}: {error}") from error
                for file in here.iterdir():
                    file.unlink()
                here.rmdir()
                transitions += 1
                if looks not in seen:
                    seen.add(looks)
                    following += [(*path, event) for event in events]
            frontier = following
    return len(seen), transitions, deep


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)


def test_every_state_that_two_events_lead_to(tmp_path):
    states, transitions, _ = explored(tmp_path, 2)
    assert states > 20 and transitions > states


@pytest.mark.slow
def test_every_state_that_five_events_lead_to(tmp_path):
    states, transitions, _ = explored(tmp_path, 5)
    print(f"{states} states, {transitions} transitions")
    assert states > 10_000


@pytest.mark.slow
def test_every_state_of_a_small_cluster_however_many_events(tmp_path):
    """One deployment, and nothing more goes wrong while three replicas are there: then the states are finitely many."""
    states, transitions, deep = explored(tmp_path, deployments=DEPLOYMENTS[:1], most=3)
    print(f"{states} states, {transitions} transitions, the last after {deep} events")
    assert states > 300


def test_the_model_finds_a_reconciler_that_drains_too_early(tmp_path, monkeypatch):
    from runtime.serving import reconcile

    monkeypatch.setattr(reconcile, "_share_service", lambda a, b, scenario: False)
    with pytest.raises(AssertionError, match="nobody serves any more"):
        explored(tmp_path, 2)


def test_the_model_finds_a_cluster_that_remembers_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(StateFile, "write", lambda self, remembered: None)
    with pytest.raises(AssertionError, match=r"is given twice|nobody knows them"):
        explored(tmp_path, 3)
