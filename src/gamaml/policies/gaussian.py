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
    """Return the log density of an action, float32[].

    Args:
        action: float32[action_size].
        mean: float32[action_size].
        std: float32[].
    """
    deviation = (action - mean) / jnp.broadcast_to(std, mean.shape)
    return -0.5 * jnp.sum(deviation**2) - mean.size * (jnp.log(std) + 0.5 * math.log(2 * math.pi))
