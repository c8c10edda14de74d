"""Gymnasium-style environments without inner updates: the plain deep GA, in NumPy only.

Source: Such et al. 2017 (arXiv 1712.06567); the policy is deterministic, as theirs, unless the config says otherwise.
"""

from __future__ import annotations

import contextlib
import faulthandler
import math
import time
from collections.abc import Generator, Mapping
from typing import Any

import numpy as np

from gamaml import streams
from gamaml.config import Config
from gamaml.envs.server import repeats
from gamaml.envs.spaces import spaces_of
from gamaml.errors import GamamlError, OverdueError
from gamaml.policies import networks
from gamaml.policies.vector import ParameterVector
from gamaml.types import Evaluation, EvaluationKey, Float32Array, HostTask

_MAX_SEED = 2**31
"""Environments take seeds below this; some still store them in 32 signed bits."""

_HUNG_SECONDS = 10.0
"""A step that goes on this long after `env.max_seconds` is taken for hung, and the process ends where it is."""

_FEW = 24
"""Entries up to which Python adds them faster than a call to NumPy begins."""

_CLIP = 5.0
_SMALLEST_STD = 1e-6


class EnvironmentFault(GamamlError):
    """An environment raised, gave a number that is not finite, crashed, or went on for too long."""


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
        self._env_config, self._policy, self._inner = config.env, config.policy, config.inner
        self._subject, self._seed = config.subject, config.seed
        self._env: Any = None  # the environment that is kept, if the task is always the same
        self._steps = 0
        env = self._open(None if self._sample is None else self._sample(streams.generator(np.zeros(2, np.uint32))))
        self._spaces = spaces_of(env, f"task {config.subject!r}")
        libraries: Mapping[str, str] = getattr(env, "library_versions", {})
        self.environment_versions = {f"env.{name}": version for name, version in libraries.items()}
        self.reproducible = bool(getattr(definition, "reproducible", True)) and repeats(env)
        self._close(env)
        self._network = networks.make(self._policy, self._spaces.observation_shape, self._spaces.num_outputs)
        stochastic = self._policy.sampled and self._spaces.first_action is None
        self._vector = ParameterVector.of(self._network.shapes, self._inner, self._policy, stochastic=stochastic)
        self._initialise = self._vector.named_initialiser(self._network.initial)
        self.num_params = self._vector.size
        self.scale = self._vector.scale(config.ga)
        self.libraries: tuple[str, ...] = tuple(getattr(definition, "libraries", ()))
        self._mean = self._inverse_std = np.float32(0)

    def initial(self, noise: Float32Array) -> Float32Array:
        """Turn standard normal noise, float32[num_params], into initial parameters, float32[num_params]."""
        return self._vector.initial(noise, self._initialise)

    def arrays(self, params: Float32Array) -> dict[str, Float32Array]:
        """Return what a policy's parameters, float32[num_params], mean: its network's arrays, and `std` if it draws."""
        learning = self._vector.split(params)
        network: dict[str, Float32Array] = self._vector.network.unflatten(learning.network)
        draws_around = self._policy.sampled and self._spaces.first_action is None
        return {**network, "std": learning.std} if draws_around else network

    def measure_constants(self) -> dict[str, Float32Array]:
        """Return what every rank has to use alike: means and stds of the observations of random steps.

        A function of the run's seed alone. Empty without `env.normalise_steps`.
        """
        if self._env_config.normalise_steps == 0:
            return {}
        key = streams.key(self._seed, streams.Purpose.NORMALISE)
        random, seen = streams.generator(key), list[Float32Array]()
        while len(seen) < self._env_config.normalise_steps:
            env = self._open(None if self._sample is None else self._sample(random))
            observation, ended = _reset(env, int(random.integers(_MAX_SEED))), False
            while not ended and len(seen) < self._env_config.normalise_steps:
                seen.append(_flat(observation))
                observation, _, ended = _step(env, self._spaces.random_action(random))
            self._close(env)
        observations = np.stack(seen).astype(np.float64)
        std = observations.std(axis=0)
        # What never changes in random steps is left in its own units.
        std[std < _SMALLEST_STD] = 1.0
        return {
            "observation_mean": observations.mean(axis=0).astype(np.float32),
            "observation_std": std.astype(np.float32),
        }

    def use_constants(self, constants: Mapping[str, Float32Array]) -> None:
        """Take over the constants of the run, from `measure_constants` on rank 0 or from the run file."""
        if constants:
            self._mean = np.asarray(constants["observation_mean"], np.float32)
            self._inverse_std = 1 / np.asarray(constants["observation_std"], np.float32)

    def evaluate(self, params: Float32Array, key: EvaluationKey) -> Evaluation:
        """Return the fitness of `params`, float32[num_params]; a pure function of its arguments."""
        learning = self._vector.split(params)
        self._network.load(self._vector.network.unflatten(learning.network))
        random = streams.generator(key.episode)
        tasks = None if self._sample is None else streams.generator(key.task)
        # All seeds first, so that they do not depend on how many actions are drawn.
        seeds = random.integers(_MAX_SEED, size=(self._inner.num_tasks, self._inner.episodes))
        rewards: list[float] = []
        self._steps = 0
        try:
            for seeds_of_task in seeds.tolist():
                env = self._open(None if self._sample is None else self._sample(tasks))
                for seed in seeds_of_task:
                    rewards.append(self._play(env, seed, float(learning.std), random))
                self._close(env)
        except EnvironmentFault:
            self._abandon()
            if self._env_config.on_fault == "stop":
                raise
            return Evaluation(math.nan, np.array([math.nan], np.float32), self._steps, fault=True)
        mean = float(np.mean(rewards))
        return Evaluation(mean, np.array([mean], np.float32), self._steps)

    def _play(self, env: Any, seed: int, std: float, random: np.random.Generator) -> float:
        """Play one episode, to its end or to `env.max_steps`; return the sum of its rewards."""
        config, spaces, forward = self._env_config, self._spaces, self._network
        sampled, normalises = self._policy.sampled, self._env_config.normalise_steps > 0
        last = math.inf if config.max_steps is None else self._steps + config.max_steps
        deadline = None if config.max_seconds is None else time.monotonic() + config.max_seconds
        total_reward, ended = 0.0, False
        with _watchdog(config.max_seconds):
            observation = _reset(env, seed)
            while not ended and self._steps < last:
                if normalises:
                    observation = np.clip((_flat(observation) - self._mean) * self._inverse_std, -_CLIP, _CLIP)
                outputs = forward(observation)
                action = spaces.draw(outputs, std, random) if sampled else spaces.act(outputs)
                observation, reward, ended = _step(env, action)
                total_reward += reward
                self._steps += 1
                if deadline is not None and time.monotonic() > deadline:
                    raise OverdueError(
                        f"{self._subject}, episode of seed {seed}: expected its end within "
                        f"env.max_seconds={config.max_seconds}, got {self._steps} steps without it; raise the limit"
                    )
        if not ended and config.cut_is_fault:
            raise EnvironmentFault(
                f"{self._subject}, episode of seed {seed}: expected its end within env.max_steps={config.max_steps}, "
                "got none"
            )
        return total_reward

    def _open(self, task: Any) -> Any:  # the user's task in, an environment out
        if self._sample is not None:
            return self._definition.make_env(task)
        if self._env is None:
            self._env = self._definition.make_env(None)
        return self._env

    def _close(self, env: Any) -> None:  # an environment
        if self._sample is not None and hasattr(env, "close"):
            env.close()

    def _abandon(self) -> None:
        """Forget the environment that failed: the next episode gets a new one."""
        env, self._env = self._env, None
        with contextlib.suppress(Exception):  # it may be broken in any way
            env.close()


