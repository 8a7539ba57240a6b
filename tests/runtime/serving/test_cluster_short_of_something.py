"""Memory, descriptors or room on the disk are short at any step of the live cluster's work, once.

What is wanted comes to be in the end, and nothing is left over.
"""

import asyncio
import contextlib
import json
import logging
from collections import Counter
from functools import partial
from itertools import count

import pytest
from live_cases import live
from shortage import DESCRIPTORS, EACH, ROOM, OfFiles, OfMemory

import runtime.serving
from envs.contract import Deployment
from envs.scenario_file import load
from runtime.serving.state_file import StateFile

DEMO = load("live-demo")
SMALL, MEDIUM, LARGE = DEMO.kinds
BEFORE, AFTER = Deployment({LARGE: 2}), Deployment({SMALL: 1, MEDIUM: 1})


async def a_change_and_a_loss(folder, shortage):
    """With something short meanwhile, and then no more."""
    async with live(DEMO, remember=StateFile(folder / "state")) as (cluster, launcher, _dispatcher, clock):
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        cluster.change(BEFORE, 1)
        await clock.run_until(5.0)
        assert cluster.settled
        with shortage:
            with contextlib.suppress(MemoryError, OSError):
                cluster.change(AFTER, 2)
            await clock.run_until(5.5)
            with contextlib.suppress(MemoryError, OSError):
                next(iter(cluster.running())).lose("killed")
            await clock.run_until(10.0)
        if cluster.desired.current.number == 2:  # whoever wants it was told that it failed, and asks again
            cluster.change(AFTER, 2)
        for _ in range(20):
            cluster.mend()
            await clock.run_until(clock.now_s() + 1.0)
        assert cluster.settled, (shortage.where, cluster.replicas())
        there = {row.number for row in cluster.replicas()}
        assert {number for number, replica in launcher.made.items() if replica.loaded} == there, shortage.where
        assert cluster.census.count("ready") == Counter(AFTER.replicas) and set(cluster.census._lives) == there
        remembered = json.loads((folder / "state").read_text())
        assert {row["number"] for row in remembered["replicas"]} == there, shortage.where


@pytest.mark.filterwarnings("ignore")  # of what was never begun
@pytest.mark.parametrize("short, each", [
    (partial(OfMemory, runtime.serving), EACH), (partial(OfFiles, DESCRIPTORS), 1), (partial(OfFiles, ROOM), 1)],
    ids=["memory", "descriptors", "room on the disk"])
def test_something_is_short_at_any_call_of_the_cluster(short, each, tmp_path, caplog):
    caplog.set_level(logging.CRITICAL)
    for n in count(1, each):
        shortage = short(n)
        folder = tmp_path / str(n)
        folder.mkdir()
        asyncio.run(a_change_and_a_loss(folder, shortage))
        if not shortage.where:
            break
    print(f"short at each {each}th of {n} calls of the cluster")
    assert n > 20
