"""The live cluster on a virtual clock: replicas that fail, hang or are lost, holds, refusals, and its own restart."""

import asyncio
import itertools
import json
import stat

import pytest
from live_cases import Launcher, ShortestQueue, Told, live, states
from virtual_clock import VirtualClock

from envs.contract import Deployment, ReplicaKind, Shape
from envs.scenario import Device
from envs.scenario_file import load
from runtime.account import Grounds
from runtime.serving import lives as module
from runtime.serving.acceptance import DeploymentRefused
from runtime.serving.backoff import LONGEST_S
from runtime.serving.desired import DeploymentPinned, Desired, NothingBefore, VersionConflict
from runtime.serving.live_cluster import LiveCluster
from runtime.serving.state_file import Remembered, Started, StateFile, StateFileError

DEMO = load("live-demo")
SMALL, MEDIUM, LARGE = KINDS = DEMO.kinds
NONE = (0, 0, 0)


def run(test):
    asyncio.run(test())


def happened(cluster, what):
    return [(event.t_s, event.replica) for event in cluster.events.after() if event.what == what]


def test_a_lost_replica_is_fenced_then_replaced_then_its_requests_go_elsewhere():
    async def test():
        async with live(DEMO) as (cluster, launcher, dispatcher, clock):
            await clock.run_until(2.0)
            seen = []
            dispatcher.lost = lambda replica: seen.append((replica.number, list(replica.log), states(cluster, KINDS)))
            launcher.made[0].lose("killed")
            assert seen == [(0, ["load", "fence"], [NONE, NONE, (1, 0, 0)])]
            assert cluster.census.pending_since_s() == {LARGE: [2.0]}
            await clock.run_until(2.999)
            assert states(cluster, KINDS) == [NONE, NONE, (1, 0, 0)]
            await clock.run_until(3.0)
            assert states(cluster, KINDS) == [NONE, NONE, (0, 1, 0)]
            assert cluster.census.cold_start_s == {LARGE: 1.0}
            assert cluster.census.held_ns(4.0) == {LARGE: 4 * 10**9}  # one after the other
    run(test)


def test_a_kind_that_never_becomes_ready_is_tried_ever_more_rarely_and_the_old_one_stays():
    async def test():
        async with live(DEMO) as (cluster, launcher, _dispatcher, clock):
            await clock.run_until(2.0)
            launcher.bad_kinds.add(SMALL)
            cluster.change(Deployment({SMALL: 1}), 1)
            await clock.run_until(400.0)
            failed = [t_s for t_s, _ in happened(cluster, "failed")]
            waits = [round(b - a - 0.5, 6) for a, b in itertools.pairwise(failed)]
            assert waits[:8] == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, LONGEST_S] and set(waits[8:]) == {LONGEST_S}
            assert states(cluster, KINDS) == [(1, 0, 0), NONE, (0, 1, 0)]  # it waits as pending, and keeps the old one
            assert any("no such weights" in event.why for event in cluster.events.after())
            assert len(happened(cluster, "back-off")) == len(failed) - 1
            launcher.bad_kinds.clear()
            await clock.run_until(470.0)
            assert states(cluster, KINDS) == [(0, 1, 0), NONE, NONE]
            launcher.made[max(launcher.made)].lose("killed")
            assert states(cluster, KINDS) == [(1, 0, 0), NONE, NONE]
            await clock.run_until(470.5)
            assert states(cluster, KINDS) == [(0, 1, 0), NONE, NONE]  # all is forgiven
    run(test)


def test_two_that_fail_together_are_one_failure():
    async def test():
        async with live(DEMO) as (cluster, launcher, _dispatcher, clock):
            launcher.bad_kinds.add(SMALL)
            cluster.change(Deployment({SMALL: 2}), 1)
            await clock.run_until(5.0)
            assert [t_s for t_s, _ in happened(cluster, "failed")] == [0.5, 0.5, 1.0, 1.0, 2.5, 2.5, 5.0, 5.0]
    run(test)


def test_a_load_that_hangs_is_given_up():
    async def test():
        async with live(DEMO) as (cluster, launcher, _dispatcher, clock):
            launcher.hanging_kinds.add(SMALL)
            cluster.change(Deployment({SMALL: 1}), 1)
            limit_s = module.LOAD_PATIENCE_S + 5.0
            await clock.run_until(limit_s)
            assert happened(cluster, "failed") == [(limit_s, 1)]
            assert launcher.made[1].log[:2] == ["load", "fence"]
            launcher.hanging_kinds.clear()
    run(test)


