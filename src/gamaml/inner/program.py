"""The compiled program of a problem: all tasks, episodes and rounds of a batch of children in one call."""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# JAX leaves the types of jit and of key arrays partly unknown.

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gamaml.config import InnerConfig, PolicyConfig
from gamaml.inner.loop import (
    Measured,
    adapt,
    adapted_loss,
    policy_loss,
    recorded_learner,
    rl_learner,
    supervised_learner,
    unadapted_returns,
    update,
)
from gamaml.inner.objective import Loss
from gamaml.inner.optimisers import Params, optimiser_of
from gamaml.policies.flat import Layout
from gamaml.rollouts.jax_rollout import Trajectory

_KEY_TYPE = "threefry2x32"
"""Named, so that a user's `jax_default_prng_impl` cannot change a run."""

_COMPILER_OPTIONS: dict[str, str | bool] = {"xla_backend_optimization_level": "2"}
"""Half the compilation time of XLA's default 3 (3.4 against 7.9 CPU-seconds for navigation), at the same speed."""


def compile_program(
    definition: Any, loss: Loss | None, network: Layout, policy: PolicyConfig, inner: InnerConfig
) -> Callable[..., Measured]:
    """Compile the inner loop over all tasks, for a batch of children.

    What populations may differ in, step sizes and action std, is an argument, so that they share the program.

    Args:
        definition: the user's SupervisedTask or RLTask.
        loss: what updates of an RLTask descend; None for a SupervisedTask.
        network: the layout of the flat network.
        policy: gives the network, and by a std of 0 that actions are not drawn.
        inner: gives rounds, num_tasks, episodes, optimiser, what the loss reads, and batch_size.

    Returns:
        A function of (network float32[batch_size, size], step_sizes float32[batch_size, num_arrays or size], std
        float32[batch_size], factors float32[batch_size, len(inner.genes)], task key data uint32[batch_size, 2], episode
        key data uint32[batch_size, 2]), giving Measured: means over tasks, float32[batch_size, rounds + 1], and the
        number of steps, int32[batch_size].
    """
    if inner.rounds == 0 and loss is not None:
        program = _unadapted(definition, network, policy, inner)
    else:
        program = _over_batch(_adapted(definition, loss, network, policy, inner), inner.batch_size)
    shapes = (network.size,), (num_step_sizes(network, inner),), (), (len(inner.genes),), (2,), (2,)
    dtypes = (np.float32,) * 4 + (np.uint32,) * 2
    arguments = [
        jax.ShapeDtypeStruct((inner.batch_size, *shape), dtype) for shape, dtype in zip(shapes, dtypes, strict=True)
    ]
    return jax.jit(program).lower(*arguments).compile(_COMPILER_OPTIONS)


class MetaGradient(NamedTuple):
    """The derivative of the mean outer loss over the tasks.

    Attributes:
        network: float32[size].
        step_sizes: float32[num_arrays or size], of the step sizes, not of their logarithms.
        std: float32[], likewise.
    """

    network: jax.Array
    step_sizes: jax.Array
    std: jax.Array


def compile_meta_gradient(
    definition: Any, loss: Loss | None, network: Layout, policy: PolicyConfig, inner: InnerConfig, *, first_order: bool
) -> Callable[..., tuple[MetaGradient, Measured]]:
    """Compile the inner loop over all tasks together with its derivative.

    What is descended is, of a SupervisedTask, what `compile_program` measures at the end; of an RLTask, the loss of
    the inner updates on the trajectories after the last one.

    Args:
        definition: as in `compile_program`, like the rest.
        loss: see there.
        network: see there.
        policy: see there.
        inner: see there.
        first_order: whether inner gradients count as constants.

    Returns:
        A function of (network float32[size], step_sizes float32[num_arrays or size], std float32[], task key data
        uint32[2], episode key data uint32[2]), giving the derivative and Measured: means over tasks,
        float32[rounds + 1], and the number of steps, int32[].
    """
    optimiser = optimiser_of(inner)

    def total(values: MetaGradient, task_data: jax.Array, episode_data: jax.Array) -> tuple[jax.Array, Measured]:
        params, steps = network.unflatten(values.network), steps_by_name(values.step_sizes, network, inner)
        if loss is None:
            learner = supervised_learner(definition)

            def outer(params: Params, task: Any, data: Any, /) -> jax.Array:
                return learner.measure(params, task, data).value
        else:
            # Trajectories are constants, in their std too.
            no_factors, constant = jnp.zeros(0, jnp.float32), jax.lax.stop_gradient(values.std)
            learner = rl_learner(definition, loss, policy, inner, constant, no_factors)
            outer = policy_loss(loss, policy, inner, values.std, no_factors)
            learner = learner._replace(loss=outer)

        def one_task(task_key: jax.Array, key: jax.Array) -> tuple[jax.Array, Measured]:
            task, keys = learner.sample(task_key), jax.random.split(key, inner.rounds + 1)
            return adapted_loss(learner, outer, params, steps, task, keys, optimiser, first_order=first_order)

        losses, measured = jax.vmap(one_task)(_keys(task_data, inner.num_tasks), _keys(episode_data, inner.num_tasks))
        return jnp.mean(losses), _over_tasks(measured, supervised=loss is None)

    differentiated: Callable[..., tuple[MetaGradient, Measured]] = jax.grad(total, has_aux=True)

    def program(
        flat: jax.Array, step_sizes: jax.Array, std: jax.Array, *keys: jax.Array
    ) -> tuple[MetaGradient, Measured]:
        return differentiated(MetaGradient(flat, step_sizes, std), *keys)

    key = jax.ShapeDtypeStruct((2,), np.uint32)
    return jax.jit(program).lower(*_derivable(network, inner), key, key).compile(_COMPILER_OPTIONS)


