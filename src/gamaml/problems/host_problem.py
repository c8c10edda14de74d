"""Gymnasium-style environments as problems, stepped on the host with a policy in NumPy.

Without inner updates it is the plain deep GA (Such et al. 2017, arXiv 1712.06567), whose policy is deterministic, as
theirs, unless the config says otherwise. With them, the updates come from `maml`: only they need JAX.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from gamaml.config import Config
from gamaml.envs.server import repeats
from gamaml.envs.spaces import Spaces, spaces_of
from gamaml.errors import ConfigError
from gamaml.evolution import streams
from gamaml.policies import mlp, networks
from gamaml.policies.flat import Layout
from gamaml.policies.vector import Learning, ParameterVector
from gamaml.problems.differentiated import Differentiated, Latest
from gamaml.rollouts.host_rollout import (
    MAX_SEED,
    EnvironmentFault,
    Player,
    Recording,
    flat,
    reset,
    step,
)
from gamaml.types import Evaluation, EvaluationKey, Float32Array, Float64Array, HostTask

_SMALLEST_STD = 1e-6

_LARGEST = 1e6
"""A parameter beyond it has diverged: the child has failed, and an environment shall not meet actions that overflow."""


class Learned(NamedTuple):
    """A network in the course of its updates.

    Attributes:
        network: float32[num_weights].
        state: the optimiser's.
    """

    network: Float32Array
    state: Any


class Updates(Protocol):
    """The inner updates."""

    def start(self, learning: Learning) -> Learned:
        """Return a candidate's network before the first update."""
        ...

    def update(self, learned: Learned, learning: Learning, recording: Recording) -> Learned:
        """Return the network after an update by the recorded episodes."""
        ...

    def gradient(
        self, learning: Learning, recordings: Sequence[Recording]
    ) -> tuple[Float32Array, Float32Array, Float32Array]:
        """Return the derivative of the loss after the last update, by network, step sizes and std.

        Args:
            learning: a candidate.
            recordings: of every round, that after the last update included.
        """
        ...

    def warm_up(self) -> None:
        """Compile."""
        ...


class Inner(NamedTuple):
    """What a host problem needs in order to have inner updates.

    Attributes:
        critic: whether there is a value network among the parameters.
        updates: (the network's layout, spaces, horizon) -> the updates.
    """

    critic: bool
    updates: Callable[[Layout, Spaces, int], Updates]


