"""2-D navigation: move a point to a goal that only the reward reveals.

Source: Finn et al. 2017 (arXiv 1703.03400), section 5.3, and the environment of its authors' code.
"""

# pyright: reportUnknownMemberType=false
# JAX leaves the types of array constructors partly unknown.

from __future__ import annotations

import jax
import jax.numpy as jnp

GOAL_BOUND = 0.5
"""Goals are uniform in the unit square around the start (section 5.3)."""

MAX_VELOCITY = 0.1
"""Velocity commands are clipped to [-0.1, 0.1] (section 5.3)."""

GOAL_DISTANCE = 0.01
"""An episode ends within this distance of the goal (section 5.3)."""


class Navigation:
    """The task of section 5.3: reward -distance^2, the observation is the position.

    Args:
        horizon: steps after which an episode is cut; H = 100 in section 5.3.
    """

    observation_size = 2
    action_size = 2

    def __init__(self, horizon: int = 100) -> None:
        if horizon < 1:
            raise ValueError(f"horizon={horizon}: expected at least 1; choose e.g. 100")
        self.horizon = horizon

    def sample(self, key: jax.Array) -> jax.Array:
        """Return a goal, float32[2]."""
        return jax.random.uniform(key, (2,), jnp.float32, -GOAL_BOUND, GOAL_BOUND)

    def reset(self, task: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return (position, observation) at the origin, float32[2] each."""
        start = jnp.zeros_like(task)
        return start, start

    def step(
        self, state: jax.Array, action: jax.Array, task: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """Move by the clipped action, float32[2]; return (position, observation, reward, done)."""
        position = state + jnp.clip(action, -MAX_VELOCITY, MAX_VELOCITY)
        distance_squared = jnp.sum((position - task) ** 2)
        return position, position, -distance_squared, distance_squared < GOAL_DISTANCE**2
