"""The policy of a trial: it wants something else all the time, so that each of its decisions acts."""

from __future__ import annotations

import os

import numpy as np

from envs.contract import Decision, Observation, Policy
from envs.scenario import Scenario
from runtime.chaos.faults import on_ray

SEED = "TIDAL_CHAOS_SEED"  # names the seed, in the environment
RAY_DECISIONS = 20  # for which a wish stays: a worker of Ray imports all that it needs, for seconds


class Wishes(Policy):
    """What it wants follows from the seed and the time alone, so that every process wants the same."""

    memory_intervals = 1

    def reset(self, scenario: Scenario) -> None:
        """See `Policy`."""
        self._scenario, self._seed = scenario, int(os.environ[SEED])

    def decide(self, observation: Observation) -> Decision:
        """See `Policy`."""
        number = round(observation.t_s / self._scenario.interval_s) // (RAY_DECISIONS if on_ray(self._seed) else 1)
        generator = np.random.default_rng((self._seed, number))
        levels = tuple(int(generator.integers(candidate.levels)) for candidate in self._scenario.candidates)
        return Decision(self._scenario.deployment(levels), f"wish {levels}")
