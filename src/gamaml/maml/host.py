"""The inner updates of environments that are stepped on the host: episodes from NumPy, gradients in JAX."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from gamaml.config import Config
from gamaml.envs.spaces import Spaces
from gamaml.errors import ConfigError
from gamaml.maml.problem import has_critic, traced
from gamaml.maml.start import start_jax
from gamaml.policies.flat import Layout
from gamaml.policies.vector import Learning
from gamaml.rl.episodes import Recording
from gamaml.rl.host import HostProblem, Inner, Learned
from gamaml.types import HostTask

_programs: dict[tuple[Any, ...], tuple[Any, Any]] = {}


def host_problem(definition: HostTask, config: Config, own_loss: Callable[..., Any] | None = None) -> HostProblem:
    """Return the problem of a host task with inner updates.

    Args:
        definition: with `make_env(task)`; see `HostTask` for what is optional.
        config: the run's config.
        own_loss: the user's, where `inner.learner` names one.

    Raises:
        ConfigError: such a network has no gradients here.
    """
    if config.policy.network != "mlp":
        raise ConfigError(
            f'policy.network={config.policy.network!r}: expected "mlp" with inner.rounds={config.inner.rounds}, since '
            "the convolutional networks have no inner updates; set rounds = 0"
        )

    def updates(network: Layout, spaces: Spaces, horizon: int) -> HostUpdates:
        return HostUpdates(config, own_loss, network, spaces, horizon)

    return HostProblem(definition, config, Inner(has_critic(config.inner, own_loss), updates))


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

    def warm_up(self) -> None:
        """Compile the program, or fetch it from the cache on disk."""
        self._compiled()

    def _compiled(self) -> tuple[Any, Any]:  # a compiled JAX program, and the optimiser's state to begin with
        start_jax()
        policy, inner = traced(self._config)
        inner = dataclasses.replace(inner, rounds=1, num_tasks=1)
        key = (self._network, policy, inner, self._shapes, self._discrete)
        if key not in _programs:
            # They need JAX, which starts with the first update.
            from gamaml.maml.learners import LOSSES
            from gamaml.maml.program import compile_update

            loss = self._own_loss or LOSSES[inner.learner]
            _programs[key] = compile_update(loss, self._network, policy, inner, self._shapes, discrete=self._discrete)
        return _programs[key]
