"""The compiled programs of host tasks: an update by recorded episodes, and the derivative of a whole inner loop."""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# JAX leaves the types of jit partly unknown.

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gamaml.config import InnerConfig, PolicyConfig
from gamaml.inner.learners import policy_loss, recorded_learner
from gamaml.inner.loop import adapted_loss, update
from gamaml.inner.objective import Loss, Params
from gamaml.inner.optimisers import optimiser_of
from gamaml.inner.program import compiled, derivable, learning_shapes, round_shapes, steps_at, steps_by_name
from gamaml.inner.rounds import Learned
from gamaml.policies.flat import Layout
from gamaml.policies.vector import Derivative, Learning, RoundGenes
from gamaml.rollouts.trajectory import Trajectory


@dataclass(frozen=True)
class Recorded:
    """The settings that a program on recorded episodes depends on; equal ones share a program.

    Attributes:
        loss: the loss of the updates; after the last update, the loss that is differentiated.
        network: the layout of the flat network.
        policy: gives the activation.
        inner: gives rounds, episodes, optimiser, and the loss its settings.
        horizon: steps to which episodes are padded.
        observation_size: entries of an observation.
        action_size: entries of a recorded action.
        discrete: whether actions are discrete.
    """

    loss: Loss
    network: Layout
    policy: PolicyConfig
    inner: InnerConfig
    horizon: int
    observation_size: int
    action_size: int
    discrete: bool

    def objective(
        self, std: jax.Array, factors: jax.Array
    ) -> Callable[[Params, Any, Trajectory[jax.Array]], jax.Array]:
        """Return the loss as a function (params, task, batch), for an action std and evolved factors."""
        return policy_loss(self.loss, self.policy, self.inner, std, factors, discrete=self.discrete)

    def batch_shapes(self, *leading: int) -> Trajectory[jax.ShapeDtypeStruct]:
        """Return the shapes and dtypes of a batch of episodes, with leading dimensions of several."""
        steps = (*leading, self.inner.episodes, self.horizon)
        return Trajectory(
            observations=jax.ShapeDtypeStruct((*steps, self.observation_size), np.float32),
            actions=jax.ShapeDtypeStruct((*steps, self.action_size), np.float32),
            rewards=jax.ShapeDtypeStruct(steps, np.float32),
            alive=jax.ShapeDtypeStruct(steps, np.bool_),
        )


@functools.cache
def compile_update(recorded: Recorded) -> tuple[Callable[..., Learned], Any]:
    """Compile one update by a batch of episodes that were played elsewhere.

    Returns:
        A function of (Learned, RoundGenes, Trajectory), the network flat before and after, whose result is Learned; and
        the optimiser's first state.
    """
    network, inner = recorded.network, recorded.inner
    optimiser = optimiser_of(inner)

    def program(learned: Learned, genes: RoundGenes[jax.Array], batch: Trajectory[jax.Array]) -> Learned:
        after = update(
            Learned(network.unflatten(learned.network), learned.state),
            None,
            batch,
            loss=recorded.objective(genes.std, genes.factors),
            optimiser=optimiser,
            step_sizes=steps_by_name(genes.step_sizes, network, inner),
        )
        arrays = [after.network[name].reshape(-1) for name, _ in network.arrays]
        return Learned(jnp.concatenate(arrays), after.state)

    state = jax.eval_shape(optimiser.start, network.unflatten(np.zeros(network.size, np.float32)))
    flat = jax.ShapeDtypeStruct((network.size,), np.float32)
    update_flat = compiled(program, Learned(flat, state), round_shapes(network, inner), recorded.batch_shapes())

    def zeros(array: jax.ShapeDtypeStruct) -> Any:  # an array
        return np.zeros(array.shape, array.dtype)

    return update_flat, jax.tree.map(zeros, state)


@functools.cache
def compile_recorded_gradient(recorded: Recorded, *, first_order: bool) -> Callable[..., Derivative[jax.Array]]:
    """Compile the derivative of `compile_meta_gradient` for one task, whose episodes were played elsewhere.

    Args:
        recorded: the settings.
        first_order: whether inner gradients count as constants.

    Returns:
        A function of (Learning, Trajectory), the batches of all rounds as arrays [rounds + 1, ...].
    """
    network, inner = recorded.network, recorded.inner
    optimiser = optimiser_of(inner)

    def total(values: Derivative[jax.Array], batches: Trajectory[jax.Array]) -> jax.Array:
        learner = recorded_learner(recorded.objective(values.std[0], jnp.zeros(0, jnp.float32)))
        params, step_sizes_at = network.unflatten(values.network), steps_at(values.step_sizes, network, inner)
        loss, _ = adapted_loss(
            learner, params, None, batches, step_sizes_at=step_sizes_at, optimiser=optimiser, first_order=first_order
        )
        return loss

    differentiated = jax.grad(total)

    def program(learning: Learning[jax.Array], batches: Trajectory[jax.Array]) -> Any:  # the derivative
        return differentiated(derivable(learning), batches)

    return compiled(program, learning_shapes(network, recorded.policy, inner), recorded.batch_shapes(inner.rounds + 1))