def test_a_stop_that_hangs_or_raises_ends_by_force():
    async def test():
        async with live(DEMO) as (cluster, launcher, _dispatcher, clock):
            await clock.run_until(2.0)
            launcher.made[0].stop = asyncio.Event().wait
            cluster.change(Deployment({}), 1)
            await clock.run_until(2.0 + module.STOP_PATIENCE_S - 0.1)
            assert states(cluster, KINDS)[2] == (0, 0, 1)  # what it holds, it holds
            await clock.run_until(2.0 + module.STOP_PATIENCE_S)
            assert cluster.replicas() == [] and launcher.made[0].log == ["load", "fence"]
    run(test)


class Held(VirtualClock):
    """Whoever waits is woken so much too late."""

    held_s = 0.0

    def _jump(self):
        super()._jump()
        self.t_s += self.held_s


def test_a_batch_that_may_have_been_answered_while_we_stood_still_is_no_hang():
    async def test():
        async with live(DEMO, launcher=Launcher(DEMO, Held(), ShortestQueue())) as (cluster, _launcher, dispatcher, clock):
            await clock.run_until(2.0)
            dispatcher.oldest = lambda replica: "a batch"
            clock.held_s = 100.0
            await clock.run_until(100.0)
            assert happened(cluster, "failed") == []
            clock.held_s = 0.0
            await clock.run_until(400.0)
            assert happened(cluster, "failed")
    run(test)


def test_a_draining_replica_answers_what_it_has_and_its_loss_is_not_made_up_for():
    async def test():
        async with live(DEMO.with_(devices={"cpu": Device(budget=4)})) as (cluster, launcher, dispatcher, clock):
            cluster.change(Deployment({LARGE: 2}), 1)
            await clock.run_until(2.0)
            asked = [asyncio.ensure_future(dispatcher.arrive("classify", n, payload=n)) for n in range(8)]
            await clock.settle()
            cluster.change(Deployment({}), 2)
            await clock.settle()
            assert states(cluster, KINDS)[2] == (0, 0, 2)
            launcher.made[0].lose("killed")
            await clock.run_until(10.0)
            answers = [task.result() for task in asked]
            assert [answer[0] for answer in answers if answer] == [1, 3, 5, 7]
            assert cluster.replicas() == [] and len(launcher.made) == 2
    run(test)


def test_who_may_change_it_and_when():
    async def test():
        async with live(DEMO) as (cluster, _launcher, _dispatcher, clock):
            with pytest.raises(NothingBefore):
                cluster.roll_back(1)
            assert cluster.change(Deployment({SMALL: 1}), 1, "a").number == 2
            assert cluster.change(Deployment({MEDIUM: 1}), 1, "a").number == 2
            with pytest.raises(VersionConflict, match="version 2 is in force, not 1"):
                cluster.change(Deployment({MEDIUM: 1}), 1, "b")
            assert cluster.roll_back(2).deployment == DEMO.initial_deployment
            with pytest.raises(VersionConflict, match="executed before"):
                cluster.change(Deployment({SMALL: 1}), 3, "a")
            cluster.pin(60.0, "a sale")
            with pytest.raises(DeploymentPinned, match="60 s: a sale"):
                cluster.change(Deployment({SMALL: 2}), 3)
            await clock.run_until(60.0)
            assert cluster.change(Deployment({SMALL: 2}), 3).number == 4
    run(test)


def test_a_pause_starts_and_stops_nothing_until_it_expires():
    async def test():
        async with live(DEMO) as (cluster, launcher, _dispatcher, clock):
            await clock.run_until(2.0)
            cluster.pause(30.0, "looking")
            cluster.change(Deployment({SMALL: 1}), 1)
            launcher.made[0].lose("killed")
            await clock.run_until(31.9)
            assert cluster.replicas() == [] and launcher.made[0].log == ["load", "fence", "stop"]
            await clock.run_until(32.5)
            assert states(cluster, KINDS) == [(0, 1, 0), NONE, NONE]
    run(test)


