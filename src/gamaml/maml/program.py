"""The compiled program of a problem: all tasks, episodes and rounds of one child in one call."""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# JAX leaves the types of jit and of key arrays partly unknown.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gamaml.config import InnerConfig, PolicyConfig
from gamaml.maml.loop import Measured, adapt, rl_learner, supervised_learner
from gamaml.policies.flat import Layout

_KEY_TYPE = "threefry2x32"
"""Named, so that a user's `jax_default_prng_impl` cannot change a run."""

_COMPILER_OPTIONS: dict[str, str | bool] = {"xla_backend_optimization_level": "2"}
"""Half the compilation time of XLA's default 3 (3.4 against 7.9 CPU-seconds for navigation), at the same speed."""


def compile_program(
    definition: Any, supervised: bool, network: Layout, policy: PolicyConfig, inner: InnerConfig
) -> Callable[..., Measured]:
    """Compile the inner loop over all tasks, for one child.

    What populations may differ in, step sizes and action std, is an argument, so that they share the program.

    Args:
        definition: the user's SupervisedTask or RLTask.
        supervised: which of the two it is.
        network: the layout of the flat network.
        policy: gives the activation.
        inner: gives rounds, num_tasks, episodes, discount and normalisation.

    Returns:
        A function of (network float32[size], step_sizes float32[num_arrays], std float32[], task key data
        uint32[2], episode key data uint32[2]), giving Measured: means over tasks, float32[rounds + 1], and the
        number of steps, int32[].
    """
    names = [name for name, _ in network.arrays]

    def program(
        flat: jax.Array, step_sizes: jax.Array, std: jax.Array, task_data: jax.Array, episode_data: jax.Array
    ) -> Measured:
        learner = supervised_learner(definition) if supervised else rl_learner(definition, policy, inner, std)
        params = network.unflatten(flat)
        steps = {name: step_sizes[i] for i, name in enumerate(names)}

        def one_task(task_key: jax.Array, key: jax.Array) -> Measured:
            return adapt(learner, params, steps, learner.sample(task_key), key, inner.rounds)

        measured = jax.vmap(one_task)(_keys(task_data, inner.num_tasks), _keys(episode_data, inner.num_tasks))
        total = jnp.sum(measured.steps[:, 0]) if supervised else jnp.sum(measured.steps)
        return Measured(jnp.mean(measured.value, axis=0), total)

    shapes = ((network.size,), np.float32), ((len(names),), np.float32), ((), np.float32)
    keys = ((2,), np.uint32), ((2,), np.uint32)
    arguments = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in (*shapes, *keys)]
    return jax.jit(program).lower(*arguments).compile(_COMPILER_OPTIONS)


def _keys(data: jax.Array, number: int) -> jax.Array:
    return jax.random.split(jax.random.wrap_key_data(data, impl=_KEY_TYPE), number)
