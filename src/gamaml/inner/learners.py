"""From the config to an inner learner: which loss, of what policy, with which settings."""

from __future__ import annotations

import jax

from gamaml.config import InnerConfig, PolicyConfig
from gamaml.inner import actor_critic, reinforce
from gamaml.inner.objective import Loss, Params, Policy, Settings
from gamaml.policies import categorical, gaussian, mlp

LOSSES: dict[str, Loss] = {"reinforce": reinforce.loss, "actor_critic": actor_critic.loss}


def network(config: PolicyConfig, params: Params, observation: jax.Array) -> jax.Array:
    """Return the network's outputs: the mean of an action, or the logits of discrete ones."""
    return mlp.apply(params, observation, config.activation)


def policy_of(config: PolicyConfig, std: jax.Array, *, discrete: bool = False) -> Policy:
    """Return the policy that a loss sees.

    Args:
        config: gives the activation.
        std: float32[], of continuous actions.
        discrete: whether the outputs are logits.
    """

    def log_prob(params: Params, observation: jax.Array, action: jax.Array) -> jax.Array:
        outputs = network(config, params, observation)
        return categorical.log_prob(action, outputs) if discrete else gaussian.log_prob(action, outputs, std)

    def value(params: Params, observation: jax.Array) -> jax.Array:
        return mlp.apply(params, observation, config.activation, mlp.CRITIC)[0]

    return Policy(log_prob, value)


def settings_of(inner: InnerConfig, factors: jax.Array) -> Settings:
    """Return what a loss reads of the config.

    Args:
        inner: the section.
        factors: float32[len(inner.genes)], the evolved ones among its factors.
    """
    evolved = {gene: factors[i] for i, gene in enumerate(inner.genes)}
    return Settings(
        discount=evolved.get("discount", inner.discount),
        gae_lambda=evolved.get("gae_lambda", inner.gae_lambda),
        normalise=inner.normalise_advantages,
        baseline=inner.baseline,
    )