def compile_update(
    loss: Loss,
    network: Layout,
    policy: PolicyConfig,
    inner: InnerConfig,
    shapes: tuple[int, int, int, int],
    *,
    discrete: bool,
) -> tuple[Callable[..., tuple[jax.Array, Any]], Any]:
    """Compile one update by a batch of episodes that were played elsewhere.

    Args:
        loss: what it descends.
        network: the layout of the flat network.
        policy: gives the activation.
        inner: gives optimiser, and what the loss reads.
        shapes: episodes, horizon, observation_size, action_size.
        discrete: whether actions are discrete.

    Returns:
        A function of (network float32[size], optimiser's state, step_sizes float32[num_arrays or size], std float32[],
        factors float32[len(inner.genes)], and the arrays of a batch), giving (network, state); and the first state.
    """
    optimiser = optimiser_of(inner)

    def program(
        flat: jax.Array, state: Any, step_sizes: jax.Array, std: jax.Array, factors: jax.Array, *batch: jax.Array
    ) -> tuple[jax.Array, Any]:
        objective = policy_loss(loss, policy, inner, std, factors, discrete=discrete)
        steps = steps_by_name(step_sizes, network, inner)
        learned = update(objective, optimiser, steps, network.unflatten(flat), state, None, Trajectory(*batch))
        return jnp.concatenate([learned[0][name].reshape(-1) for name, _ in network.arrays]), learned[1]

    state = jax.eval_shape(optimiser.start, network.unflatten(np.zeros(network.size, np.float32)))
    arguments = [_float32(network.size), state, _float32(num_step_sizes(network, inner)), _float32()]
    arguments += [_float32(len(inner.genes)), *_batch(shapes)]
    compiled = jax.jit(program).lower(*arguments).compile(_COMPILER_OPTIONS)

    def zeros(array: jax.ShapeDtypeStruct) -> Any:  # an array
        return np.zeros(array.shape, array.dtype)

    return compiled, jax.tree.map(zeros, state)


def compile_recorded_gradient(
    loss: Loss,
    network: Layout,
    policy: PolicyConfig,
    inner: InnerConfig,
    shapes: tuple[int, int, int, int],
    *,
    discrete: bool,
    first_order: bool,
) -> Callable[..., MetaGradient]:
    """Compile the derivative of `compile_meta_gradient` for one task, whose episodes were played elsewhere.

    Args:
        loss: of the updates, and after the last one of what is descended.
        network: the layout of the flat network.
        policy: gives the activation.
        inner: gives rounds, optimiser, and what the loss reads.
        shapes: as in `compile_update`.
        discrete: whether actions are discrete.
        first_order: whether inner gradients count as constants.

    Returns:
        A function of (network float32[size], step_sizes float32[num_arrays or size], std float32[], and the arrays of
        the batches of all rounds, [rounds + 1, ...]).
    """
    optimiser = optimiser_of(inner)

    def total(values: MetaGradient, batches: Trajectory) -> jax.Array:
        outer = policy_loss(loss, policy, inner, values.std, jnp.zeros(0, jnp.float32), discrete=discrete)
        params, steps = network.unflatten(values.network), steps_by_name(values.step_sizes, network, inner)
        learner = recorded_learner(outer)
        return adapted_loss(learner, outer, params, steps, None, batches, optimiser, first_order=first_order)[0]

    differentiated: Callable[..., MetaGradient] = jax.grad(total)

    def program(flat: jax.Array, step_sizes: jax.Array, std: jax.Array, *batches: jax.Array) -> MetaGradient:
        return differentiated(MetaGradient(flat, step_sizes, std), Trajectory(*batches))

    batches = _batch(shapes, inner.rounds + 1)
    return jax.jit(program).lower(*_derivable(network, inner), *batches).compile(_COMPILER_OPTIONS)


