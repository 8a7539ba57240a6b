"""`tidal/Serving-v0`: autoscaling of one inference-serving cluster, request by request."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from envs.actions import Mode
from envs.contract import Policy
from envs.decision_process import DecisionProcess
from envs.render import StripChart
from envs.scenario import Scenario
from traces.load import Load


class ServingEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """
    ## Description

    A cluster answers requests for machine-learning models. Each service can be answered by several *variants* of a model,
    small and quick or large and accurate, and its replicas take time to load. Once an interval (30 s in `resnet-variants`)
    the agent decides which replicas there are to be; the load changes as in a recorded or generated trace, and no request
    waits for a decision. Requests are simulated one by one: queues, batches, cold starts, draining replicas, admission
    (docs/simulator.md).

    ```python
    import gymnasium, envs
    env = gymnasium.make("tidal/Serving-v0", scenario="resnet-variants")  # or "envs:tidal/Serving-v0" without `import envs`
    many = gymnasium.make_vec("tidal/Serving-v0", num_envs=64, scenario="resnet-variants")
    ```

    ## Action Space

    `MultiDiscrete`, one entry for each candidate of the scenario, in its order. A *level* is a candidate's count of replicas,
    or, where the scenario gives it several sizes, the size of its one replica (0: none, i: its i-th size).

    | `action_mode` | entry | meaning |
    |---|---|---|
    | `"absolute"` | 0 .. highest level | the level wanted |
    | `"delta"` | 0, 1, 2 | one level less than the deployment in force, the same, one more |
    | `"residual"` | 0, 1, 2 | the same, from what `base_policy` decides on what it sees |

    Levels that are together beyond the budget, or that do not fit its nodes, are lowered to the nearest feasible ones by the
    rule of the envelope (`envs.envelope.project`); `info["projected"]` says so. `action_masks()` tells which values make
    sense by themselves, a flat bool vector of `sum(nvec)`. Each service's load as last observed, x 1.4, is routed to the
    wanted replicas, the most accurate first, each up to its capacity; beyond that, and where the load is missing, by capacity
    (`envs.routes`). A base policy's own routes are kept where its levels are unchanged.

    ## Observation Space

    `Box(0, 1, (D,), float32)`: what a scrape of the cluster's metrics shows at the time of decision, with its delay and
    gaps, not the simulator's truth. What is missing is 0 and has a flag beside it. `observation_names()` names every entry;
    the scales, all of them constants of the scenario, are in `envs.layout` (layout version 1).

    | entries | for each | number |
    |---|---|---|
    | `load`, `load_known` | application and interval, 11 .. 0 ago | offered load; whether it was seen |
    | `violations`, `accuracy`, `settled` | application | not answered within the SLO; accuracy; whether any settled |
    | `p50`, `p95`, `p99`, `answered` | application | latency over SLO; whether there were answers |
    | `queue` | service | waiting requests, in time to work them off |
    | `level` | candidate | level of the deployment in force |
    | `ready`, `pending`, `draining` | candidate | share of the budget held |
    | `busy`, `capacity`, `loading` | candidate | server time computing; capacity ready; progress of the oldest load |
    | `cold_start` | variant | last measured load time |
    | `price` | device type | price |
    | `weight_accuracy`, `_cost`, `_slo`, `_change` | | weights of the reward |
    | `age`, `seen` | | age of the newest sample; whether there is one |

    ## Rewards

    `w_accuracy * accuracy - w_cost * cost - w_slo * violation_ratio - w_change * change`, of the interval as it really was:

    - `accuracy`: sum of the accuracies of answers within the SLO / settled requests;
    - `cost`: price x unit-seconds held / the whole budget for the interval;
    - `violation_ratio`: settled requests that were late, rejected, dropped or failed / settled requests;
    - `change`: the longest load time that was started / the longest in the scenario.

    The weights are the scenario's. The terms are in `info`, which has besides: `offered_rps`, `settled`, `p50_s`, `p95_s`,
    `p99_s` (of the slowest application, nan without answers), `queue` (requests waiting), `ready_replicas`,
    `pending_replicas`, `draining_replicas`, `projected`.

    ## Starting State

    The scenario's initial deployment is ready, nothing waits, and the first observation is all missing but for what was
    decided. The episode begins at a place of the load that follows, with all its randomness, from the seed and the number of
    the episode; `reset` tells `offset_s`, `load_scale` and `cluster_seed` in `info`. `reset(seed=s)` begins the first
    episode of s, `reset()` the next one.

    ## Episode End

    Never terminated: a cluster has no last state. Truncated after the scenario's `episode_intervals`; bootstrap from the last
    observation.

    ## Arguments

    | argument | default | meaning |
    |---|---|---|
    | `scenario` | `"resnet-variants"` | a built-in scenario's name, a YAML file's path, or an `envs.scenario.Scenario` |
    | `action_mode` | `"absolute"` | `"absolute"`, `"delta"` or `"residual"` |
    | `base_policy` | `None` | for `"residual"`: an `envs.contract.Policy`, which is copied |
    | `loads` | `None` | by application, `traces.load.Load`; None: the training part of the scenario's own |
    | `load_scale` | `(1.0, 1.0)` | range of the factor on the load, drawn log-uniformly for each episode |
    | `render_mode` | `None` | `"rgb_array"`, `"human"`: a strip chart of load, capacity, queue, p99; `"ansi"`: a line |

    ## Vectorized environment

    `gymnasium.make_vec` makes `ServingVectorEnv`: all clusters in one kernel call, autoreset in the same step, on one
    thread. With equal seeds and actions, cluster i is the same to the bit whatever the number of clusters, and cluster 0 is
    this environment.

    ## Version History

    - v0: first version, observation layout 1.
    """

    metadata = {"render_modes": ["rgb_array", "human", "ansi"], "render_fps": 10}  # noqa: RUF012

    def __init__(
        self,
        *,
        scenario: str | Path | Scenario = "resnet-variants",
        action_mode: Mode = "absolute",
        base_policy: Policy | None = None,
        loads: Mapping[str, Load] | None = None,
        load_scale: tuple[float, float] = (1.0, 1.0),
        render_mode: str | None = None,
    ) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ValueError(f"render_mode '{render_mode}': give one of {', '.join(self.metadata['render_modes'])}, or None")
        self.process = DecisionProcess(scenario, 1, action_mode, base_policy, loads, load_scale)
        self.observation_space = Box(0.0, 1.0, (self.process.layout.size,), np.float32)
        self.action_space = self.process.actions.space
        self.render_mode = render_mode
        self._chart = StripChart(self.process.scenario) if render_mode else None
        self._seed: int | None = None
        self._episode = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts the first episode of a seed; without a seed, the next episode of the seed in use. Options are not used."""
        super().reset(seed=seed)
        if seed is not None or self._seed is None:
            self._seed, self._episode = int(self.np_random.integers(2**31)) if seed is None else seed, 0
        else:
            self._episode += 1
        infos = self.process.begin([(self._seed, 0, self._episode)])
        if self._chart:
            self._chart.clear()
        return self.process.observation[0], _single(infos)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One interval under an action (candidates,)."""
        rewards, infos = self.process.step(np.asarray(action)[None])
        if self._chart:
            self._chart.add(self.process.clusters, 0)
            if self.render_mode == "human":
                self._chart.show()
        return self.process.observation[0], float(rewards[0]), False, self.process.done, _single(infos)

    def action_masks(self) -> np.ndarray:
        """Which values of the next action make sense, bool (sum of nvec,): candidate by candidate, value by value."""
        return self.process.masks()[0]

    def observation_names(self) -> tuple[str, ...]:
        """What each entry of an observation is."""
        return self.process.layout.names

    def render(self) -> Any:
        """The strip chart: (height, width, 3) uint8, or a line of text; nothing in mode ``human``, which shows every step."""
        if self._chart is None or self.render_mode == "human":
            return None
        return self._chart.text() if self.render_mode == "ansi" else self._chart.pixels()

    def close(self) -> None:
        """Frees the figure."""
        if self._chart:
            self._chart.close()


def _single(infos: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The infos of the one cluster, as plain numbers."""
    return {name: value[0].item() for name, value in infos.items()}