def _reset(env: Any, seed: int) -> Any:  # an environment in, an observation out
    try:
        observation, _ = env.reset(seed=seed)
    except OverdueError:
        raise
    except Exception as error:
        raise EnvironmentFault(f"the environment's reset raised {type(error).__name__}: {error}") from error
    return _checked(observation)


def _step(env: Any, action: Any) -> tuple[Any, float, bool]:  # observation, reward, and whether the episode is over
    try:
        observation, reward, terminated, truncated, _ = env.step(action)
        reward = float(reward)
    except OverdueError:
        raise
    except Exception as error:
        raise EnvironmentFault(f"the environment's step raised {type(error).__name__}: {error}") from error
    if not math.isfinite(reward):
        raise EnvironmentFault(f"the environment gave a reward of {reward}")
    return _checked(observation), reward, bool(terminated or truncated)


def _checked(observation: Any) -> Any:  # an array, or what becomes one
    array = np.asarray(observation)
    if array.dtype.kind == "f":
        # Only where a sum, which is quick, says that something may be wrong.
        few = array.ndim == 1 and array.size <= _FEW
        total = sum(array.tolist()) if few else np.vdot(array, array)
        if not math.isfinite(total) and not np.isfinite(array).all():
            raise EnvironmentFault("the environment gave an observation that is not finite")
    return array


def _flat(observation: Any) -> Float32Array:  # an array
    return np.asarray(observation, np.float32).reshape(-1)


@contextlib.contextmanager
def _watchdog(seconds: float | None) -> Generator[None, None, None]:
    """End the process, with a traceback of where it is, if the body hangs in one step."""
    if seconds is None:
        yield
        return
    faulthandler.dump_traceback_later(seconds + _HUNG_SECONDS, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
