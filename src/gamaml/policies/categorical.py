"""The policy over discrete actions: the network gives logits, the action's distribution is their softmax."""

# pyright: reportUnknownMemberType=false
# JAX leaves the types of array functions partly unknown.

from __future__ import annotations

import jax
import jax.numpy as jnp


def log_prob(action: jax.Array, logits: jax.Array) -> jax.Array:
    """Return the log probability of one action, float32[], or of the actions in the columns, float32[number].

    Args:
        action: float32[1] or float32[1, number], the index of the action among the logits: trajectories hold all
            actions as float32.
        logits: float32[num_actions], or float32[num_actions, number].
    """
    index = jnp.arange(len(logits)).reshape(-1, *[1] * (logits.ndim - 1))
    # A sum over all actions, because the gradient of an indexed element is a slow scatter.
    return jnp.sum(jnp.where(index == action.astype(jnp.int32), jax.nn.log_softmax(logits, axis=0), 0.0), axis=0)
