"""The autoscaler's loop on a fake clock: its grid, its modes, and what it does when its parts fail."""

import json
import math
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from autoscaling import PATIENCE_S, autoscaler, host, journaled, run
from simulated_service import FakeClock, SimulatedService, swelling_load

from agents import registry
from baselines.static import Static
from envs.contract import Decision, Deployment, Policy, ReplicaKind, Shape
from envs.envelope import Limits
from envs.observation import missing_observation
from envs.scenario_file import load
from runtime.account import Grounds
from runtime.actuators.actuator import ActuatorError, InForce, Outcome
from runtime.actuators.dry_run import DryRun
from runtime.autoscaler.journal import Journal, newest_first
from runtime.autoscaler.lease import FileLease
from runtime.autoscaler.observation_json import observation_from_json, observation_to_json
from runtime.autoscaler.process import Autoscaler
from runtime.deployment_json import from_json
from runtime.sources.page import Page, parsed
from runtime.sources.source import PagedSource

SCENARIO = load("live-demo")
ONE, TWO = SCENARIO.deployment((1, 0, 0)), SCENARIO.deployment((2, 0, 0))


class Steady:
    """A source that always sees the same load, unless told what else to show at a time."""

    trouble = ""

    def __init__(self, **at):
        self._at = {float(t.removeprefix("at_")): changes for t, changes in at.items()}

    def read(self, t_s, deployment):
        nothing = missing_observation(SCENARIO, SCENARIO.kinds, deployment, t_s)
        service = replace(nothing.services["classify"], offered_rps=20.0, queue=0.0)
        return replace(replace(nothing, age_s=1.0, services={"classify": service}), **self._at.get(t_s, {}))


class Alternating(Policy):
    """One replica, two, one, two."""

    memory_intervals = 1

    def reset(self, scenario):
        pass

    def decide(self, observation):
        return Decision(TWO if round(observation.t_s / 5) % 2 else ONE, f"at {observation.t_s:g}", {"t_s": observation.t_s,
                                                                                                   "nothing": math.nan})


def play(folder, last_s, policy=None, source=None, actuator=None, clock=None, **more):
    actuator = actuator or DryRun(SCENARIO.initial_deployment)
    scaler = autoscaler(SCENARIO, policy or Alternating(), source or Steady(), actuator, folder,
                        clock or FakeClock(last_s=last_s), **more)
    run(scaler)
    return scaler, actuator


def metric(scaler, name, **labels):
    return scaler.meters.registry.get_sample_value(f"tidal_autoscaler_{name}", labels)


def test_decisions_are_on_the_grid_without_drift_and_journaled_with_their_outcomes(tmp_path):
    clock = FakeClock(start_s=103.2, last_s=1000)
    scaler, actuator = play(tmp_path, 1000, clock=clock)
    intents, outcomes = journaled(tmp_path), journaled(tmp_path, "outcome")
    assert [i["t_s"] for i in intents] == [105.0 + 5 * n for n in range(180)]
    assert [i["decision_id"] for i in intents] == [o["decision_id"] for o in outcomes]  # each of them changes something
    assert len({i["decision_id"] for i in intents}) == 180 and {o["status"] for o in outcomes} == {"applied"}
    assert actuator.current().decision_id == outcomes[-1]["decision_id"]
    assert metric(scaler, "decisions_total", outcome="applied") == 180
    assert [r["type"] for r in journaled(tmp_path, "stop")] == ["stop"] and not scaler.leading


def test_a_decision_says_all_that_went_into_it(tmp_path):
    play(tmp_path, 5.0, limits=Limits(max_rise=1), source=Steady())
    [first, second] = journaled(tmp_path)
    assert observation_from_json(second["observation"], SCENARIO).services["classify"].offered_rps == 20
    assert (second["by"], second["proposal"]["reason"], second["failure"]) == ("policy", "at 5", "")
    assert second["proposal"]["details"] == {"t_s": 5.0, "nothing": None}
    assert (from_json(second["proposal"]["deployment"]), second["acts"]) == (TWO, True)
    assert from_json(second["deployment"]) == TWO and from_json(second["observation"]["deployment"]) == ONE
    assert (first["version"], second["version"]) == ("1", "2")


