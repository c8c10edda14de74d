"""Gymnasium-style environments without inner updates: the plain deep GA, in NumPy only.

Source: Such et al. 2017 (arXiv 1712.06567); the policy is deterministic, as theirs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gamaml import streams
from gamaml.config import Config
from gamaml.envs.spaces import Spaces, spaces_of
from gamaml.policies import mlp
from gamaml.policies.vector import ParameterVector
from gamaml.types import Evaluation, EvaluationKey, Float32Array, HostTask

_MAX_SEED = 2**31
"""Environments take seeds below this; some still store them in 32 signed bits."""


class Episode(NamedTuple):
    """The outcome of one episode: the sum of its rewards, and its number of steps."""

    total_reward: float
    steps: int


class HostProblem:
    """The fitness of a policy network: the mean return over `inner.num_tasks` x `inner.episodes` episodes.

    Where the task has no `sample`, one environment is made and reset with a fresh seed for every episode;
    otherwise one is made, and closed, per sampled task.

    Args:
        definition: with `make_env(task)` and optionally `sample(generator)`.
        config: the run's config; `inner.rounds` is 0.
    """

    num_rounds = 0
    scalars: tuple[str, ...] = ()
    metric = "return"

    def __init__(self, definition: HostTask, config: Config) -> None:
        self._definition = definition
        self._sample: Any = getattr(definition, "sample", None)  # the user's optional method
        self._policy, self._inner = config.policy, config.inner
        self._env: Any = None  # the environment that is kept, if the task is always the same
        task = None if self._sample is None else self._sample(streams.generator(np.zeros(2, np.uint32)))
        env = self._open(task)
        self._spaces: Spaces = spaces_of(env, f"task {config.task.name!r}")
        self._close(env)
        shapes = mlp.shapes(self._spaces.observation_size, *self._policy.hidden, self._spaces.num_outputs)
        self._vector = ParameterVector.of(shapes, self._inner, self._policy, stochastic=False)
        self._initialise = self._vector.fan_in_initialiser(self._policy.activation, self._policy.output_scale)
        self.num_params = self._vector.size
        self.scale = self._vector.scale(config.ga)

    def initial(self, noise: Float32Array) -> Float32Array:
        """Turn standard normal noise, float32[num_params], into initial parameters, float32[num_params]."""
        return self._vector.initial(noise, self._initialise)

    def evaluate(self, params: Float32Array, key: EvaluationKey) -> Evaluation:
        """Return the fitness of `params`, float32[num_params]; a pure function of its arguments."""
        arrays = self._vector.network.unflatten(params)
        tasks, seeds = streams.generator(key.task), streams.generator(key.episode)
        episodes: list[Episode] = []
        for _ in range(self._inner.num_tasks):
            env = self._open(None if self._sample is None else self._sample(tasks))
            for seed in seeds.integers(_MAX_SEED, size=self._inner.episodes):
                episodes.append(play(env, self._spaces, arrays, self._policy.activation, int(seed)))
            self._close(env)
        mean = float(np.mean([episode.total_reward for episode in episodes]))
        return Evaluation(mean, np.array([mean], np.float32), sum(episode.steps for episode in episodes))

    def _open(self, task: Any) -> Any:  # the user's task in, an environment out
        if self._sample is not None:
            return self._definition.make_env(task)
        if self._env is None:
            self._env = self._definition.make_env(None)
        return self._env

    def _close(self, env: Any) -> None:  # an environment
        if self._sample is not None and hasattr(env, "close"):
            env.close()


def play(env: Any, spaces: Spaces, arrays: dict[str, Any], activation: str, seed: int) -> Episode:
    """Play one episode, to its termination or truncation by the environment.

    Args:
        env: a Gymnasium-like environment.
        spaces: its spaces.
        arrays: the network, float32, named as by `mlp.shapes`.
        activation: "relu" or "tanh".
        seed: of the episode.
    """
    observation, _ = env.reset(seed=seed)
    total_reward, steps, ended = 0.0, 0, False
    while not ended:
        flat = np.asarray(observation, np.float32).reshape(-1)
        action = spaces.to_action(mlp.apply_numpy(arrays, flat, activation))
        observation, reward, terminated, truncated, _ = env.step(action)
        total_reward += float(reward)
        steps += 1
        ended = bool(terminated or truncated)
    return Episode(total_reward, steps)