def _derivable(network: Layout, inner: InnerConfig) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Return what the arrays of a MetaGradient are."""
    return _float32(network.size), _float32(num_step_sizes(network, inner)), _float32()


def _float32(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, np.float32)


def _batch(shapes: tuple[int, int, int, int], *leading: int) -> list[jax.ShapeDtypeStruct]:
    """Return what the arrays of a Trajectory are, of the shapes that `compile_update` takes."""
    episodes, horizon, observation_size, action_size = shapes
    steps = (*leading, episodes, horizon)
    floats = [_float32(*steps, observation_size), _float32(*steps, action_size), _float32(*steps)]
    return [*floats, jax.ShapeDtypeStruct(steps, np.bool_)]


def num_step_sizes(network: Layout, inner: InnerConfig) -> int:
    """Return how many step sizes a program takes."""
    return network.size if inner.step_size_gene == "parameter" else len(network.arrays)


def steps_by_name(step_sizes: jax.Array, network: Layout, inner: InnerConfig) -> Params:
    """Return the step sizes of the network's arrays, float32[] each or of their shapes."""
    if inner.step_size_gene == "parameter":
        return network.unflatten(step_sizes)
    return {name: step_sizes[i] for i, (name, _) in enumerate(network.arrays)}


def _adapted(
    definition: Any, loss: Loss | None, network: Layout, policy: PolicyConfig, inner: InnerConfig
) -> Callable[..., Measured]:
    """Return the program of one child; its arguments have no leading dimension."""

    def program(
        flat: jax.Array,
        step_sizes: jax.Array,
        std: jax.Array,
        factors: jax.Array,
        task_data: jax.Array,
        episode_data: jax.Array,
    ) -> Measured:
        if loss is None:
            learner = supervised_learner(definition)
        else:
            learner = rl_learner(definition, loss, policy, inner, std, factors)
        params, steps = network.unflatten(flat), steps_by_name(step_sizes, network, inner)
        optimiser = optimiser_of(inner)

        def one_task(task_key: jax.Array, key: jax.Array) -> Measured:
            return adapt(learner, params, steps, learner.sample(task_key), key, inner.rounds, optimiser)

        measured = jax.vmap(one_task)(_keys(task_data, inner.num_tasks), _keys(episode_data, inner.num_tasks))
        return _over_tasks(measured, supervised=loss is None)

    return program


def _over_tasks(measured: Measured, *, supervised: bool) -> Measured:
    total = jnp.sum(measured.steps[:, 0]) if supervised else jnp.sum(measured.steps)
    return Measured(jnp.mean(measured.value, axis=0), total)


def _over_batch(program: Callable[..., Measured], batch_size: int) -> Callable[..., Measured]:
    if batch_size > 1:
        return jax.vmap(program)

    # A dimension of one would change the last bits, and with them every run whose config names no batch.
    def alone(*arguments: jax.Array) -> Measured:
        measured = program(*(argument[0] for argument in arguments))
        return Measured(measured.value[None], measured.steps[None])

    return alone


def _unadapted(definition: Any, network: Layout, policy: PolicyConfig, inner: InnerConfig) -> Callable[..., Measured]:
    """Return the program of a batch without updates."""

    def program(
        flat: jax.Array,
        step_sizes: jax.Array,
        std: jax.Array,
        factors: jax.Array,
        task_data: jax.Array,
        episode_data: jax.Array,
    ) -> Measured:
        params = jax.vmap(network.unflatten)(flat)
        keys = jax.vmap(partial(_keys, number=inner.num_tasks))
        tasks = jax.vmap(jax.vmap(definition.sample))(keys(task_data))
        measured = unadapted_returns(definition, policy, inner, params, std, tasks, keys(episode_data))
        return Measured(jnp.mean(measured.value, axis=1, keepdims=True), jnp.sum(measured.steps, axis=1))

    return program


def _keys(data: jax.Array, number: int) -> jax.Array:
    return jax.random.split(jax.random.wrap_key_data(data, impl=_KEY_TYPE), number)
