"""The inner updates of environments that are stepped on the host: episodes from NumPy, gradients in JAX."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gamaml.config import Config
from gamaml.envs.spaces import Spaces
from gamaml.errors import ConfigError
from gamaml.inner.start_jax import start_jax
from gamaml.policies.flat import Layout
from gamaml.policies.vector import Learning
from gamaml.problems.host_problem import HostProblem, Inner, Learned
from gamaml.problems.jax_problem import has_critic, traced
from gamaml.rollouts.host_rollout import Recording
from gamaml.types import Float32Array, HostTask

_programs: dict[tuple[Any, ...], Any] = {}


def host_problem(definition: HostTask, config: Config, own_loss: Callable[..., Any] | None = None) -> HostProblem:
    """Return the problem of a host task with inner updates.

    Args:
        definition: with `make_env(task)`; see `HostTask` for what is optional.
        config: the run's config.
        own_loss: the user's, where `inner.learner` names one.

    Raises:
        ConfigError: such a network has no gradients here, or such an environment no course of updates.
    """
    if config.policy.network != "mlp":
        raise ConfigError(
            f'policy.network={config.policy.network!r}: expected "mlp" with inner.rounds={config.inner.rounds}, since '
            "the convolutional networks have no inner updates; set rounds = 0"
        )

    def updates(network: Layout, spaces: Spaces, horizon: int) -> HostUpdates:
        return HostUpdates(config, own_loss, network, spaces, horizon)

    problem = HostProblem(definition, config, Inner(has_critic(config.inner, own_loss), updates))
    if config.maml is not None and not problem.reproducible:
        raise ConfigError(
            'strategy="maml": expected a task whose seed decides an episode, since an interrupted run computes its '
            f'updates again, got {config.subject!r}, which says that it is not reproducible; choose strategy = "es" or '
            '"ga"'
        )
    return problem


class HostUpdates:
    """Inner updates by one compiled program, which takes a whole batch of episodes, padded to the horizon.

    So its shape, and with it every bit, depends on the config alone. JAX is started and the program compiled at the
    first update, or by `warm_up`.

    Args:
        config: gives policy and inner loop.
        own_loss: the user's, where `inner.learner` names one.
        network: the layout of the flat network.
        spaces: of the environments.
        horizon: steps after which an episode is cut.
    """

    def __init__(
        self, config: Config, own_loss: Callable[..., Any] | None, network: Layout, spaces: Spaces, horizon: int
    ) -> None:
        self._config, self._own_loss, self._network = config, own_loss, network
        self._shapes = (config.inner.episodes, horizon, spaces.observation_size, spaces.action_size)
        self._discrete = spaces.first_action is not None

    def start(self, learning: Learning) -> Learned:
        """Return a candidate's network before the first update."""
        return Learned(learning.network, self._compiled()[1])

    def update(self, learned: Learned, learning: Learning, recording: Recording) -> Learned:
        """Return the network after an update by the recorded episodes."""
        network, state = self._compiled()[0](*learned, *learning[1:], *recording)
        return Learned(np.asarray(network), state)

    def gradient(
        self, learning: Learning, recordings: Sequence[Recording]
    ) -> tuple[Float32Array, Float32Array, Float32Array]:
        """Return the derivative of the loss after the last update, by network, step sizes and std.

        Source: Finn et al. 2017, Algorithm 3, line 10, for one task. What depends on the parameters is the updates, as
        on JAX tasks; the episodes count as constants.

        Args:
            learning: a candidate.
            recordings: of every round, that after the last update included.
        """
        batches = [np.stack(arrays) for arrays in zip(*recordings, strict=True)]
        network, step_sizes, std = self._compiled_gradient()(*learning[:3], *batches)
        return np.asarray(network), np.asarray(step_sizes), np.asarray(std)

    def warm_up(self) -> None:
        """Compile the programs, or fetch them from the cache on disk."""
        self._compiled()
        if self._config.maml is not None:
            self._compiled_gradient()

    def _compiled(self) -> tuple[Any, Any]:  # a compiled JAX program, and the optimiser's state to begin with
        start_jax()
        from gamaml.inner.program import compile_update

        return self._cached(compile_update, rounds=1)

    def _compiled_gradient(self) -> Any:  # a compiled JAX program
        start_jax()
        from gamaml.inner.program import compile_recorded_gradient

        maml = self._config.maml
        assert maml is not None
        return self._cached(compile_recorded_gradient, rounds=self._config.inner.rounds, first_order=maml.first_order)

    def _cached(self, compile_it: Callable[..., Any], *, rounds: int, **more: bool) -> Any:
        policy, inner = traced(self._config)
        inner = dataclasses.replace(inner, rounds=rounds, num_tasks=1)
        key = (compile_it, self._network, policy, inner, self._shapes, self._discrete, *more.values())
        if key not in _programs:
            from gamaml.inner.learners import LOSSES

            arguments = (self._own_loss or LOSSES[inner.learner], self._network, policy, inner, self._shapes)
            _programs[key] = compile_it(*arguments, discrete=self._discrete, **more)
        return _programs[key]
