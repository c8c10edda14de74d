"""One update of an actor and its critic, with generalised advantage estimation.

Source: Mnih et al. 2016 (arXiv 1602.01783), section 4, without its entropy term; Schulman et al. 2016
(arXiv 1506.02438) for the advantages.
"""

# pyright: reportUnknownMemberType=false
# JAX leaves the types of array functions partly unknown.

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from gamaml.inner import advantages
from gamaml.inner.objective import Params, Policy, Settings, mean_log_prob
from gamaml.rollouts.trajectory import Trajectory


def loss(policy: Policy, params: Params, batch: Trajectory[jax.Array], settings: Settings) -> jax.Array:
    """Return the actor's surrogate plus the critic's squared error, float32[].

    Actor and critic share no parameters, and each array can have its own step size, so the sum needs no weight.

    Args:
        policy: gives the log probability of an action and the value of an observation.
        params: the arrays by which the gradient is taken.
        batch: trajectories with a leading dimension [episodes].
        settings: gives discount, lambda and normalisation.
    """
    values = policy.value(params, batch.observations)
    estimate = jax.vmap(partial(advantages.generalised, discount=settings.discount, gae_lambda=settings.gae_lambda))
    found = lax.stop_gradient(estimate(batch.rewards, values, batch.alive))
    targets = found + lax.stop_gradient(values)
    errors = jnp.where(batch.alive, values - targets, 0.0)
    critic = 0.5 * jnp.sum(errors**2) / jnp.sum(batch.alive.astype(jnp.float32))
    weights = advantages.normalised(found, batch.alive) if settings.normalise else found
    return critic - mean_log_prob(policy, params, batch, weights)