@pytest.mark.parametrize("deployment, why", [
    (Deployment({LARGE: 3}), "over budget: the deployment holds 3 of cpu, of which there are 2"),
    (Deployment({ReplicaKind(("huge",), Shape(cores=1)): 1}), "no variant 'huge'; known: small, medium, large"),
    (Deployment({ReplicaKind(("large",), Shape(device="tpu")): 1}), "no device 'tpu'; known: cpu"),
    (Deployment({ReplicaKind(("large",), Shape(cores=1), batch=64): 1}), "unknown kind large @1c batch 64"),
    (Deployment({LARGE: 1}, {"search": {(LARGE, "large"): 1.0}}), "unknown service 'search'"),
    (Deployment({LARGE: 1}, {"classify": {(LARGE, "small"): 1.0}}), "'small' is not a variant of both"),
    (Deployment({LARGE: 1}, {}, {("classify", 3): 0.5}), "stage 3 of 'classify'"),
])
def test_what_cannot_be_run_is_refused_and_nothing_changes(deployment, why):
    async def test():
        async with live(DEMO) as (cluster, *_):
            with pytest.raises(DeploymentRefused, match=why):
                cluster.change(deployment, 1)
            assert cluster.desired.current.number == 1
    run(test)


def test_a_node_without_room_is_over_budget_too():
    async def test():
        nodes = DEMO.with_(devices={"cpu": Device(budget=4, nodes=(1, 3))})
        async with live(nodes) as (cluster, *_):
            with pytest.raises(DeploymentRefused, match="no room for it"):
                cluster.change(Deployment({ReplicaKind(("large",), Shape(cores=2)): 2}), 1)
    run(test)


def test_after_its_own_restart_it_takes_over_what_runs_and_gives_no_number_twice(tmp_path):
    async def test():
        clock, file = VirtualClock(), tmp_path / "state.json"
        launcher = Launcher(DEMO, clock, ShortestQueue())
        state = StateFile(file)
        first = LiveCluster(DEMO, launcher, launcher.dispatcher, clock, remember=state)
        first.start()
        grounds = Grounds("ppo", "load 93 -> 140 req/s", ("a bound",))
        first.change(Deployment({LARGE: 2}), 1, "a", grounds)
        first.pin(1000.0, "a sale")
        await clock.run_until(2.0)
        launcher.made[1].loaded = False
        del launcher.made[1]  # dies while nobody looks
        first._running = False  # as if its process had died
        state.close()
        options = {"remember": StateFile(file), "adopt": launcher.adopt}
        async with live(DEMO, launcher=launcher, **options) as (cluster, _, dispatcher, clock):
            await clock.run_until(3.0)
            rows = [(row.number, row.state, row.started_s) for row in cluster.replicas()]
            assert rows == [(0, "ready", 0.0), (2, "ready", 2.0)]
            assert set(dispatcher.hosts) == {0, 2} and launcher.made[0].log == ["load", "load"]
            current = cluster.desired.current
            assert (current.number, current.decision_id, current.grounds) == (2, "a", grounds)
            assert cluster.change(Deployment({SMALL: 1}), 1, "a").number == 2  # executed before the restart
            with pytest.raises(DeploymentPinned):
                cluster.change(Deployment({SMALL: 1}), 2, "b")
        assert json.loads(file.read_text())["replicas"] == []
    run(test)


def test_a_state_file_of_format_1_is_taken_over_and_a_newer_one_refused(tmp_path):
    """Format 1 had neither grounds, nor a token, nor whereabouts: its workers ended with their cluster process."""
    file = tmp_path / "state.json"
    shape = {"cores": 1, "inter_op": 1, "intra_op": 1, "device": "cpu"}
    kind = {"variants": ["large"], "shape": shape, "batch": 1, "max_wait_s": 0}
    deployment = {"replicas": [{"kind": kind, "count": 2}], "routes": [], "thresholds": []}
    old = {"format": 1, "pin": None, "pause": None,
           "versions": [{"number": 7, "deployment": deployment, "decision_id": "a/1"}],
           "next_number": 5, "replicas": [{"number": 4, "kind": kind, "state": "ready", "started_s": 3.0}]}
    file.write_text(json.dumps(old))
    state = StateFile(file)
    seen = state.remembered
    assert (seen.desired.current.number, seen.desired.current.deployment) == (7, Deployment({LARGE: 2}))
    assert (seen.next_number, seen.replicas, len(state.token)) == (5, (), 32)
    state.write(seen)
    state.close()
    now = json.loads(file.read_text())
    assert now["format"] == 2
    file.write_text(json.dumps({**now, "format": 3}))
    with pytest.raises(StateFileError, match=r"state\.json: the state of a cluster, format 3, here 2; use the Tidal"):
        StateFile(file)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 1}', '{"format": 2, "versions": []}', '{"versions": 3}'])
