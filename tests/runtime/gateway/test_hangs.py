"""A replica that lives and never answers: given up after a limit, and what it had is answered elsewhere, once."""

import asyncio

import pytest
from emulation import Reconciled, made

from envs.contract import Deployment
from runtime.gateway.request import GOOD
from runtime.serving import lives
from runtime.serving.emulated_replica import EmulatedLiveReplica

LIMIT_S = lives.BATCH_PATIENCE_S + 10 * 0.1


class Hangs(EmulatedLiveReplica):
    """Takes batches and keeps them."""

    def serve(self, variant, requests, head, traces, freed, answered):
        pass


class OneHangs(Reconciled):
    def _make(self, number, kind):
        make = Hangs if number == 0 else EmulatedLiveReplica
        replica = make(number, kind, scenario=self.scenario, seed=self.seed, clock=self.clock)
        self.replicas.append(replica)
        return replica


@pytest.mark.parametrize("drains", [False, True])
@pytest.mark.parametrize("binding", ["early", "late"])
def test_it_is_fenced_and_replaced_and_all_is_answered_once(binding, drains):
    kinds = [{"variants": ["v"], "cores": [cores], "max_count": 2} for cores in (1, 2)]
    initial = [{"candidate": 0, "level": 2}]
    live = OneHangs(made({"v": 0.1}, kinds, binding=binding, service_cv=0.0, slo_s=100.0, initial=initial))
    other = live.scenario.kinds[1]

    async def story():
        live.cluster.start()
        await live.clock.sleep_until(0.5)
        for _ in range(8):
            live.send("s")
        if drains:
            live.cluster.change(Deployment({other: 2}), 1)
        await live.clock.sleep_until(LIMIT_S - 1.0)
        states = {row.number: row.state for row in live.cluster.replicas()}
        answered = [await request.settled for request in live.requests]
        rows = [(row.number, row.state) for row in live.cluster.replicas()]
        await live.cluster.close()
        await live.dispatcher.close()
        return states, answered, rows

    states, answered, rows = asyncio.run(live.clock.drive(story()))
    (failed,) = [event for event in live.cluster.events.after() if event.what == "failed"]
    assert failed.replica == 0 and "it hangs" in failed.why and LIMIT_S <= failed.t_s <= 2 * LIMIT_S
    assert states[0] == ("draining" if drains else "ready")
    assert [outcome.fate for outcome in answered] == [GOOD] * 8
    late = [outcome for outcome in answered if outcome.t_s > LIMIT_S]  # what it had: its queue, or what it computed
    assert len(late) == (4 if binding == "early" else 1)
    assert all(outcome.t_s <= failed.t_s + 1.0 for outcome in late)
    assert rows == [(2, "ready"), (3, "ready")] if drains else [(1, "ready"), (2, "ready")]
