"""The policy over discrete actions: the network gives logits, the action's distribution is their softmax."""

# pyright: reportUnknownMemberType=false
# JAX leaves the types of array functions partly unknown.

from __future__ import annotations

import jax
import jax.numpy as jnp


def log_prob(action: jax.Array, logits: jax.Array) -> jax.Array:
    """Return the log probability of an action, float32[].

    Args:
        action: float32[1], the index of the action among the logits: trajectories hold all actions as float32.
        logits: float32[num_actions].
    """
    return jax.nn.log_softmax(logits)[action[0].astype(jnp.int32)]
