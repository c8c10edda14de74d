"""2-D navigation: move a point to a goal that only the reward reveals.

Source: Finn et al. 2017 (arXiv 1703.03400), section 5.3, and the code of its authors (cbfinn/maml_rl,
maml_examples/point_env_randgoal.py). The two differ in the reward and in the end of an episode; `Navigation` has both.
"""

# pyright: reportUnknownMemberType=false
# JAX leaves the types of array constructors partly unknown.

from __future__ import annotations

import jax
import jax.numpy as jnp

from gamaml.errors import did_you_mean

GOAL_BOUND = 0.5
"""Goals are uniform in the unit square around the start (section 5.3)."""

MAX_VELOCITY = 0.1
"""Velocity commands are clipped to [-0.1, 0.1] (section 5.3)."""

GOAL_DISTANCE = 0.01
"""An episode ends within this distance of the goal (section 5.3); in the authors' code, in both coordinates."""

REWARDS = ("distance_squared", "distance")
"""The reward of the text, and that of the authors' code."""


class Navigation:
    """The task of section 5.3; the observation is the position.

    A step moves first; its reward and the end of the episode are judged at the new position. With "distance_squared",
    as in the text, the reward is -distance^2, and an episode ends where distance < 0.01. With "distance", as in the
    authors' code, the reward is -distance, and an episode ends where |dx| < 0.01 and |dy| < 0.01.

    The published returns -40.41 / -11.68 / -3.33 / -3.23 of MAML, after 0 / 1 / 2 / 3 rounds, are of the authors' code:
    only runs with "distance" have that scale. The authors also normalise actions, so that -1 ... 1 is their whole
    range. Here actions are velocities, clipped to -0.1 ... 0.1, with either reward.

    Args:
        horizon: steps after which an episode is cut; H = 100 in section 5.3.
        reward: "distance_squared" or "distance".
    """

    observation_size = 2
    action_size = 2

    def __init__(self, horizon: int = 100, reward: str = "distance_squared") -> None:
        if horizon < 1:
            raise ValueError(f"horizon={horizon}: expected at least 1; choose e.g. 100")
        if reward not in REWARDS:
            raise ValueError(f"reward={reward!r}: unknown; {did_you_mean(reward, REWARDS)}")
        self.horizon = horizon
        self._reward = reward

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
        if self._reward == "distance":
            done = jnp.all(jnp.abs(position - task) < GOAL_DISTANCE)
            return position, position, -jnp.sqrt(distance_squared), done
        return position, position, -distance_squared, distance_squared < GOAL_DISTANCE**2
