"""The form of an inner learner: a loss whose gradient an update follows, and the policy and settings that it sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax

from gamaml.rollouts.trajectory import Trajectory

Params = Mapping[str, jax.Array]


class Policy(NamedTuple):
    """The policy, for one step or for a whole batch at once, which is several times as fast as `jax.vmap` of one step.

    Attributes:
        log_prob: (params, observations float32[..., observation_size], actions float32[..., action_size]) ->
            float32[...], the log probabilities (densities) of the actions.
        value: (params, observations float32[..., observation_size]) -> float32[...], the return that a value network
            beside the policy expects from there on. It exists for "actor_critic", and for a user's loss that has an
            attribute `critic = True`.
    """

    log_prob: Callable[[Params, jax.Array, jax.Array], jax.Array]
    value: Callable[[Params, jax.Array], jax.Array]


class Settings(NamedTuple):
    """The settings of [inner] that a loss reads.

    Attributes:
        discount: factor per step; float32[] where it is a gene.
        gae_lambda: lambda of generalised advantage estimation; float32[] where it is a gene.
        normalise: whether advantages have mean 0 and std 1 over the steps of a batch.
        baseline: "mean" or "linear".
    """

    discount: float | jax.Array
    gae_lambda: float | jax.Array
    normalise: bool
    baseline: str


Loss = Callable[[Policy, Params, Trajectory[jax.Array], Settings], jax.Array]
"""(policy, params, batch of trajectories with a leading dimension [episodes], settings) -> float32[]."""


def mean_log_prob(policy: Policy, params: Params, batch: Trajectory[jax.Array], weights: jax.Array) -> jax.Array:
    """Return weight times log probability, float32[], averaged over the steps that happened.

    Args:
        policy: gives the log probability.
        params: the arrays by which the gradient is taken.
        batch: trajectories with a leading dimension [episodes].
        weights: float32[episodes, horizon], 0 where not alive; the gradient does not pass through them.
    """
    weighted = policy.log_prob(params, batch.observations, batch.actions) * jax.lax.stop_gradient(weights)
    return weighted.sum() / batch.alive.astype(weights.dtype).sum()