def test_a_day_passes_in_no_time(tmp_path):
    scenario = SCENARIO.with_(interval_s=300)
    actuator = DryRun(SCENARIO.initial_deployment)
    run(autoscaler(scenario, Alternating(), Steady(), actuator, tmp_path, FakeClock(last_s=86399)))
    assert len(journaled(tmp_path)) == 288


def test_times_of_decision_that_pass_during_a_decision_are_left_out(tmp_path):
    clock = FakeClock(last_s=40)

    class Slow(Steady):
        def read(self, t_s, deployment):
            if t_s == 10:
                clock._now_s += 12  # till 22
            return super().read(t_s, deployment)

    scaler, _ = play(tmp_path, 40, source=Slow(), clock=clock)
    assert [i["t_s"] for i in journaled(tmp_path)] == [0, 5, 10, 25, 30, 35, 40]
    assert journaled(tmp_path)[2]["bounds"] == ["held: observation is 13 s old"]
    assert metric(scaler, "skipped_ticks_total") == 2


def test_advisory_journals_and_never_acts(tmp_path):
    scaler, actuator = play(tmp_path, 20, mode="advisory")
    assert actuator.current() == InForce(SCENARIO.initial_deployment, "1")
    assert [i["acts"] for i in journaled(tmp_path)] == [True] * 5 and journaled(tmp_path, "outcome") == []
    assert metric(scaler, "decisions_total", outcome="advised") == 5
    play(tmp_path, 45, mode="advisory", clock=FakeClock(25, 45))  # what was advised is not caught up with
    assert actuator.current().version == "1" and journaled(tmp_path, "outcome") == []


def test_advice_that_nobody_took_does_not_cool_anything_down(tmp_path):
    limits = Limits(rise_cooldown_s=1000, fall_cooldown_s=1000)
    play(tmp_path, 10, mode="advisory", limits=limits)
    play(tmp_path, 20, mode="advisory", limits=limits, clock=FakeClock(15, 20))
    assert [from_json(i["deployment"]) for i in journaled(tmp_path)] == [ONE, TWO, ONE, TWO, ONE]


@pytest.mark.parametrize("mood, cooled_down", [("overtaken", False), ("lost", True), (None, True)])
def test_only_a_change_that_may_have_been_made_cools_down(tmp_path, mood, cooled_down):
    limits = Limits(rise_cooldown_s=1000, fall_cooldown_s=1000)
    play(tmp_path / "through", 5, limits=limits, actuator=Moody(apply=[mood]))
    actuator = Moody(apply=[mood])
    play(tmp_path / "restarted", 0, limits=limits, actuator=actuator)
    play(tmp_path / "restarted", 5, limits=limits, actuator=actuator, clock=FakeClock(5, 5))
    for folder in ("through", "restarted"):
        assert bool(journaled(tmp_path / folder)[-1]["bounds"]) == cooled_down


@pytest.mark.parametrize("lasts", [5, 6])  # lost between decisions, or in the middle of one
def test_who_has_lost_the_lease_writes_nothing_more(tmp_path, lasts):
    class Lost(FileLease):
        times = lasts

        def hold(self):  # asked once to begin with, and twice in each decision
            self.times -= 1
            return self.times >= 0 and super().hold()

    clock = FakeClock(last_s=100)
    run(Autoscaler(SCENARIO, host(Alternating(), SCENARIO), Steady(), DryRun(ONE), tmp_path, Lost(tmp_path), clock,
                   interval_s=5, limits=Limits()))
    assert [r["type"] for r in newest_first(tmp_path)][::-1] == ["journal", "start", "intent", "intent", "outcome"]


@pytest.mark.parametrize("mode, late", [("act", "conflict"), ("advisory", "applied")])
def test_what_a_silent_leader_had_begun_is_a_conflict(tmp_path, mode, late):
    actuator, hosted = DryRun(ONE), host(Static(ONE), SCENARIO)
    known = actuator.current().version
    lease = FileLease(tmp_path)
    lease.usurped = True
    run(Autoscaler(SCENARIO, hosted, Steady(), actuator, tmp_path, lease, FakeClock(last_s=10), interval_s=5,
                   limits=Limits(), mode=mode))
    assert {i["acts"] for i in journaled(tmp_path)} == {False} and len(journaled(tmp_path)) == 3
    assert actuator.apply(TWO, known, "late/1").status == late


