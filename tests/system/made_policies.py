"""Policies for tests: what they want follows from the time alone, so that every process wants the same."""

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


class Changes(Rounds):
    """Out and in, another batch, another variant, both at once, and another size: see `scenarios/echo.yaml`."""

    LEVELS = ((1, 0, 0, 0, 0), (3, 0, 0, 0, 0), (1, 1, 0, 0, 0), (0, 2, 0, 0, 0), (0, 0, 2, 0, 0), (0, 0, 0, 1, 0),
              (0, 0, 0, 0, 1), (0, 0, 0, 0, 2))
    EACH = 2


class OutAndIn(Rounds):
    """Never the same twice in a row: a hold is seen at once."""

    LEVELS = ((1, 0, 0, 0, 0), (2, 0, 0, 0, 0))
