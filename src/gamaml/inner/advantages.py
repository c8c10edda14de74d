"""Advantages: the gain of the actions in a batch of episodes over the expected return."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# JAX leaves the types of array constructors partly unknown.

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from gamaml.rollouts.trajectory import Trajectory

_SMALLEST_STD = 1e-8
"""Equal advantages become 0 instead of being divided by their std of 0."""

_RIDGE = 1e-4
"""Ridge of the linear baseline, whose features have std 1: the powers of the time are nearly collinear."""

_CONSTANT = 1e-6
"""A feature whose std is below this fraction of its mean counts as constant."""


def rewards_to_go(rewards: jax.Array, discount: float | jax.Array) -> jax.Array:
    """Return the discounted sum of the rewards from each step on, float32[horizon].

    Args:
        rewards: float32[horizon], 0 after the end of the episode.
        discount: factor per step.
    """
    # With the sums over 1, 2, 4, ... steps: seven array operations for 100 steps, where a loop takes 100 iterations.
    total, reach = rewards, 1
    while reach < rewards.size:
        later = jnp.concatenate([total[reach:], jnp.zeros(reach, total.dtype)])
        total, reach = total + discount**reach * later, 2 * reach
    return total


def above_baseline(batch: Trajectory[jax.Array], *, discount: float | jax.Array, baseline: str) -> jax.Array:
    """Return the rewards-to-go less their baseline, float32[episodes, horizon], 0 where not alive.

    Args:
        batch: trajectories with a leading dimension [episodes].
        discount: factor per step.
        baseline: "mean", over the episodes alive at the same step; or "linear", by `linear_baseline`.
    """
    to_go = jax.vmap(rewards_to_go, in_axes=(0, None))(batch.rewards, discount)
    weight = batch.alive.astype(jnp.float32)
    if baseline == "linear":
        return (to_go - linear_baseline(batch.observations, weight, to_go)) * weight
    number = jnp.maximum(jnp.sum(weight, axis=0), 1.0)
    mean = jnp.sum(to_go * weight, axis=0) / number
    return (to_go - jnp.broadcast_to(mean, to_go.shape)) * weight


def linear_baseline(observations: jax.Array, weight: jax.Array, targets: jax.Array) -> jax.Array:
    """Return the ridge regression of the targets on [observation, observation^2, t, t^2, t^3, 1], fitted to them.

    Args:
        observations: float32[episodes, horizon, observation_size].
        weight: float32[episodes, horizon], 1 for the steps that count and 0 for the others.
        targets: float32[episodes, horizon].

    Returns:
        float32[episodes, horizon].

    Source: Duan et al. 2016 (arXiv 1604.06778), section 5, whose features these are.
    """
    time = jnp.arange(targets.shape[1], dtype=jnp.float32) / targets.shape[1]
    powers = jnp.stack([time, time**2, time**3], axis=1)
    powers = jnp.broadcast_to(powers, (*targets.shape, 3))
    features = jnp.concatenate([observations, observations**2, powers], axis=2)
    total = jnp.sum(weight)

    def centred(values: jax.Array) -> tuple[jax.Array, jax.Array]:
        weights = jnp.broadcast_to(weight.reshape(-1, 1), values.shape)
        mean = jnp.sum(values * weights, axis=0) / total
        return (values - jnp.broadcast_to(mean, values.shape)) * weights, mean

    x, x_mean = centred(features.reshape(targets.size, -1))
    y, y_mean = centred(targets.reshape(-1, 1))
    std = jnp.sqrt(jnp.sum(x**2, axis=0) / total)
    std = jnp.where(std > _CONSTANT * (1 + jnp.abs(x_mean)), std, jnp.inf)
    x = x / jnp.broadcast_to(std, x.shape)
    moments = x.T @ x / total + _RIDGE * jnp.eye(x.shape[1], dtype=jnp.float32)
    fitted = x @ solve(moments, (x.T @ y / total)[:, 0])
    return (fitted + jnp.broadcast_to(y_mean, fitted.shape)).reshape(targets.shape)


def solve(matrix: jax.Array, vector: jax.Array) -> jax.Array:
    """Return the solution of a positive definite system, by Gauss-Jordan elimination.

    Such a system needs no pivoting, and a loop of one line compiles in a fraction of the time of `jnp.linalg.solve`.

    Args:
        matrix: float32[n, n], symmetric and positive definite.
        vector: float32[n].
    """

    def eliminate(row: jax.Array, rows: jax.Array) -> jax.Array:
        pivot = rows[row] / rows[row, row]
        return (rows - rows[:, row][:, None] * pivot[None]).at[row].set(pivot)

    rows = jnp.concatenate([matrix, vector[:, None]], axis=1)
    return lax.fori_loop(0, vector.size, eliminate, rows)[:, -1]


def generalised(
    rewards: jax.Array, values: jax.Array, alive: jax.Array, discount: float | jax.Array, gae_lambda: float | jax.Array
) -> jax.Array:
    """Return the generalised advantage estimates of one episode, float32[horizon].

    The value after the last step is 0, also where the horizon cut the episode: the return ends there too.

    Args:
        rewards: float32[horizon], 0 after the end.
        values: float32[horizon], of the observation before each step.
        alive: bool[horizon].
        discount: factor per step.
        gae_lambda: 0 for the difference of one step, 1 for the whole sum of rewards.

    Source: Schulman et al. 2016 (arXiv 1506.02438), equation 16.
    """
    values = jnp.where(alive, values, 0.0)
    following = jnp.concatenate([values[1:], jnp.zeros_like(values[:1])])
    return rewards_to_go(rewards + discount * following - values, discount * gae_lambda)


def normalised(values: jax.Array, alive: jax.Array) -> jax.Array:
    """Return the values scaled to mean 0 and std 1 over the steps that happened, 0 elsewhere.

    Args:
        values: float32[episodes, horizon], 0 where not alive.
        alive: bool[episodes, horizon].
    """
    weight = alive.astype(jnp.float32)
    total = jnp.sum(weight)
    centred = (values - jnp.sum(values) / total) * weight
    return centred / (jnp.sqrt(jnp.sum(centred**2) / total) + _SMALLEST_STD)
