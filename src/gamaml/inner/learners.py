"""The kinds of learning: by a policy gradient on trajectories, or by the loss of a supervised task."""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# JAX leaves the types of array constructors and keys partly unknown.

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gamaml.config import MEMORIES, InnerConfig, PolicyConfig
from gamaml.inner import actor_critic, reinforce
from gamaml.inner.loop import Learner, Measured
from gamaml.inner.objective import Loss, Params, Policy, Settings
from gamaml.policies import categorical, compiled_mlp, gaussian, mlp
from gamaml.policies import recurrent as memory
from gamaml.rollouts.jax_rollout import check_array, returns, rollout
from gamaml.rollouts.trajectory import Trajectory
from gamaml.types import RLTask, SupervisedTask

LOSSES: dict[str, Loss] = {"reinforce": reinforce.loss, "actor_critic": actor_critic.loss}


def network(config: PolicyConfig, params: Params, observation: jax.Array) -> jax.Array:
    """Return the network's outputs: the mean of an action, or the logits of discrete ones."""
    return compiled_mlp.one(params, observation, config.activation)


def policy_of(config: PolicyConfig, std: jax.Array, *, discrete: bool = False) -> Policy:
    """Return the policy that a loss sees.

    Args:
        config: gives the activation.
        std: float32[], of continuous actions, or the temperature of discrete ones.
        discrete: whether the outputs are logits.
    """

    def log_prob(params: Params, observations: jax.Array, actions: jax.Array) -> jax.Array:
        outputs = compiled_mlp.columns(params, _columns(observations), config.activation)
        taken = _columns(actions)
        found = categorical.log_prob(taken, outputs / std) if discrete else gaussian.log_prob(taken, outputs, std)
        return found.reshape(observations.shape[:-1])

    def value(params: Params, observations: jax.Array) -> jax.Array:
        found = compiled_mlp.columns(params, _columns(observations), config.activation, mlp.CRITIC)
        return found.reshape(observations.shape[:-1])

    return Policy(log_prob, value)


def _columns(array: jax.Array) -> jax.Array:
    """Return float32[..., size] as float32[size, number]."""
    # Without the barrier XLA would take the transposition into the products, and use a slow kernel for them.
    return lax.optimization_barrier(array.reshape(-1, array.shape[-1]).T)


def settings_of(inner: InnerConfig, factors: jax.Array) -> Settings:
    """Return the settings that a loss sees.

    Args:
        inner: the section of the config.
        factors: float32[len(inner.genes)], the evolved ones among its factors.
    """
    evolved = {gene: factors[i] for i, gene in enumerate(inner.genes)}
    return Settings(
        discount=evolved.get("discount", inner.discount),
        gae_lambda=evolved.get("gae_lambda", inner.gae_lambda),
        normalise=inner.normalise_advantages,
        baseline=inner.baseline,
    )


def policy_loss(
    loss: Loss, policy: PolicyConfig, inner: InnerConfig, std: jax.Array, factors: jax.Array, *, discrete: bool = False
) -> Callable[[Params, Any, Trajectory[jax.Array]], jax.Array]:
    """Return the loss of a policy's updates, on JAX tasks and on host tasks, as a function (params, task, batch).

    Args:
        loss: the learner.
        policy: gives the activation.
        inner: gives the loss its settings.
        std: float32[], of continuous actions, or the temperature of discrete ones.
        factors: float32[len(inner.genes)], the evolved ones among the factors of `inner`.
        discrete: whether actions are discrete.
    """
    agent, settings = policy_of(policy, std, discrete=discrete), settings_of(inner, factors)

    def loss_on(params: Params, task: Any, batch: Trajectory[jax.Array]) -> jax.Array:
        value = loss(agent, params, batch, settings)
        check_array(inner.learner, value, (), whose="inner.learner=")
        return value

    return loss_on