def test_shadow_decides_beside_and_is_only_journaled(tmp_path):
    scaler, actuator = play(tmp_path, 20, mode="shadow", policy=Static(), shadow=Alternating())
    assert actuator.current().deployment == SCENARIO.initial_deployment and actuator.current().version == "1"
    shadows = [i["shadow"] for i in journaled(tmp_path)]
    assert [from_json(s["deployment"]) for s in shadows] == [ONE, TWO, ONE, TWO, ONE]
    assert {s["agrees"] for s in shadows} == {False} and metric(scaler, "shadow_decisions_total", agrees="no") == 5
    play(tmp_path / "same", 20, mode="shadow", shadow=Alternating())
    assert {i["shadow"]["agrees"] for i in journaled(tmp_path / "same")} == {True}


def test_missing_metrics_hold(tmp_path):
    scaler, actuator = play(tmp_path, 15, source=Steady(at_5={"age_s": math.nan}, at_10={"age_s": 5.1}))
    _, missing, stale, last = journaled(tmp_path)
    assert (missing["bounds"], stale["acts"], stale["bounds"]) == (["held: no observation"], False, [])  # ONE is in force
    assert last["acts"] and actuator.current().deployment == TWO
    assert metric(scaler, "bound_decisions_total") == 1


class Moody(DryRun):
    """An actuator with something wrong at each call, as told: by method, a list of what to do instead."""

    def __init__(self, **moods):
        super().__init__(SCENARIO.initial_deployment)
        self._moods, self.applied, self.grounds, self.told = moods, [], [], []

    def current(self):
        if self._moods.get("current") and self._moods["current"].pop(0):
            raise ActuatorError("nobody there")
        return super().current()

    def apply(self, deployment, version, decision_id, grounds):
        self.applied.append(decision_id)
        self.grounds.append(grounds)
        mood = self._moods["apply"].pop(0) if self._moods.get("apply") else None
        if mood == "ignored":
            return Outcome("applied", version)
        if mood == "lost":
            super().apply(deployment, version, decision_id, grounds)
            return Outcome("unknown", "", "timed out")
        if mood == "overtaken":
            super().apply(SCENARIO.deployment((0, 0, 2)), version, "an operator")
        return super().apply(deployment, version, decision_id, grounds)

    def tell(self, account):
        self.told.append(account)


def test_each_decision_is_told_with_its_grounds_and_what_came_of_it(tmp_path):
    _, actuator = play(tmp_path, 15, actuator=Moody(apply=["", "overtaken", "lost"]))
    intents, outcomes = journaled(tmp_path), {o["decision_id"]: o for o in journaled(tmp_path, "outcome")}
    assert [told.decision_id for told in actuator.told] == [i["decision_id"] for i in intents]
    for told, intent in zip(actuator.told, intents):
        became = outcomes.get(intent["decision_id"], {"status": "unchanged", "detail": ""})
        assert (told.t_s, told.interval_s, told.mode, told.status) == (intent["t_s"], 5, "act", became["status"])
        assert told.deployment == str(from_json(intent["deployment"]))
        assert told.grounds == Grounds(intent["by"], intent["proposal"]["reason"], tuple(intent["bounds"]))
        assert became["detail"] in told.trouble
    assert {"applied", "conflict", "unknown"} <= {told.status for told in actuator.told}
    assert actuator.grounds == [told.grounds for told in actuator.told if told.decision_id in outcomes]


def test_while_nothing_is_known_to_be_in_force_nothing_is_decided(tmp_path):
    scaler, _ = play(tmp_path, 15, actuator=Moody(current=[True, True]))
    assert [i["t_s"] for i in journaled(tmp_path)] == [10, 15]
    assert metric(scaler, "actuator_failures_total") == 2 and metric(scaler, "skipped_ticks_total") == 2


def test_when_the_control_api_is_gone_for_a_while_the_last_known_deployment_counts(tmp_path):
    _, actuator = play(tmp_path, 15, actuator=Moody(current=[False, True, True]))
    intents, outcomes = journaled(tmp_path), journaled(tmp_path, "outcome")
    # At 5 s nobody says what is in force: version 1 is the last that is known, but 2 is in force since the decision at 0 s.
    assert [i["version"] for i in intents] == ["1", "1", "1", "2"]
    assert [o["status"] for o in outcomes] == ["applied", "conflict", "conflict", "applied"]
    assert actuator.current().deployment == TWO


