"""A request that breaks whoever computes it takes nobody along: neither those of its batch, nor those that wait behind it."""

import asyncio

import pytest
from emulation import Emulated, Live, made

from runtime.gateway.request import FAILED, GOOD, Cause
from runtime.gateway.settling import LIVES

TABLE = {1: 0.1, 2: 0.15, 4: 0.25}


class Breaks(Emulated):
    """Is lost with the first request that there was, whoever else is in the batch."""

    def __init__(self, live, number):
        super().__init__(live.scenario, live.scenario.kinds[0], number, live.clock)
        self.live = live

    async def answers(self, variant, requests, head, freed):
        answers = await super().answers(variant, requests, head, freed)
        if any(tensors[0].item() == 0 for tensors in requests):
            self.live.dispatcher.lost(self)
            await asyncio.sleep(0)
        return answers  # late: it was given up already


@pytest.mark.parametrize("binding", ["early", "late"])
@pytest.mark.parametrize("requests", [1, 40])
def test_only_the_one_that_breaks_replicas_fails(binding, requests):
    candidates = [{"variants": ["v"], "cores": [1], "batch": 4, "max_wait_s": 0.05, "max_count": 4}]
    live = Live(made({"v": TABLE}, candidates, slo_s=60.0, initial=(), binding=binding))

    async def play():
        replicas = [Breaks(live, number) for number in range(LIVES + 2)]
        for replica in replicas:
            await replica.load()
            live.dispatcher.add(replica)
        for _ in range(requests):
            live.send("s")
        await asyncio.gather(*(request.settled for request in live.requests))
        await live.dispatcher.close()
        return replicas

    replicas = asyncio.run(live.clock.drive(play()))
    outcomes = [request.settled.result() for request in live.requests]
    assert (outcomes[0].fate, outcomes[0].cause) == (FAILED, Cause.LOST)
    assert [outcome.fate for outcome in outcomes[1:]] == [GOOD] * (requests - 1)
    assert len(live.dispatcher.hosts) == 2
    assert max(size for replica in replicas for _, size in replica.batches) == min(4, requests)  # the others' are whole