def test_a_state_file_of_something_else_is_refused_and_kept(tmp_path, text):
    file = tmp_path / "state.json"
    file.write_text(text)
    for _ in range(2):  # and it is not kept from others
        with pytest.raises(StateFileError, match=r"state\.json: not the state of a cluster"):
            StateFile(file)
    assert file.read_text() == text


def test_a_state_file_is_for_one_process_at_a_time_and_for_nobody_elses_eyes(tmp_path):
    file = tmp_path / "state.json"
    first = StateFile(file)
    with pytest.raises(StateFileError, match=r"state\.json: another cluster process uses it"):
        StateFile(file)
    first.write(Remembered(Desired.first(DEMO.initial_deployment), 3, ()))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    first.close()
    second = StateFile(file)
    assert (second.token, second.remembered.next_number) == (first.token, 3)
    second.close()


def test_what_the_scenario_no_longer_has_is_ended_after_a_restart(tmp_path):
    async def test():
        clock, state = VirtualClock(), StateFile(tmp_path / "state.json")
        launcher = Launcher(DEMO, clock, ShortestQueue())
        gone = ReplicaKind(("huge",), Shape(cores=1))
        replica = launcher.made[4] = Told(4, LARGE, launcher)
        replica.kind = gone
        state.write(Remembered(Desired.first(DEMO.initial_deployment), 5, (Started(4, gone, "ready", 0.0),)))
        state.close()
        async with live(DEMO, launcher=launcher, remember=StateFile(tmp_path / "state.json"),
                        adopt=launcher.adopt) as (cluster, _, _, clock):
            await clock.run_until(2.0)
            assert replica.log == ["fence", "stop"] and [row.number for row in cluster.replicas()] == [5]
            assert any("no variant 'huge'" in event.why for event in cluster.events.after())
    run(test)


def test_what_cannot_be_remembered_is_not_done(tmp_path):
    async def test():
        folder = tmp_path / "folder"
        folder.mkdir()
        async with live(DEMO, remember=StateFile(folder / "state.json")) as (cluster, *_):
            (folder / "state.json").unlink()
            (folder / "state.json.lock").unlink()
            folder.rmdir()
            with pytest.raises(OSError):
                cluster.change(Deployment({SMALL: 1}), 1)
            assert cluster.desired.current.number == 1
    run(test)


def test_a_resize_in_place_starts_nothing_and_a_loss_on_the_way_is_made_up_for():
    async def test():
        scenario = DEMO.with_(in_place_resize_s=0.4, devices={"cpu": Device(budget=4)},
                              candidates=[{"variants": ["large"], "cores": [1, 2]}], initial=[{"candidate": 0, "level": 1}])
        one, two = scenario.kinds
        async with live(scenario) as (cluster, launcher, dispatcher, clock):
            await clock.run_until(2.0)
            cluster.change(Deployment({two: 1}), 1)
            assert states(cluster, [one, two]) == [NONE, (0, 1, 0)] and dispatcher.resizes == [(0, two)]
            await clock.run_until(2.3)
            cluster.change(Deployment({one: 1}), 2)  # the delay begins again
            await clock.run_until(2.69)
            assert dispatcher.resizes[-1] == (0, one)
            await clock.run_until(2.7)
            assert dispatcher.resizes[1:] == [(0, one), (0, "done")] and set(launcher.made) == {0}
            held_ns = cluster.census.held_ns(3.0)
            assert held_ns == {one: 2_700_000_000, two: 300_000_000}
            cluster.change(Deployment({two: 1}), 3)
            launcher.made[0].lose("killed")
            await clock.run_until(5.0)
            assert states(cluster, [one, two]) == [NONE, (0, 1, 0)] and set(launcher.made) == {0, 1}
            assert dispatcher.resizes[-1] == (0, two)  # and never done
    run(test)
