"""Policies for tests: what they want follows from the time alone, so that every process wants the same."""

import os
from dataclasses import replace
from pathlib import Path

from envs.contract import Decision, Policy


class Rounds(Policy):
    """Goes round the deployments of `LEVELS`, each for `EACH` intervals."""

    memory_intervals = 1
    LEVELS, EACH = (), 1

    def reset(self, scenario):
        self._scenario = scenario

    def decide(self, observation):
        number = round(observation.t_s / self._scenario.interval_s)
        levels = self.LEVELS[number // self.EACH % len(self.LEVELS)]
        return Decision(self._scenario.deployment(levels), f"round {number}: {levels}")


class Changes(Policy):
    """Out and in, another batch, another variant, both at once, another size, and again: see `scenarios/echo.yaml`.

    One after the other, each once the one before is there.
    """

    memory_intervals = 1
    LEVELS = ((3, 0, 0, 0, 0), (1, 1, 0, 0, 0), (0, 2, 0, 0, 0), (0, 0, 2, 0, 0), (0, 0, 0, 1, 0), (0, 0, 0, 0, 1),
              (0, 0, 0, 0, 2), (1, 0, 0, 0, 0))

    def reset(self, scenario):
        self._scenario, self._next = scenario, 0

    def decide(self, observation):
        ready = {kind: int(row.ready) for kind, row in observation.kinds.items() if row.ready > 0}
        if ready != dict(observation.deployment.replicas):
            return Decision(observation.deployment, "waits")
        levels = self.LEVELS[self._next % len(self.LEVELS)]
        self._next += 1
        return Decision(self._scenario.deployment(levels), f"now {levels}")


class OutAndIn(Rounds):
    """Never the same twice in a row: a hold is seen at once."""

    LEVELS = ((1, 0, 0, 0, 0), (2, 0, 0, 0, 0))


class Steps(Rounds):
    """Four intervals at each of three deployments."""

    LEVELS, EACH = ((3, 0, 0, 0, 0), (0, 0, 4, 0, 0), (0, 3, 0, 0, 0)), 4


class StepsFromStart(Steps):
    """The same from the time on that the file `STEPS_START` holds, once it is there."""

    def decide(self, observation):
        file = Path(os.environ["STEPS_START"])
        after_s = observation.t_s - float(file.read_text()) if file.exists() else -1.0
        if after_s < 0:
            return Decision(self._scenario.initial_deployment, "not yet")
        return super().decide(replace(observation, t_s=after_s))