def test_a_deployment_that_the_scenario_does_not_know_is_left_alone(tmp_path):
    alien = Deployment({ReplicaKind(("somebody's model",), Shape(1)): 1})
    scaler, actuator = play(tmp_path, 15, actuator=DryRun(alien))
    assert journaled(tmp_path) == [] and actuator.current().deployment == alien
    assert metric(scaler, "skipped_ticks_total") == 4


@pytest.mark.parametrize("record", [{"type": "intent"}, {"type": "outcome"},
                                    {"type": "intent", "scenario": "live-demo", "observation": []}])
def test_a_journal_that_makes_no_sense_does_not_keep_it_from_going_on(tmp_path, record):
    journal = Journal(tmp_path)
    journal.append(record)
    journal.close()
    _, actuator = play(tmp_path, 10)
    assert actuator.current().version == "4" and journaled(tmp_path, "start")[0]["remembered"] == 0


def test_decisions_of_another_scenario_are_not_remembered(tmp_path):
    play(tmp_path, 10)
    services = {"other": SCENARIO.services["classify"]}
    workload = {"other": SCENARIO.workload["classify"]}
    other = SCENARIO.with_(services=services, workload=workload)
    run(autoscaler(other, Static(), Steady(), DryRun(other.initial_deployment), tmp_path, FakeClock(15, 14)))
    play(tmp_path, 14, clock=FakeClock(15, 14))
    assert [r["remembered"] for r in journaled(tmp_path, "start")] == [0, 0, 1]


def test_a_clock_that_is_set_back_is_followed(tmp_path):
    clock = FakeClock(start_s=3600, last_s=3620)

    def set_back(t_s):
        if t_s == 3610:
            clock._now_s, clock._last_s = 10.5, 30

    clock._on_time = set_back
    play(tmp_path, 0, clock=clock)
    assert [i["t_s"] for i in journaled(tmp_path)] == [3600, 3605, 3610, 15, 20, 25, 30]


@pytest.mark.parametrize("mood, statuses, in_force", [
    ("ignored", ["applied", "applied"], TWO),
    ("lost", ["unknown", "applied"], TWO),
    ("overtaken", ["conflict", "applied"], TWO),
])
def test_what_the_actuator_did_not_do_is_seen_at_the_next_decision(tmp_path, mood, statuses, in_force):
    _, actuator = play(tmp_path, 5, actuator=Moody(apply=[mood]))
    assert [o["status"] for o in journaled(tmp_path, "outcome")] == statuses
    assert actuator.current().deployment == in_force


def test_a_full_disk_is_told_and_does_not_stop_scaling(tmp_path):
    class Full(Journal):
        def append(self, record):
            if record.get("t_s", 0) >= 10:
                raise OSError(28, "No space left on device")
            super().append(record)

    scaler, actuator = play(tmp_path, 20, open_journal=Full)
    assert [i["t_s"] for i in journaled(tmp_path)] == [0, 5]
    assert actuator.current().version == "6" and metric(scaler, "journal_failures_total") == 3


def test_a_failing_policy_is_journaled_with_who_decided_instead(tmp_path):
    class Broken(Static):
        def decide(self, observation):
            raise ValueError("broken")

    scaler, _ = play(tmp_path, 30, policy=host(Broken(), SCENARIO, Alternating()))
    intents = journaled(tmp_path)
    assert {i["by"] for i in intents} == {"baseline"}
    assert intents[0]["failure"] == "policy: ValueError: broken"
    assert metric(scaler, "policy_failures_total", cause="exception") == 3 and metric(scaler, "breaker_open") == 1


