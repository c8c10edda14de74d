"""Episodes of a JAX task under a Gaussian policy: one episode per call, batched by the caller's `vmap`."""

# pyright: reportUnknownMemberType=false
# JAX leaves the types of array constructors partly unknown.

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gamaml.policies import gaussian
from gamaml.types import RLTask

Params = Mapping[str, jax.Array]
Network = Callable[[Params, jax.Array], jax.Array]
"""(params, observation float32[observation_size]) -> action mean float32[action_size]."""


class Trajectory(NamedTuple):
    """One episode, padded to the task's horizon.

    Attributes:
        observations: float32[horizon, observation_size], what the policy saw before each action.
        actions: float32[horizon, action_size].
        rewards: float32[horizon], 0 after the end.
        alive: bool[horizon], whether the step happened before the end.
    """

    observations: jax.Array
    actions: jax.Array
    rewards: jax.Array
    alive: jax.Array


def rollout(
    definition: RLTask, network: Network, params: Params, std: jax.Array, task: Any, key: jax.Array
) -> Trajectory:
    """Play one episode.

    Args:
        definition: the user's reset and step.
        network: gives the mean of the action.
        params: the network's arrays.
        std: float32[], of the actions.
        task: one sampled task, any pytree.
        key: a JAX key.
    """
    seen_shape, horizon = (definition.observation_size,), definition.horizon
    reset_key, noise_key, steps_key = jax.random.split(key, 3)
    # All draws before the loop: a random generator inside it doubles the time to compile.
    noise = jax.random.normal(noise_key, (horizon, definition.action_size), jnp.float32)
    state, observation = definition.reset(task, reset_key)
    check_array("reset: observation", observation, seen_shape)

    def step(carry: Any, each: tuple[jax.Array, jax.Array]) -> Any:  # the carry is (state, observation, alive)
        state, observation, alive = carry
        noise, key = each
        action = gaussian.action(network(params, observation), std, noise)
        following, seen, reward, done = definition.step(state, action, task, key)
        check_array("step: observation", seen, seen_shape)
        check_array("step: reward", reward, ())

        # A finished episode stands still: nothing an environment does after its end may reach a gradient.
        def hold(new: jax.Array, old: jax.Array) -> jax.Array:
            return jnp.where(alive, new, old)

        state, seen = jax.tree.map(hold, (following, seen), (state, observation))
        moment = Trajectory(observation, action, jnp.where(alive, reward, 0.0), alive)
        return (state, seen, alive & ~jnp.asarray(done, bool)), moment

    start = (state, observation, jnp.asarray(True))
    return lax.scan(step, start, (noise, jax.random.split(steps_key, horizon)))[1]


def check_array(subject: str, value: Any, shape: tuple[int, ...]) -> None:  # whatever the user's method returned
    """Raise TypeError unless `value` is a float32 array of the shape; costs nothing once compiled."""
    got = (getattr(value, "shape", None), str(getattr(value, "dtype", type(value).__name__)))
    if got != (shape, "float32"):
        raise TypeError(
            f"task.{subject}: expected float32{list(shape)}, got {got[1]} of shape {got[0]}; "
            "return a JAX array of that shape, e.g. by jnp.asarray(value, jnp.float32)"
        )
