"""The inner loop, one task at a time, and what it needs to know of a kind of learning."""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# JAX leaves the types of array constructors, gradients and pytrees partly unknown.

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gamaml.config import InnerConfig, PolicyConfig
from gamaml.policies import mlp
from gamaml.rl import reinforce
from gamaml.rl.rollout import Network, Trajectory, check_array, returns, rollout
from gamaml.types import RLTask, SupervisedTask

Params = Mapping[str, jax.Array]


class Measured(NamedTuple):
    """What the parameters achieved before an update, or after the last one.

    Attributes:
        value: float32[], the mean return or the loss.
        steps: int32[], environment steps or samples that it took.
    """

    value: jax.Array
    steps: jax.Array


class Learner(NamedTuple):
    """A kind of learning as four pure functions of one task; any pytrees may be tasks and data.

    Attributes:
        sample: key -> task.
        collect: (params, task, key) -> data for one update.
        loss: (params, task, data) -> float32[], what an update descends.
        measure: (params, task, data) -> Measured, of `params` as they are before the update.
    """

    sample: Callable[[jax.Array], Any]
    collect: Callable[[Params, Any, jax.Array], Any]
    loss: Callable[[Params, Any, Any], jax.Array]
    measure: Callable[[Params, Any, Any], Measured]


def adapt(
    learner: Learner,
    params: Params,
    step_sizes: Mapping[str, jax.Array],
    task: Any,
    key: jax.Array,
    rounds: int,
) -> Measured:
    """Run the inner loop on one task.

    Args:
        learner: the kind of learning.
        params: the initial arrays.
        step_sizes: float32[] per array of `params`.
        task: one sampled task.
        key: a JAX key; each round has its own part of it.
        rounds: number of updates.

    Returns:
        Measured with float32[rounds + 1] and int32[rounds + 1]: before any update and after each.

    Source: Finn et al. 2017, Algorithm 3, lines 5 to 8.
    """

    def updated(params: Params, data: Any) -> Params:  # the learner's data
        gradient = jax.grad(learner.loss)(params, task, data)
        return {name: params[name] - step_sizes[name] * gradient[name] for name in params}

    def unchanged(params: Params, data: Any) -> Params:  # the learner's data
        return params

    def one_round(params: Params, each: tuple[jax.Array, jax.Array]) -> tuple[Any, Measured]:
        is_update, key = each
        data = learner.collect(params, task, key)
        measured = learner.measure(params, task, data)
        return lax.cond(is_update, updated, unchanged, params, data), measured

    # The last pass measures without an update. One loop over all, because a program that holds the collection
    # twice takes twice as long to compile.
    is_update = jnp.arange(rounds + 1) < rounds
    return lax.scan(one_round, dict(params), (is_update, jax.random.split(key, rounds + 1)))[1]


def rl_learner(definition: RLTask, policy: PolicyConfig, inner: InnerConfig, std: jax.Array) -> Learner:
    """Return learning by REINFORCE on fresh trajectories in every round.

    Args:
        definition: the user's task.
        policy: gives the activation.
        inner: gives episodes, discount and normalisation.
        std: float32[], of the actions.
    """
    network = _network(policy)

    def collect(params: Params, task: Any, key: jax.Array) -> Any:  # a batch of trajectories
        def episode(key: jax.Array) -> Trajectory:
            return rollout(definition, network, params, std, task, key)

        return jax.vmap(episode)(jax.random.split(key, inner.episodes))

    def loss(params: Params, task: Any, data: Any) -> jax.Array:
        return reinforce.loss(network, params, std, data, discount=inner.discount, normalise=inner.normalise_advantages)

    def measure(params: Params, task: Any, data: Any) -> Measured:
        return Measured(jnp.mean(jnp.sum(data.rewards, axis=1)), jnp.sum(data.alive.astype(jnp.int32)))

    return Learner(definition.sample, collect, loss, measure)


def unadapted_returns(
    definition: RLTask,
    policy: PolicyConfig,
    inner: InnerConfig,
    params: Params,
    std: jax.Array,
    tasks: Any,
    keys: jax.Array,
) -> Measured:
    """Return what `adapt` measures with `rl_learner` in 0 rounds, of a batch of children and without trajectories.

    Args:
        definition: the user's task.
        policy: gives the activation, and by a std of 0 that actions are not drawn.
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
    found = returns(definition, _network(policy), params, None if policy.std == 0 else std, tasks, keys)
    return Measured(jnp.mean(found.total, axis=2), jnp.sum(found.steps, axis=2))


def _network(policy: PolicyConfig) -> Network:
    def network(params: Params, observation: jax.Array) -> jax.Array:
        return mlp.apply(params, observation, policy.activation)

    return network


def supervised_learner(definition: SupervisedTask) -> Learner:
    """Return learning by gradient descent on one support set per task, measured on one query set.

    The support set is the same in all rounds, as in Finn et al. 2017 (section 5.1), and belongs to the task:
    it follows from the task's key, so children that share tasks share the data and differ by merit only.
    Later rounds draw no samples, so every entry of `steps` holds those of the whole inner loop.

    Args:
        definition: the user's task; `test_loss` and `num_samples` are optional.
    """
    test_loss: Callable[..., jax.Array] = getattr(definition, "test_loss", definition.loss)
    num_samples = int(getattr(definition, "num_samples", 1))

    def sample(key: jax.Array) -> Any:  # (task, support key, query key)
        task_key, support_key, query_key = jax.random.split(key, 3)
        return definition.sample(task_key), support_key, query_key

    def collect(params: Params, task: Any, key: jax.Array) -> Any:  # nothing: the data are fixed by the task's keys
        return ()

    def loss(params: Params, task: Any, data: Any) -> jax.Array:
        value = definition.loss(params, task[0], task[1])
        check_array("loss", value, ())
        return value

    def measure(params: Params, task: Any, data: Any) -> Measured:
        value = test_loss(params, task[0], task[2])
        check_array("test_loss" if hasattr(definition, "test_loss") else "loss", value, ())
        return Measured(value, jnp.asarray(num_samples, jnp.int32))

    return Learner(sample, collect, loss, measure)