class HostProblem:
    """The fitness of a policy network: the mean return after the last round of the inner loop.

    It is the mean over `inner.num_tasks` x `inner.episodes` episodes. Where the task has no `sample`, one environment
    is made and reset with a fresh seed for every episode; with `sample` and `set_task`, one that is told its task;
    otherwise one is made, and closed, per sampled task.

    Args:
        definition: with `make_env(task)`; see `HostTask` for what is optional.
        config: the run's config.
        inner: where `inner.rounds` is not 0, the updates.
    """

    metric = "return"

    def __init__(self, definition: HostTask, config: Config, inner: Inner | None = None) -> None:
        self._definition: Any = definition  # with the user's optional methods
        self._config = config
        self.num_rounds = config.inner.rounds
        self._sampled_tasks = any(hasattr(definition, name) for name in ("sample", "sample_many"))
        self._keeps_env = not self._sampled_tasks or hasattr(definition, "set_task")
        self._env: Any = None  # the environment that is kept, if one serves all tasks
        env = self._open(self._draw_tasks(streams.generator(np.zeros(2, np.uint32)), 1)[0])
        self._spaces = spaces = spaces_of(env, f"task {config.subject!r}")
        libraries: Mapping[str, str] = getattr(env, "library_versions", {})
        self.environment_versions = {f"env.{name}": version for name, version in libraries.items()}
        self.reproducible = bool(getattr(definition, "reproducible", True)) and repeats(env)
        limits = [limit for limit in (config.env.max_steps, getattr(definition, "horizon", None)) if limit is not None]
        horizon = min(limits, default=None)
        if horizon is None and inner is not None:
            horizon = _own_limit(env, config)
        self._close(env)
        if config.env.normalise_steps and len(spaces.observation_shape) > 2:
            raise ConfigError(
                f"env.normalise_steps={config.env.normalise_steps}: expected observations that are no pictures, "
                f"got arrays of shape {spaces.observation_shape}; leave it out"
            )
        policy = config.policy
        self._network = networks.make(policy, spaces.observation_shape, spaces.num_outputs)
        sampled = policy.sampled or inner is not None
        self._player = Player(config.env, horizon, sampled, spaces, self._network, config.subject)
        shapes = dict(self._network.shapes)
        if inner is not None and inner.critic:
            shapes |= mlp.shapes(spaces.observation_size, *policy.hidden, 1, prefix=mlp.CRITIC)
        self._stochastic = stochastic = sampled and spaces.first_action is None
        self._vector = ParameterVector.of(shapes, config.inner, policy, stochastic=stochastic)
        self._initialise = self._vector.named_initialiser(self._network.initial)
        self.num_params = self._vector.size
        self.scalars = self._vector.scalars(config.inner)
        self.scale = self._vector.scale(config.ga)
        self.libraries: tuple[str, ...] = tuple(getattr(definition, "libraries", ()))
        self._updates: Updates | None = None
        self._recordings: list[Recording | None] = [None] * (self.num_rounds + 1)
        if inner is not None and horizon is not None:
            self._updates = inner.updates(self._vector.network, spaces, horizon)
            # A derivative needs the batches of all rounds. Updates need one at a time, and that of the last round not.
            own = [Recording.empty(config.inner.episodes, horizon, spaces) for _ in self._recordings]
            self._recordings = [*([own[0]] * self.num_rounds), None] if config.maml is None else [*own]
        self._differentiated = Latest(self._differentiate)

    def initial(self, noise: Float32Array) -> Float32Array:
        """Turn standard normal noise, float32[num_params], into initial parameters, float32[num_params]."""
        return self._vector.initial(noise, self._initialise)

    def arrays(self, params: Float32Array) -> dict[str, Float32Array]:
        """Return what a policy's parameters, float32[num_params], mean: the network's arrays, and the genes by name."""
        return self._vector.arrays(params, self._config.inner, stochastic=self._stochastic)

    def measure_constants(self) -> dict[str, Float32Array]:
        """Return what every rank has to use alike: means and stds of the observations of random steps.

        A function of the run's seed alone. Empty without `env.normalise_steps`.
        """
        number = self._config.env.normalise_steps
        if number == 0:
            return {}
        key = streams.key(self._config.seed, streams.Purpose.NORMALISE)
        random, seen = streams.generator(key), list[Float32Array]()
        while len(seen) < number:
            env = self._open(self._draw_tasks(random, 1)[0])
            observation, ended = reset(env, int(random.integers(MAX_SEED))), False
            while not ended and len(seen) < number:
                seen.append(flat(observation))
                observation, _, ended = step(env, self._spaces.random_action(random))
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
        self._player.use_constants(constants)

    def warm_up(self) -> None:
        """Compile the updates, or fetch them from the cache on disk, without evaluating anything."""
        if self._updates is not None:
            self._updates.warm_up()

    def evaluate(self, params: Float32Array, key: EvaluationKey) -> Evaluation:
        """Return the fitness of `params`, float32[num_params]; a pure function of its arguments."""
        if self._config.maml is not None:
            return self._differentiated(params, key).evaluation
        return self._play(params, key)

    def gradient(self, params: Float32Array, key: EvaluationKey) -> Float32Array:
        """Return the direction, float32[num_params], that improves the fitness after the last round.

        With strategy = "maml" only, whose evaluations compute it from their own episodes: that of the latest one costs
        nothing.

        Source: Finn et al. 2017, Algorithm 3, line 10, without the step.
        """
        return self._differentiated(params, key).gradient

    def _differentiate(self, params: Float32Array, key: EvaluationKey) -> Differentiated:
        total = np.zeros(self.num_params, np.float64)
        evaluation = self._play(params, key, total)
        return Differentiated(evaluation, (-total / self._config.inner.num_tasks).astype(np.float32))

    def _play(self, params: Float32Array, key: EvaluationKey, derivative: Float64Array | None = None) -> Evaluation:
        """Evaluate; add the derivative of the loss after the last round on each task to `derivative`, if asked to."""
        inner, player = self._config.inner, self._player
        learning = self._vector.split(params)
        random = streams.generator(key.episode)
        # All seeds first, so that they do not depend on how many actions are drawn.
        seeds = random.integers(MAX_SEED, size=(inner.num_tasks, inner.rounds + 1, inner.episodes))
        found = np.empty(seeds.shape, np.float64)
        player.steps = 0
        try:
            for index, task in enumerate(self._tasks_of(key, inner.num_tasks)):
                env = self._open(task)
                found[index] = self._adapt(env, learning, seeds[index], random)
                self._close(env)
                if derivative is not None:
                    derivative += self._gradient(learning) if np.isfinite(found[index]).all() else math.nan
        except EnvironmentFault:
            self._abandon()
            if self._config.env.on_fault == "stop":
                raise
            return self._evaluation(np.full(inner.rounds + 1, math.nan), learning, fault=True)
        means = np.array([found[:, rounds].ravel().mean() for rounds in range(inner.rounds + 1)])
        return self._evaluation(means, learning)

    def _adapt(
        self, env: Any, learning: Learning, seeds: npt.NDArray[np.int64], random: np.random.Generator
    ) -> Float64Array:
        """Run the inner loop on one task; return float64[rounds + 1, episodes], the returns of all episodes.

        Source: Finn et al. 2017, Algorithm 3, lines 5 to 8, repeated.
        """
        updates, std = self._updates, float(learning.std)
        learned = Learned(learning.network, None) if updates is None else updates.start(learning)
        found = np.empty(seeds.shape, np.float64)
        for rounds, seeds_of_round in enumerate(seeds.tolist()):
            if updates is not None and rounds > 0:
                batch = self._recordings[rounds - 1]
                assert batch is not None
                learned = updates.update(learned, learning, batch)
            if updates is not None and not np.abs(learned.network).max() < _LARGEST:  # NaN too
                found[rounds:] = math.nan
                break
            self._network.load(self._vector.network.unflatten(learned.network))
            recording = self._recordings[rounds]
            for episode, seed in enumerate(seeds_of_round):
                found[rounds, episode] = self._player.play(env, seed, std, random, recording, episode)
        return found

    def _gradient(self, learning: Learning) -> Float32Array:
        """Return the derivative, float32[num_params], of the loss after the last update on the task just played."""
        assert self._updates is not None
        batches = [recording for recording in self._recordings if recording is not None]
        return self._vector.gradient(learning, *self._updates.gradient(learning, batches))

    def _evaluation(self, means: Float64Array, learning: Learning, *, fault: bool = False) -> Evaluation:
        rows = Learning(*(part[None] for part in learning))
        scalars = self._vector.evolved(rows, 0)
        return Evaluation(float(means[-1]), means.astype(np.float32), self._player.steps, scalars, fault)

    def _tasks_of(self, key: EvaluationKey, number: int) -> Sequence[Any]:  # the user's tasks
        # Making a generator costs as much as two steps of CartPole.
        return self._draw_tasks(streams.generator(key.task), number) if self._sampled_tasks else [None] * number

    def _draw_tasks(self, generator: np.random.Generator, number: int) -> Sequence[Any]:  # the user's tasks
        if hasattr(self._definition, "sample_many"):
            tasks = self._definition.sample_many(generator, number)
            if len(tasks) != number:
                raise ConfigError(
                    f"task {self._config.subject!r}: expected sample_many(generator, {number}) to give {number} tasks, "
                    f"got {len(tasks)}; correct it"
                )
            return tasks
        return [self._definition.sample(generator) if self._sampled_tasks else None for _ in range(number)]

    def _open(self, task: Any) -> Any:  # the user's task in, an environment out
        if not self._keeps_env:
            return self._definition.make_env(task)
        if self._env is None:
            self._env = self._definition.make_env(task)
        if self._sampled_tasks:
            self._definition.set_task(self._env, task)
        return self._env

    def _close(self, env: Any) -> None:  # an environment
        if not self._keeps_env and hasattr(env, "close"):
            env.close()

    def _abandon(self) -> None:
        """Forget the environment that failed: the next episode gets a new one."""
        env, self._env = self._env, None
        with contextlib.suppress(Exception):  # it may be broken in any way
            env.close()


def _own_limit(env: Any, config: Config) -> int:  # a Gymnasium-like environment
    """Return the limit that an environment of Gymnasium's tells of itself: a batch of episodes has a fixed size."""
    limit = getattr(getattr(env, "spec", None), "max_episode_steps", None)
    if limit is None:
        raise ConfigError(
            f"inner.rounds={config.inner.rounds}: expected with task {config.subject!r} a limit on the steps of an "
            "episode, got none; set env.max_steps, or give the class an attribute horizon"
        )
    return int(limit)