def test_two_at_once_one_leads_and_the_other_takes_over(tmp_path):
    actuator, polls, polled = DryRun(SCENARIO.initial_deployment), [], threading.Event()
    leader_clock = FakeClock(last_s=20, on_time=lambda t_s: polled.wait(PATIENCE_S))

    class StandbyClock(FakeClock):
        """Two seconds ahead of the leader's clock; stands by in real time."""

        def now_s(self):
            return max(super().now_s(), leader_clock.now_s() + 2)

        def sleep_until(self, t_s, stop):
            if standby.leading:
                super().sleep_until(t_s, stop)
                return
            polls.append(leader.leading)
            if len(polls) == 5:
                polled.set()
            stop.wait(0.001)

    standby = autoscaler(SCENARIO, Alternating(), Steady(), actuator, tmp_path, StandbyClock(last_s=60))
    thread = threading.Thread(target=run, args=(standby,))

    class Starting(Steady):
        def read(self, t_s, deployment):
            if t_s == 0:
                thread.start()  # it finds that there is a leader
            return super().read(t_s, deployment)

    leader = autoscaler(SCENARIO, Alternating(), Starting(), actuator, tmp_path, leader_clock)
    run(leader)  # five decisions, then it ends and gives the lease back
    thread.join(PATIENCE_S)
    assert not thread.is_alive() and polls[:5] == [True] * 5
    assert [i["t_s"] for i in journaled(tmp_path)] == [5.0 * n for n in range(13)]
    assert len({i["decision_id"].partition("/")[0] for i in journaled(tmp_path)}) == 1
    versions = [o["version"] for o in journaled(tmp_path, "outcome")]
    assert versions == [str(n) for n in range(2, 15)]  # one after the other, by both


def test_an_observation_is_read_back_from_its_json_exactly():
    for name in ("live-demo", "tenants", "resnet-variants"):
        scenario = load(name)
        service = SimulatedService(scenario, swelling_load(scenario, 5, 60))
        other = scenario.initial_deployment
        source = PagedSource(scenario, Reader(service), scenario.interval_s)
        for n in range(4):
            service.advance_to(n * scenario.interval_s)
            seen = source.read(n * scenario.interval_s, other)
            text = json.dumps(observation_to_json(seen, scenario), allow_nan=False)
            assert repr(observation_from_json(json.loads(text), scenario)) == repr(seen)


class Reader:
    """Pages of a simulated service, without HTTP; it knows the past, as a Prometheus does."""

    def __init__(self, service):
        self._service = service

    def pages(self) -> dict[str, Page]:
        return self.pages_at(self._service.cluster.t_s)

    def pages_at(self, t_s):
        text = self._service.pages.get(t_s)
        return {"service": parsed(text.decode())} if text else {}


@pytest.mark.parametrize("policy", ["hpa", "infadapter", "ppo"])
def test_a_restarted_process_decides_as_if_it_had_never_stopped(tmp_path, policy):
    scenario = load("resnet-variants")

    def decided(folder, *stops):
        service, start_s = SimulatedService(scenario, swelling_load(scenario, 30, 330), 7), 0.0
        for last_s in stops:
            clock = FakeClock(start_s, last_s, service.advance_to)
            source = PagedSource(scenario, Reader(service), 30)
            run(autoscaler(scenario, registry.make(policy, scenario), source, Service(service), folder, clock,
                           limits=Limits(fall_cooldown_s=90)))
            start_s = last_s
        return [i["deployment"] for i in journaled(folder)], [i["observation"] for i in journaled(folder)]

    through, restarted = decided(tmp_path / "a", 450), decided(tmp_path / "b", 240, 450)
    assert through == restarted and len(through[0]) == 16


class Service:
    """The control API of a simulated service, without HTTP."""

    def __init__(self, service):
        self._service = service

    def current(self):
        s = self._service
        return InForce(s.desired, str(s.version), s.decision_id)

    def apply(self, deployment, version, decision_id, grounds):
        s = self._service
        s.desired, s.version, s.decision_id = deployment, s.version + 1, decision_id
        return Outcome("applied", str(s.version))

    def tell(self, account):
        self._service.told.append(account)


def test_the_process_imports_no_torch_no_sb3_and_unpickles_nothing_of_ours(tmp_path):
    """numpy itself imports pickle; what counts is that no room of ours does, and that only numba loads its own code so."""
    done = subprocess.run([sys.executable, str(Path(__file__).parent / "imports_driver.py"), str(tmp_path)],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["decisions"] == 4 and found["by"] == ["ppo"]
    assert found["forbidden"] == [] and found["our_pickles"] == []
    assert all(name.startswith("numba.") for name in found["unpicklers"])
    assert "agents.network_policy" in found["ours"] and "runtime.autoscaler.process" in found["ours"]
