"""A small reinforcement-learning task that several test modules learn."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


class Corridor:
    """The position moves by the action, the reward is minus the squared distance to the task's goal, which ends it."""

    observation_size, action_size, horizon = 1, 1, 6

    def sample(self, key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, (), jnp.float32, 0.5, 1.0)

    def reset(self, task: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.asarray(0.0, jnp.float32), jnp.asarray([0.0], jnp.float32)

    def step(self, state: jax.Array, action: jax.Array, task: jax.Array, key: jax.Array) -> Any:
        position = state + action[0]
        return position, position[None], -((position - task) ** 2), jnp.abs(position - task) < 0.05
