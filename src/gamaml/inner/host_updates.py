"""The inner updates of host tasks: episodes in NumPy's arrays, gradients in JAX. Imports JAX when it compiles."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gamaml.config import Config
from gamaml.envs.spaces import Spaces
from gamaml.inner.rounds import Learned
from gamaml.inner.start_jax import start_jax
from gamaml.policies.flat import Layout
from gamaml.policies.vector import Derivative, Learning, RoundGenes
from gamaml.rollouts.host_rollout import Batch, empty_batch
from gamaml.rollouts.trajectory import Trajectory
from gamaml.types import Float32Array

if TYPE_CHECKING:
    from gamaml.inner.recorded_program import Recorded


class HostUpdates:
    """Inner updates by one compiled program, which takes a whole batch of episodes, padded to the horizon.

    The program's shape, and with it every bit, therefore depends on the config alone. JAX is started and the program
    compiled at the first update, or by `warm_up`.

    Args:
        config: gives policy and inner loop.
        network: the layout of the flat network.
        spaces: the environments' spaces.
        horizon: steps after which an episode is cut.
        derivative_order: 0 if no derivative is asked for, 1 if inner gradients count as constants in it, 2 otherwise.
        own_loss: the user's, where `inner.learner` names one.
    """

    def __init__(
        self,
        config: Config,
        network: Layout,
        spaces: Spaces,
        horizon: int,
        derivative_order: int,
        own_loss: Callable[..., Any] | None = None,
    ) -> None:
        self._config, self._network, self._spaces, self._horizon = config, network, spaces, horizon
        self._order, self._own_loss = derivative_order, own_loss

    def empty_batches(self) -> list[Batch | None]:
        """Return the arrays into which the episodes of each round are recorded, or None where they are not.

        A derivative needs every round's batch; plain updates need only the current one, and none after the last round.
        """
        rounds, episodes = self._config.inner.rounds, self._config.inner.episodes
        if self._order > 0:
            return [empty_batch(episodes, self._horizon, self._spaces) for _ in range(rounds + 1)]
        return [*[empty_batch(episodes, self._horizon, self._spaces)] * rounds, None]

    def start(self, learning: Learning[Float32Array]) -> Learned:
        """Return a candidate's network before the first update."""
        return Learned(learning.network, self._compiled[1])

    def update(self, learned: Learned, genes: RoundGenes[Float32Array], batch: Batch) -> Learned:
        """Return the network after an update by recorded episodes."""
        after = self._compiled[0](learned, genes, batch)
        return Learned(np.asarray(after.network), after.state)

    def gradient(self, learning: Learning[Float32Array], batches: Sequence[Batch]) -> Derivative[Float32Array]:
        """Return the derivative of the loss after the last update on one task.

        It passes through the updates, as on JAX tasks; the episodes count as constants.

        Args:
            learning: a candidate.
            batches: the episodes of every round, those after the last update included.

        Source: Finn et al. 2017, Algorithm 3, line 10, for one task.
        """
        stacked = Trajectory(*(np.stack(arrays) for arrays in zip(*batches, strict=True)))
        return Derivative(*map(np.asarray, self._compiled_gradient(learning, stacked)))

    def warm_up(self) -> None:
        """Compile the programs, or fetch them from the cache on disk."""
        _ = self._compiled
        if self._order > 0:
            _ = self._compiled_gradient

    @cached_property
    def _compiled(self) -> tuple[Callable[..., Learned], Any]:  # the update, and the optimiser's first state
        start_jax()
        from gamaml.inner.recorded_program import compile_update

        return compile_update(self._recorded(rounds=1))

    @cached_property
    def _compiled_gradient(self) -> Callable[..., Derivative[Any]]:  # of JAX arrays
        start_jax()
        from gamaml.inner.recorded_program import compile_recorded_gradient

        return compile_recorded_gradient(self._recorded(rounds=self._config.inner.rounds), first_order=self._order == 1)

    def _recorded(self, rounds: int) -> Recorded:
        from gamaml.inner.learners import LOSSES
        from gamaml.inner.program import compiled_settings
        from gamaml.inner.recorded_program import Recorded

        policy, inner = compiled_settings(self._config)
        return Recorded(
            loss=self._own_loss or LOSSES[inner.learner],
            network=self._network,
            policy=policy,
            inner=dataclasses.replace(inner, rounds=rounds, num_tasks=1),
            horizon=self._horizon,
            observation_size=self._spaces.observation_size,
            action_size=self._spaces.action_size,
            discrete=self._spaces.first_action is not None,
        )
