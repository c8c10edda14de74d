"""REINFORCE with reward-to-go and a baseline.

Source: Williams 1992, Machine Learning 8:229-256, equation 1; the inner learner of Finn et al. 2017
(arXiv 1703.03400, section 4.2).
"""

from __future__ import annotations

import jax

from gamaml.inner import advantages
from gamaml.inner.objective import Params, Policy, Settings, mean_log_prob
from gamaml.rollouts.trajectory import Trajectory


def loss(policy: Policy, params: Params, batch: Trajectory[jax.Array], settings: Settings) -> jax.Array:
    """Return the surrogate, float32[], whose gradient is the negative policy gradient per step.

    Args:
        policy: gives the log probability of an action.
        params: the arrays by which the gradient is taken.
        batch: trajectories with a leading dimension [episodes].
        settings: gives discount, baseline and normalisation.
    """
    weights = advantages.above_baseline(batch, discount=settings.discount, baseline=settings.baseline)
    if settings.normalise:
        weights = advantages.normalised(weights, batch.alive)
    return -mean_log_prob(policy, params, batch, weights)
