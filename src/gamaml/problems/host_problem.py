"""Gymnasium-style environments as problems, stepped on the host with a policy in NumPy.

Without inner updates this is the plain deep GA (Such et al. 2017, arXiv 1712.06567); its policy is deterministic, like
theirs, unless the config says otherwise. Only inner updates need JAX.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gamaml.config import Config
from gamaml.errors import ConfigError
from gamaml.evolution import streams
from gamaml.inner.host_loop import HostLoop
from gamaml.inner.host_updates import HostUpdates
from gamaml.policies import mlp, networks
from gamaml.policies.vector import Learning, ParameterVector
from gamaml.problems.differentiated import Differentiated, Latest, derivative_order
from gamaml.problems.host_environments import Described, HostEnvironments
from gamaml.problems.registry import has_critic
from gamaml.problems.task_kinds import CompleteHostTask
from gamaml.rollouts.host_rollout import MAX_SEED, OUT_OF_PATIENCE, EnvironmentFault, Player, flat, reset, step
from gamaml.rollouts.lockstep_rollout import LockstepPlayer
from gamaml.types import Evaluation, EvaluationKey, Float32Array, Float64Array

_SMALLEST_STD = 1e-6


class HostProblem:
    """The fitness of a policy network: the mean return after the last round of the inner loop.

    It is the mean over `inner.num_tasks` x `inner.episodes` episodes.

    Args:
        task: the user's, completed.
        config: the run's config.
        own_loss: the user's, where `inner.learner` names one.
    """

    metric = "return"

    def __init__(self, task: CompleteHostTask, config: Config, own_loss: Callable[..., Any] | None = None) -> None:
        self._config, self._environments = config, HostEnvironments(task, config.subject)
        self._all_tasks = task.all_tasks
        described = self._environments.describe()
        _check(config, described)
        spaces = self._spaces = described.spaces
        horizon = _horizon(task, config, described.max_steps)
        together = _side_by_side(task, config, horizon)
        network = networks.make(config.policy, spaces.observation_shape, spaces.num_outputs, together)
        sampled = config.policy.sampled or config.inner.rounds > 0
        self._stochastic, discrete = sampled, spaces.first_action is not None
        shapes = dict(network.shapes)
        if has_critic(config.inner, own_loss):
            shapes |= mlp.shapes(spaces.observation_size, *config.policy.hidden, 1, prefix=mlp.CRITIC)
        self._vector = ParameterVector.of(shapes, config.inner, config.policy, stochastic=sampled, discrete=discrete)
        self._initialise = self._vector.named_initialiser(network.initial)
        player = Player if together is None else LockstepPlayer
        self._player = player(config.env, horizon, sampled, spaces, network, config.subject)
        single = self._environments
        self._played = single if together is None else single.side_by_side(together, spaces)
        self._order = derivative_order(config)
        self._updates = None
        if horizon is not None and config.inner.rounds > 0:
            self._updates = HostUpdates(config, self._vector.network, spaces, horizon, self._order, own_loss)
        self._loop = HostLoop(self._player, self._vector.network, self._updates)
        self._differentiated = Latest(self._differentiate)
        self.num_params, self.num_rounds = self._vector.size, config.inner.rounds
        self.scalars, self.scale = self._vector.scalars(config.inner), self._vector.scale(config.ga)
        if config.env.patience:
            self.scalars += (OUT_OF_PATIENCE,)
        self.libraries = task.libraries
        self.environment_versions = {f"env.{name}": version for name, version in described.versions.items()}
        self.reproducible = task.reproducible and described.reproducible

    def initial(self, noise: Float32Array) -> Float32Array:
        """Turn standard normal noise, float32[num_params], into initial parameters, float32[num_params]."""
        return self._vector.initial(noise, self._initialise)

    def arrays(self, params: Float32Array) -> dict[str, Float32Array]:
        """Return the contents of `params`, float32[num_params], by name: the network's arrays, and the genes."""
        return self._vector.arrays(params, self._config.inner, stochastic=self._stochastic)

    def measure_constants(self) -> dict[str, Float32Array]:
        """Return the means and stds of observations in random steps, which all ranks have to share.

        They depend on the run's seed alone. Without `env.normalise_steps` the result is empty.
        """
        number = self._config.env.normalise_steps
        if number == 0:
            return {}
        key = streams.key(self._config.seed, streams.Purpose.NORMALISE)
        random, seen = streams.generator(key), list[Float32Array]()
        while len(seen) < number:
            env = self._environments.open(self._environments.draw_with(random, 1)[0])
            observation, ended = reset(env, int(random.integers(MAX_SEED))), False
            while not ended and len(seen) < number:
                seen.append(flat(observation))
                observation, _, ended = step(env, self._spaces.random_action(random))
            self._environments.close(env)
        observations = np.stack(seen).astype(np.float64)
        std = observations.std(axis=0)
        # An entry that never changes in random steps stays in its own units.
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
        return self._differentiated(params, key).evaluation if self._order > 0 else self._play(params, key)

    def evaluate_held_out(self, params: Float32Array, key: EvaluationKey, index: int) -> Evaluation:
        """Return the fitness on one held-out task: a finite set's tasks come in turn, others are drawn by the key.

        Args:
            params: float32[num_params].
            key: the task's randomness, and that of its episodes.
            index: number of the held-out task.
        """
        tasks = self._all_tasks
        return self._play(params, key, tasks=[tasks[index % len(tasks)]] if tasks else None)

    def gradient(self, params: Float32Array, key: EvaluationKey) -> Float32Array:
        """Return the direction, float32[num_params], that improves the fitness after the last round.

        It needs strategy = "maml", whose evaluations compute it from their own episodes; after an evaluation it is
        free.

        Source: Finn et al. 2017, Algorithm 3, line 10, without the step.
        """
        return self._differentiated(params, key).gradient

    def _differentiate(self, params: Float32Array, key: EvaluationKey) -> Differentiated:
        total = np.zeros(self.num_params, np.float64)
        evaluation = self._play(params, key, total)
        return Differentiated(evaluation, (-total / self._config.inner.num_tasks).astype(np.float32))

    def _play(
        self,
        params: Float32Array,
        key: EvaluationKey,
        derivative: Float64Array | None = None,
        tasks: Sequence[Any] | None = None,  # the user's
    ) -> Evaluation:
        """Evaluate, on these `inner.num_tasks` tasks or on those of the key.

        The derivative of the loss after the last round on each task is added to `derivative`, if asked to.
        """
        inner, player, environments = self._config.inner, self._player, self._played
        learning = self._vector.split(params)
        shape = inner.num_tasks, inner.rounds + 1, inner.episodes
        seeds, found = player.draw_seeds(streams.generator(key.episode), shape), np.empty(shape)
        player.steps = player.out_of_patience = 0
        try:
            for index, task in enumerate(environments.draw(key.task, inner.num_tasks) if tasks is None else tasks):
                env = environments.open(task)
                found[index] = self._loop.adapt(env, learning, seeds[index])
                environments.close(env)
                if derivative is not None:
                    derivative += self._gradient(learning) if np.isfinite(found[index]).all() else math.nan
        except EnvironmentFault:
            environments.abandon()
            if self._config.env.on_fault == "stop":
                raise
            return self._evaluation(np.full(inner.rounds + 1, math.nan), params, fault=True)
        means = np.array([found[:, rounds].ravel().mean() for rounds in range(inner.rounds + 1)])
        return self._evaluation(means, params)

    def _gradient(self, learning: Learning[Float32Array]) -> Float32Array:
        """Return the derivative, float32[num_params], of the loss after the last update on the task just played."""
        return self._vector.gradient(learning, self._loop.gradient(learning))

    def _evaluation(self, means: Float64Array, params: Float32Array, *, fault: bool = False) -> Evaluation:
        (scalars,) = self._vector.evolved(self._vector.genes(params[None]))
        if self._config.env.patience:
            scalars += (float(self._player.out_of_patience),)
        return Evaluation(float(means[-1]), means.astype(np.float32), self._player.steps, scalars, fault)