def rl_learner(
    definition: RLTask, loss: Loss, policy: PolicyConfig, inner: InnerConfig, std: jax.Array, factors: jax.Array
) -> Learner:
    """Return learning by a policy gradient on fresh trajectories in every round.

    Args:
        definition: the user's task.
        loss: the learner.
        policy: gives the activation.
        inner: gives episodes and the loss its settings.
        std: float32[], of the actions.
        factors: float32[len(inner.genes)], the evolved ones among the factors of `inner`.
    """
    actions = partial(network, policy)

    def collect(params: Params, task: Any, key: jax.Array) -> Trajectory[jax.Array]:
        def episode(key: jax.Array) -> Trajectory[jax.Array]:
            # Trajectories count as constants in a derivative, and so does their std.
            return rollout(definition, actions, params, lax.stop_gradient(std), task, key)

        return jax.vmap(episode)(jax.random.split(key, inner.episodes))

    objective = policy_loss(loss, policy, inner, std, factors)
    return Learner(definition.sample, collect, objective, _measure_returns, outer_loss=objective, updates_in_turn=True)


def recorded_learner(loss: Callable[[Params, Any, Trajectory[jax.Array]], jax.Array]) -> Learner:
    """Return learning from trajectories that were played elsewhere: `collect` is given them in place of a key.

    Args:
        loss: from `policy_loss`.
    """

    def sample(key: jax.Array) -> None:
        """Return no task: the trajectories come from one already."""

    def collect(params: Params, task: Any, recorded: Trajectory[jax.Array]) -> Trajectory[jax.Array]:
        return recorded

    return Learner(sample, collect, loss, _measure_returns, outer_loss=loss)


def _measure_returns(params: Params, task: Any, data: Trajectory[jax.Array]) -> Measured:
    return Measured(jnp.mean(jnp.sum(data.rewards, axis=1)), jnp.sum(data.alive.astype(jnp.int32)))


def unadapted_returns(
    definition: RLTask,
    policy: PolicyConfig,
    inner: InnerConfig,
    params: Params,
    std: jax.Array,
    tasks: Any,
    keys: jax.Array,
) -> Measured:
    """Return the measurements of `adapt` with `rl_learner` and 0 rounds, for a batch of children, no trajectories.

    Args:
        definition: the user's task.
        policy: gives the network; with a std of 0, actions are not drawn.
        inner: gives episodes.
        params: the network's arrays, each with a leading dimension [batch].
        std: float32[batch], of the actions.
        tasks: sampled tasks, [batch, num_tasks].
        keys: JAX keys, [batch, num_tasks].

    Returns:
        Measured with float32[batch, num_tasks] and int32[batch, num_tasks].
    """

    def episode_keys(key: jax.Array) -> jax.Array:
        return jax.random.split(jax.random.split(key, 1)[0], inner.episodes)

    keys = jax.vmap(jax.vmap(episode_keys))(keys)
    actions = partial(network, policy)
    if policy.network in MEMORIES:
        actions = memory.recurrent(policy, definition.observation_size)
    found = returns(definition, actions, params, None if policy.std == 0 else std, tasks, keys)
    return Measured(jnp.mean(found.total, axis=2), jnp.sum(found.steps, axis=2))


def supervised_learner(
    definition: SupervisedTask, test_loss: Callable[[Any, Any, Any], jax.Array], num_samples: int
) -> Learner:
    """Return learning by gradient descent on one support set per task, measured on one query set.

    The support set is the same in all rounds, as in Finn et al. 2017 (section 5.1), and belongs to the task:
    it follows from the task's key, so children that share tasks share the data and differ by merit only.

    Args:
        definition: the user's task.
        test_loss: (params, task, key) -> float32[], the loss of the measurements; `definition.loss` unless it has one.
        num_samples: samples that one task costs, over all rounds.
    """
    measured_by = "loss" if test_loss == definition.loss else "test_loss"

    def sample(key: jax.Array) -> Any:  # (task, support key, query key)
        task_key, support_key, query_key = jax.random.split(key, 3)
        return definition.sample(task_key), support_key, query_key

    def collect(params: Params, task: Any, key: jax.Array) -> tuple[()]:
        """Return nothing: the task's keys fix the data."""
        return ()

    def loss(params: Params, task: Any, data: tuple[()]) -> jax.Array:
        value = definition.loss(params, task[0], task[1])
        check_array("loss", value, ())
        return value

    def query_loss(params: Params, task: Any, data: tuple[()]) -> jax.Array:
        value = test_loss(params, task[0], task[2])
        check_array(measured_by, value, ())
        return value

    def measure(params: Params, task: Any, data: tuple[()]) -> Measured:
        return Measured(query_loss(params, task, data), jnp.asarray(num_samples, jnp.int32))

    return Learner(sample, collect, loss, measure, outer_loss=query_loss, collects_once=True)
