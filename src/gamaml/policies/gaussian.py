"""The Gaussian policy: the network gives the mean of the action, one standard deviation its spread."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp


def action(mean: jax.Array, std: jax.Array, noise: jax.Array) -> jax.Array:
    """Return an action, float32[action_size].

    Args:
        mean: float32[action_size].
        std: float32[], the standard deviation of each dimension.
        noise: float32[action_size], standard normal.
    """
    return mean + jnp.broadcast_to(std, mean.shape) * noise


def log_prob(action: jax.Array, mean: jax.Array, std: jax.Array) -> jax.Array:
    """Return the log density of one action, float32[], or of the actions in the columns, float32[number].

    Args:
        action: float32[action_size], or float32[action_size, number].
        mean: of the same shape.
        std: float32[].
    """
    deviation = (action - mean) / jnp.broadcast_to(std, mean.shape)
    return -0.5 * jnp.sum(deviation**2, axis=0) - len(mean) * (jnp.log(std) + 0.5 * math.log(2 * math.pi))
