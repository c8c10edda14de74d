"""REINFORCE with reward-to-go and a baseline per time step.

Source: Williams 1992, Machine Learning 8:229-256, equation 1; the inner learner of Finn et al. 2017
(arXiv 1703.03400, section 4.2), with a mean over the batch in place of their linear baseline, whose solve
costs seconds of compilation.
"""

# pyright: reportUnknownMemberType=false
# JAX leaves the types of array constructors partly unknown.

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from gamaml.policies import gaussian
from gamaml.rl.rollout import Network, Params, Trajectory

_SMALLEST_STD = 1e-8
"""Keeps advantages that are all equal at 0 instead of dividing by their std of 0."""


def rewards_to_go(rewards: jax.Array, discount: float) -> jax.Array:
    """Return the discounted sum of the rewards from each step on, float32[horizon].

    Args:
        rewards: float32[horizon], 0 after the end of the episode.
        discount: factor per step.
    """

    def add(following: jax.Array, reward: jax.Array) -> tuple[jax.Array, jax.Array]:
        total = reward + discount * following
        return total, total

    return lax.scan(add, jnp.zeros_like(rewards[0]), rewards, reverse=True)[1]


def advantages(rewards: jax.Array, alive: jax.Array, *, discount: float, normalise: bool) -> jax.Array:
    """Return the rewards-to-go less their baseline, the mean over the episodes alive at the same step.

    Args:
        rewards: float32[episodes, horizon].
        alive: bool[episodes, horizon].
        discount: factor per step.
        normalise: whether to scale them to mean 0 and std 1 over all steps that happened.

    Returns:
        float32[episodes, horizon], 0 where not alive.
    """
    to_go = jax.vmap(rewards_to_go, in_axes=(0, None))(rewards, discount)
    weight = alive.astype(jnp.float32)
    number = jnp.maximum(jnp.sum(weight, axis=0), 1.0)
    baseline = jnp.sum(to_go * weight, axis=0) / number
    difference = (to_go - jnp.broadcast_to(baseline, to_go.shape)) * weight
    if not normalise:
        return difference
    total = jnp.sum(weight)
    centred = (difference - jnp.sum(difference) / total) * weight
    return centred / (jnp.sqrt(jnp.sum(centred**2) / total) + _SMALLEST_STD)


def loss(
    network: Network, params: Params, std: jax.Array, batch: Trajectory, *, discount: float, normalise: bool
) -> jax.Array:
    """Return the surrogate, float32[], whose gradient is the negative policy gradient per step.

    Args:
        network: gives the mean of the action.
        params: the network's arrays; what the gradient is taken of.
        std: float32[], of the actions.
        batch: trajectories with a leading dimension [episodes].
        discount: factor per step of the reward-to-go.
        normalise: whether advantages are normalised.
    """
    weights = advantages(batch.rewards, batch.alive, discount=discount, normalise=normalise)

    def log_prob(observation: jax.Array, action: jax.Array) -> jax.Array:
        return gaussian.log_prob(action, network(params, observation), std)

    log_probs = jax.vmap(jax.vmap(log_prob))(batch.observations, batch.actions)
    return -jnp.sum(log_probs * lax.stop_gradient(weights)) / jnp.sum(batch.alive.astype(jnp.float32))
