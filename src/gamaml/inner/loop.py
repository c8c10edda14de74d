"""The inner loop, one task at a time, and what it needs to know of a kind of learning."""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# JAX leaves the types of array constructors, gradients and pytrees partly unknown.

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gamaml.config import MEMORIES, InnerConfig, PolicyConfig
from gamaml.inner import learners
from gamaml.inner.objective import Loss
from gamaml.inner.optimisers import OPTIMISERS, Optimiser, Params
from gamaml.policies import recurrent as memory
from gamaml.rollouts.jax_rollout import Trajectory, check_array, returns, rollout
from gamaml.types import RLTask, SupervisedTask


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
        collect: (params, task, key) -> data for one update; in place of the key, whatever else they come from.
        loss: (params, task, data) -> float32[], what an update descends.
        measure: (params, task, data) -> Measured, of `params` as they are before the update.
    """

    sample: Callable[[jax.Array], Any]
    collect: Callable[[Params, Any, jax.Array], Any]
    loss: Callable[[Params, Any, Any], jax.Array]
    measure: Callable[[Params, Any, Any], Measured]


def update(
    loss: Callable[[Params, Any, Any], jax.Array],
    optimiser: Optimiser,
    step_sizes: Params,
    params: Params,
    state: Any,
    task: Any,
    data: Any,
    *,
    first_order: bool = False,
) -> tuple[Params, Any]:
    """Do one update: the gradient of the loss, one step of the optimiser. JAX and host tasks share it.

    Args:
        loss: (params, task, data) -> float32[].
        optimiser: turns gradients into steps.
        step_sizes: per array of `params`, float32[] or of the array's shape.
        params: the arrays before.
        state: the optimiser's before.
        task: what the data are of.
        data: what was collected.
        first_order: whether a derivative of the result takes this gradient for a constant.

    Returns:
        (params, state) after.

    Source: Finn et al. 2017, Algorithm 3, lines 6 and 7.
    """
    gradient = jax.grad(loss)(params, task, data)
    if first_order:
        gradient = lax.stop_gradient(gradient)
    return optimiser.step(params, gradient, state, step_sizes)


def adapt(
    learner: Learner,
    params: Params,
    step_sizes: Params,
    task: Any,
    key: jax.Array,
    rounds: int,
    optimiser: Optimiser = OPTIMISERS["sgd"],
) -> Measured:
    """Run the inner loop on one task.

    Args:
        learner: the kind of learning.
        params: the initial arrays.
        step_sizes: per array of `params`, float32[] or of the array's shape.
        task: one sampled task.
        key: a JAX key; each round has its own part of it.
        rounds: number of updates.
        optimiser: turns gradients into steps.

    Returns:
        Measured with float32[rounds + 1] and int32[rounds + 1]: before any update and after each.

    Source: Finn et al. 2017, Algorithm 3, lines 5 to 8.
    """

    def updated(learned: tuple[Params, Any], data: Any) -> tuple[Params, Any]:  # the learner's data
        return update(learner.loss, optimiser, step_sizes, *learned, task, data)

    def unchanged(learned: tuple[Params, Any], data: Any) -> tuple[Params, Any]:  # the learner's data
        return learned

    def one_round(learned: tuple[Params, Any], each: tuple[jax.Array, jax.Array]) -> tuple[Any, Measured]:
        is_update, key = each
        data = learner.collect(learned[0], task, key)
        measured = learner.measure(learned[0], task, data)
        return lax.cond(is_update, updated, unchanged, learned, data), measured

    # The last pass measures without an update. One loop over all, because a program that holds the collection
    # twice takes twice as long to compile.
    is_update = jnp.arange(rounds + 1) < rounds
    start = dict(params), optimiser.start(params)
    return lax.scan(one_round, start, (is_update, jax.random.split(key, rounds + 1)))[1]


def adapted_loss(
    learner: Learner,
    outer: Callable[[Params, Any, Any], jax.Array],
    params: Params,
    step_sizes: Params,
    task: Any,
    keys: Any,
    optimiser: Optimiser,
    *,
    first_order: bool,
) -> tuple[jax.Array, Measured]:
    """Run the inner loop of `adapt` on one task, for a derivative through all its rounds.

    The collected data count as constants, as in the original: how they depend on the parameters is left out.

    Args:
        learner: the kind of learning.
        outer: (params, task, data) -> float32[], what gradient MAML descends, of the parameters after the last update
            and of data collected with them.
        params: as in `adapt`, like the rest.
        step_sizes: see there.
        task: see there.
        keys: what `collect` is given in each round, any pytree with a leading dimension [rounds + 1]. With the parts of
            its key, the data are those that `adapt` collects.
        optimiser: see there.
        first_order: whether the inner gradients count as constants too.

    Returns:
        (outer loss float32[], what `adapt` measures).

    Source: Finn et al. 2017, Algorithms 2 and 3; section 5.2 for the first order.
    """

    def collected(params: Params, key: Any) -> tuple[Any, Measured]:
        constant = lax.stop_gradient(params)
        data = learner.collect(constant, task, key)
        return data, lax.stop_gradient(learner.measure(constant, task, data))

    def one_round(learned: tuple[Params, Any], key: Any) -> tuple[tuple[Params, Any], Measured]:
        data, measured = collected(learned[0], key)
        learned = update(learner.loss, optimiser, step_sizes, *learned, task, data, first_order=first_order)
        return learned, measured

    updates, end = (jax.tree.map(operator.itemgetter(part), keys) for part in (slice(-1), -1))
    (final, _), before = lax.scan(one_round, (dict(params), optimiser.start(params)), updates)
    data, last = collected(final, end)
    return outer(final, task, data), Measured(
        jnp.append(before.value, last.value), jnp.append(before.steps, last.steps)
    )


def rl_learner(
    definition: RLTask, loss: Loss, policy: PolicyConfig, inner: InnerConfig, std: jax.Array, factors: jax.Array
) -> Learner:
    """Return learning by a policy gradient on fresh trajectories in every round.

    Args:
        definition: the user's task.
        loss: what an update descends.
        policy: gives the activation.
        inner: gives episodes and what the loss reads.
        std: float32[], of the actions.
        factors: float32[len(inner.genes)], the evolved ones among the factors of `inner`.
    """
    network = partial(learners.network, policy)

    def collect(params: Params, task: Any, key: jax.Array) -> Any:  # a batch of trajectories
        def episode(key: jax.Array) -> Trajectory:
            return rollout(definition, network, params, std, task, key)

        return jax.vmap(episode)(jax.random.split(key, inner.episodes))

    return Learner(definition.sample, collect, policy_loss(loss, policy, inner, std, factors), _measure_returns)


def recorded_learner(loss: Callable[[Params, Any, Any], jax.Array]) -> Learner:
    """Return learning from trajectories that were played elsewhere: `collect` is given them in place of a key.

    Args:
        loss: from `policy_loss`.
    """

    def sample(key: jax.Array) -> None:
        """Whoever played them knew the task."""

    def collect(params: Params, task: Any, recorded: Any) -> Any:  # a batch of trajectories, in and out
        return recorded

    return Learner(sample, collect, loss, _measure_returns)


def _measure_returns(params: Params, task: Any, data: Any) -> Measured:  # of a batch of trajectories
    return Measured(jnp.mean(jnp.sum(data.rewards, axis=1)), jnp.sum(data.alive.astype(jnp.int32)))


def policy_loss(
    loss: Loss, policy: PolicyConfig, inner: InnerConfig, std: jax.Array, factors: jax.Array, *, discrete: bool = False
) -> Callable[[Params, Any, Trajectory], jax.Array]:
    """Return what updates of a policy descend, on JAX tasks and on host tasks, as a function (params, task, batch).

    Args:
        loss: the learner.
        policy: gives the activation.
        inner: gives what the loss reads.
        std: float32[], of continuous actions.
        factors: float32[len(inner.genes)], the evolved ones among the factors of `inner`.
        discrete: whether actions are discrete.
    """
    agent, settings = learners.policy_of(policy, std, discrete=discrete), learners.settings_of(inner, factors)

    def loss_on(params: Params, task: Any, batch: Trajectory) -> jax.Array:
        value = loss(agent, params, batch, settings)
        check_array(inner.learner, value, (), whose="inner.learner=")
        return value

    return loss_on


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
        policy: gives the network, and by a std of 0 that actions are not drawn.
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
    network = partial(learners.network, policy)
    if policy.network in MEMORIES:
        network = memory.recurrent(policy, definition.observation_size)
    found = returns(definition, network, params, None if policy.std == 0 else std, tasks, keys)
    return Measured(jnp.mean(found.total, axis=2), jnp.sum(found.steps, axis=2))


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
