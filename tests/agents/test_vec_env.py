"""Stable-Baselines3 on the native vector environment."""

import contextlib

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecMonitor

from agents.checkpoint import restore, save
from agents.imitation import imitate, watch
from agents.ppo import PPOSettings, layers_of, make_ppo
from baselines.static import Static


def play(environment, steps):
    """Observations as they were when they came, and the infos of the last step."""
    rng, seen = np.random.default_rng(0), [environment.reset().copy()]
    for _ in range(steps):
        observations, rewards, done, infos = environment.step(rng.integers(environment.action_space.nvec, size=(4, 3)))
        seen.append(observations.copy())
    return seen, rewards, done, infos


def test_an_observation_stays_as_it_was_until_after_the_next_step(environment):
    envs = environment()
    envs.seed(3)
    before = envs.reset()
    kept = before.copy()
    envs.step(np.zeros((4, 3), int))
    np.testing.assert_array_equal(before, kept)


def test_the_end_of_an_episode_is_told_as_sb3_expects_it(environment):
    envs = environment()
    envs.seed(3)
    seen, _, done, infos = play(envs, 12)
    assert done.all()
    assert all(info["TimeLimit.truncated"] and info["episode"]["l"] == 12 for info in infos)
    assert not np.array_equal(infos[0]["terminal_observation"], seen[-1][0])


def test_returns_are_those_of_vec_monitor(environment):
    plain, watched = environment(), VecMonitor(environment())
    for envs in (plain, watched):
        envs.seed(5)
    infos = [play(envs, 12)[3] for envs in (plain, watched)]
    for mine, theirs in zip(*infos):
        assert abs(mine["episode"]["r"] - theirs["episode"]["r"]) < 1e-5
        assert mine["episode"]["l"] == theirs["episode"]["l"]


def test_seeds_give_the_same_episodes(environment):
    rollouts = []
    for _ in range(2):
        envs = environment()
        envs.seed(9)
        rollouts.append(play(envs, 15)[0])
    for a, b in zip(*rollouts, strict=True):
        np.testing.assert_array_equal(a, b)


def test_masks_come_one_for_each_cluster(environment):
    envs = environment()
    envs.reset()
    assert [mask.tolist() for mask in envs.env_method("action_masks")] == [[True] * 9] * 4


def test_a_run_that_goes_on_from_a_checkpoint_is_the_run_that_was_not_interrupted(environment, tmp_path):
    settings = PPOSettings(clusters=4, rollout_intervals=12, epochs=2)
    rollout = 4 * 12

    def model():
        envs = environment()
        return envs, make_ppo(settings, envs, seed=2)

    _, whole = model()
    whole.learn(4 * rollout)
    envs, first = model()
    first._total_timesteps = 4 * rollout

    class Stop(BaseCallback):
        """Saves and stops before the third rollout."""

        def _on_rollout_start(self):
            if self.num_timesteps == 2 * rollout:
                save(tmp_path / "checkpoint.pt", self.model, envs)
                raise KeyboardInterrupt

        def _on_step(self):
            return True

    with contextlib.suppress(KeyboardInterrupt):
        first.learn(4 * rollout, callback=Stop())
    envs, second = model()
    restore(tmp_path / "checkpoint.pt", second, envs)
    assert second.num_timesteps == 2 * rollout
    second.learn(2 * rollout, reset_num_timesteps=False)
    for a, b in zip(layers_of(whole), layers_of(second), strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1], b[1])


def test_a_network_that_imitates_does_what_its_teacher_did(environment, scenario, loads):
    teacher = Static(levels=[0, 1, 1])
    lessons = watch(teacher, scenario, loads, clusters=4, episodes=2, seed=0, load_scale=(1.0, 1.0), gamma=0.5)
    assert lessons.observations.shape[0] == 2 * 4 * scenario.episode_intervals == len(lessons.returns)
    assert (lessons.actions == [0, 1, 1]).all()
    assert np.abs(lessons.returns).max() < 2.2  # rewards between -1.1 and 1, of which two count at this discount
    model = make_ppo(PPOSettings(clusters=4, rollout_intervals=12), environment(), seed=0)
    likelihood = imitate(model, lessons, epochs=60)
    assert likelihood > -0.5  # a chance above 60 % of all three levels
    levels, _ = model.predict(lessons.observations, deterministic=True)
    np.testing.assert_array_equal(levels, lessons.actions)