def _check(config: Config, described: Described) -> None:
    shape = described.spaces.observation_shape
    if config.env.normalise_steps and len(shape) > 2:
        raise ConfigError(
            f"env.normalise_steps={config.env.normalise_steps}: expected observations that are no pictures, "
            f"got arrays of shape {shape}; leave it out"
        )


def _side_by_side(task: CompleteHostTask, config: Config, horizon: int | None) -> int | None:
    """Return how many episodes are played side by side; None where they are played one by one."""
    episodes = config.inner.episodes
    # The convolutional networks take one observation at a time.
    possible = task.make_envs is not None and horizon is not None and config.policy.network == "mlp"
    return episodes if possible and episodes > 1 else None


def _horizon(task: CompleteHostTask, config: Config, own_limit: int | None) -> int | None:
    """Return the steps after which an episode is cut, if any.

    Recorded batches have a fixed size, so with inner updates the environment's own limit counts too.
    """
    limit = min((limit for limit in (config.env.max_steps, task.horizon) if limit is not None), default=None)
    if limit is not None or config.inner.rounds == 0:
        return limit
    if own_limit is None:
        raise ConfigError(
            f"inner.rounds={config.inner.rounds}: expected with task {config.subject!r} a limit on the steps of an "
            "episode, got none; set env.max_steps, or give the class an attribute horizon"
        )
    return own_limit
