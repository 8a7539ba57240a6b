"""Hundreds of decisions with everything failing at random: what must never happen does not, by the history that is left."""

import math
from dataclasses import replace

import numpy as np
import pytest
from autoscaling import autoscaler, host, journaled, run
from simulated_service import FakeClock

from baselines.static import Static
from envs.contract import Decision, Policy
from envs.envelope import Limits
from envs.observation import missing_observation
from envs.scenario_file import load
from runtime.actuators.actuator import ActuatorError, InForce, Outcome
from runtime.autoscaler.journal import Journal
from runtime.deployment_json import from_json

SCENARIO = load("live-demo")
ALL = [SCENARIO.deployment((a, b, c)) for a in range(3) for b in range(3) for c in range(3)]
LIMITS = Limits(max_levels=(2, 2, 1), max_rise=1, max_fall=1, change_window_s=10)
DECISIONS = 250


class Crash(BaseException):
    """The process dies here."""


class World:
    """A cluster, its metrics and its operator, all of them unreliable; it keeps the history of what was accepted."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.in_force = InForce(SCENARIO.initial_deployment, "1")
        self.told, self.accepted = [], []  # what was in force before, and after, each accepted decision
        self.bad_times = set()  # of observations that must not be acted on
        self.trouble = ""

    def happens(self, probability):
        return self.rng.random() < probability

    def read(self, t_s, deployment):
        seen = missing_observation(SCENARIO, SCENARIO.kinds, deployment, t_s)
        kind = self.rng.integers(4)
        rps = math.nan if kind == 1 else self.rng.uniform(0, 200)
        age_s = [1.0, 1.0, math.nan, 7.0][kind] if self.happens(0.3) else 1.0
        if math.isnan(rps) or not age_s <= 5:
            self.bad_times.add(t_s)
        return replace(seen, age_s=age_s, services={"classify": replace(seen.services["classify"], offered_rps=rps)})

    def current(self):
        if self.happens(0.05):
            self._put(ALL[self.rng.integers(len(ALL))], "an operator")
        if self.happens(0.1):
            raise ActuatorError("nobody there")
        return self.in_force

    def apply(self, deployment, version, decision_id, grounds):
        if self.happens(0.03):
            raise Crash
        if self.happens(0.05):
            return Outcome("unknown", "", "the request was lost")
        if decision_id != self.in_force.decision_id:
            if version != self.in_force.version:
                return Outcome("conflict", self.in_force.version, "another version")
            before = self.in_force
            self._put(deployment, decision_id)
            self.accepted.append((before, self.in_force))
        if self.happens(0.03):
            raise Crash
        if self.happens(0.05):
            return Outcome("unknown", "", "the answer was lost")
        return Outcome("applied", self.in_force.version)

    def tell(self, account):
        self.told.append(account)
        if self.happens(0.01):
            raise Crash

    def _put(self, deployment, decision_id):
        self.in_force = InForce(deployment, str(int(self.in_force.version) + 1), decision_id)


class Erratic(Policy):
    memory_intervals = 2

    def __init__(self, rng):
        self._rng = rng

    def reset(self, scenario):
        pass

    def decide(self, observation):
        if self._rng.random() < 0.1:
            raise ArithmeticError("no idea")
        if self._rng.random() < 0.05:
            return "no decision"
        return Decision(ALL[self._rng.integers(len(ALL))], "by chance")


def play(folder, seed):
    """The world after so many times of decision, and how many processes that took."""
    world, t_s, processes = World(seed), 0.0, 0

    class DyingJournal(Journal):
        def append(self, record):
            if world.happens(0.02):
                raise Crash
            if world.happens(0.02):
                raise OSError(28, "No space left on device")
            super().append(record)

    while t_s <= 5.0 * DECISIONS:
        processes += 1
        clock = FakeClock(t_s, 5.0 * DECISIONS)
        scaler = autoscaler(SCENARIO, host(Erratic(world.rng), SCENARIO, Static()), world, world, folder, clock,
                            limits=LIMITS, open_journal=DyingJournal)
        try:
            run(scaler)
            break
        except Crash:
            scaler._journal.close()
            t_s = clock.now_s() + float(world.rng.choice([0.0, 1.0, 5.0, 12.0]))
    return world, processes


@pytest.mark.parametrize("seed", range(4))
def test_what_must_never_happen(tmp_path, seed):
    world, processes = play(tmp_path, seed)
    assert processes > 5 and len(world.accepted) > 40 and world.bad_times  # there was something to survive

    ids = [after.decision_id for _, after in world.accepted]
    assert len(set(ids)) == len(ids)  # no decision was carried out twice
    numbers = [int(id_.partition("/")[2]) for id_ in ids]
    assert numbers == sorted(numbers)  # nor an old one after a newer one
    for before, after in world.accepted:
        assert after.deployment.units("cpu") <= 2  # never over budget
        old, new = SCENARIO.levels(before.deployment), SCENARIO.levels(after.deployment)
        assert all(n <= max(o, high) for n, o, high in zip(new, old, LIMITS.max_levels))  # none is raised above its bound
        assert all(n <= o + 1 for n, o in zip(new, old))  # nor by more than one step

    intents = {i["decision_id"]: i for i in journaled(tmp_path)}
    lost = [id_ for id_ in ids if id_ not in intents]  # their lines did not fit on the disk
    assert len(lost) <= len(ids) / 10
    for _, after in world.accepted:
        if after.decision_id in intents:
            intent = intents[after.decision_id]
            assert from_json(intent["deployment"]) == after.deployment and int(intent["version"]) == int(after.version) - 1
    for intent in intents.values():  # on missing or stale metrics nothing changes, unless the budget has it so
        here = from_json(intent["observation"]["deployment"])
        if intent["t_s"] in world.bad_times and here.units("cpu") <= 2:
            assert from_json(intent["deployment"]) == here and not intent["acts"]
    assert len(journaled(tmp_path)) == len(intents)  # each time was decided on once


def test_the_same_world_has_the_same_history(tmp_path):
    one, other = play(tmp_path / "one", 1), play(tmp_path / "other", 1)
    assert [after.deployment for _, after in one[0].accepted] == [after.deployment for _, after in other[0].accepted]
