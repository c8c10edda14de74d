"""The inner loop in JAX: a scan over rounds for all tasks, and for one task with a derivative through all rounds."""

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

from gamaml.inner.optimisers import OPTIMISERS, Optimiser, Params
from gamaml.inner.rounds import Learned, one_round


class Measured(NamedTuple):
    """The success of parameters before an update, or after the last one.

    Attributes:
        value: float32[], the mean return or the loss.
        steps: int32[], the environment steps or samples that it took.
    """

    value: jax.Array
    steps: jax.Array


class Learner(NamedTuple):
    """A kind of learning as pure functions of one task; any pytrees may be tasks and data.

    Attributes:
        sample: key -> task.
        collect: (params, task, key) -> data for one update; in place of the key, any other source of data.
        loss: (params, task, data) -> float32[], which an update descends.
        measure: (params, task, data) -> Measured, of `params` as they are before the update.
        outer_loss: (params, task, data) -> float32[], which gradient MAML descends after the last update.
        collects_once: whether all rounds share the task's data, so the steps of one round are the steps of all.
        updates_in_turn: whether `adapt` updates one task after the other. An update by thousands of steps is quicker
            where its arrays stay in the cache; one by a few samples is quicker side by side.
    """

    sample: Callable[[jax.Array], Any]
    collect: Callable[[Params, Any, Any], Any]
    loss: Callable[[Params, Any, Any], jax.Array]
    measure: Callable[[Params, Any, Any], Measured]
    outer_loss: Callable[[Params, Any, Any], jax.Array]
    collects_once: bool = False
    updates_in_turn: bool = False


def update(
    learned: Learned,
    task: Any,
    data: Any,
    *,
    loss: Callable[[Params, Any, Any], jax.Array],
    optimiser: Optimiser,
    step_sizes: Params,
    first_order: bool = False,
) -> Learned:
    """Do one update: the gradient of the loss, then one step of the optimiser. JAX and host tasks share it.

    Args:
        learned: the arrays by name, and the optimiser's state.
        task: the source of the data.
        data: from `collect`.
        loss: (params, task, data) -> float32[].
        optimiser: turns gradients into steps.
        step_sizes: per array, float32[] or of the array's shape.
        first_order: whether a derivative of the result takes this gradient for a constant.

    Source: Finn et al. 2017, Algorithm 3, lines 6 and 7.
    """
    gradient = jax.grad(loss)(learned.network, task, data)
    if first_order:
        gradient = lax.stop_gradient(gradient)
    return Learned(*optimiser.step(learned.network, gradient, learned.state, step_sizes))


def adapt(
    learner_at: Callable[[jax.Array], Learner],
    params: Params,
    tasks: Any,
    keys: jax.Array,
    *,
    step_sizes_at: Callable[[jax.Array], Params],
    rounds: int,
    optimiser: Optimiser = OPTIMISERS["sgd"],
) -> Measured:
    """Run the inner loop on several tasks.

    Args:
        learner_at: the number of a round, int32[] from 0, -> its kind of learning.
        params: the initial arrays, the same for all tasks.
        tasks: sampled tasks, any pytree with a leading dimension [num_tasks].
        keys: JAX keys, [num_tasks]; each round has its own part of a task's key.
        step_sizes_at: the number of an update -> its step size per array of `params`, float32[] or of the array's
            shape. After the last update it is asked once more, and its answer is not used.
        rounds: number of updates.
        optimiser: turns gradients into steps.

    Returns:
        Measured with float32[rounds + 1, num_tasks] and int32[rounds + 1, num_tasks]: before any update and after each.

    Source: Finn et al. 2017, Algorithm 3, lines 5 to 8.
    """

    def unchanged(learned: Learned, data: Any) -> Learned:  # the learner's data
        return learned

    def step(learned: Learned, each: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[Learned, Measured]:
        is_update, index, keys = each
        learner, step_sizes = learner_at(index), step_sizes_at(index)

        def collect(learned: Learned, keys: jax.Array) -> Any:  # the learner's data
            return jax.vmap(learner.collect)(learned.network, tasks, keys)

        def measure(learned: Learned, data: Any) -> Measured:
            return jax.vmap(learner.measure)(learned.network, tasks, data)

        def updated_one(each: tuple[Learned, Any, Any]) -> Learned:  # with the learner's task and data
            learned, task, data = each
            return update(learned, task, data, loss=learner.loss, optimiser=optimiser, step_sizes=step_sizes)

        def updated(learned: Learned, data: Any) -> Learned:  # the learner's data
            if learner.updates_in_turn:
                return lax.map(updated_one, (learned, tasks, data))
            return jax.vmap(updated_one)((learned, tasks, data))

        def updated_but_at_last(learned: Learned, data: Any) -> Learned:  # the learner's data
            return lax.cond(is_update, updated, unchanged, learned, data)

        return one_round(learned, keys, collect=collect, measure=measure, update=updated_but_at_last)

    def for_each_task(array: jax.Array) -> jax.Array:
        return jnp.broadcast_to(array, (len(keys), *array.shape))

    # The last pass measures without an update. One loop over all, because a program that holds the collection
    # twice takes twice as long to compile.
    index = jnp.arange(rounds + 1)
    start = jax.tree.map(for_each_task, Learned(dict(params), optimiser.start(params)))
    keys_of_rounds = jax.vmap(partial(jax.random.split, num=rounds + 1), out_axes=1)(keys)
    return lax.scan(step, start, (index < rounds, index, keys_of_rounds))[1]


def adapted_loss(
    learner: Learner,
    params: Params,
    task: Any,
    sources: Any,
    *,
    step_sizes_at: Callable[[jax.Array], Params],
    optimiser: Optimiser,
    first_order: bool,
) -> tuple[jax.Array, Measured]:
    """Run the inner loop of `adapt` on one task, for a derivative through all its rounds.

    The collected data count as constants, as in the original: their dependence on the parameters is ignored.

    Args:
        learner: the kind of learning.
        params: the initial arrays.
        task: one sampled task.
        sources: sources of each round's data, any pytree with a leading dimension [rounds + 1]. With the parts of the
            key of `adapt`, both functions collect the same data.
        step_sizes_at: the number of an update, int32[] from 0, -> its step size per array of `params`, float32[] or of
            the array's shape.
        optimiser: turns gradients into steps.
        first_order: whether the inner gradients count as constants too.

    Returns:
        (outer loss float32[], the measurements of `adapt`).

    Source: Finn et al. 2017, Algorithms 2 and 3; section 5.2 for the first order.
    """

    def collect(learned: Learned, source: Any) -> Any:  # the learner's data
        return learner.collect(lax.stop_gradient(learned.network), task, source)

    def measure(learned: Learned, data: Any) -> Measured:
        return lax.stop_gradient(learner.measure(lax.stop_gradient(learned.network), task, data))

    def outer(learned: Learned, data: Any) -> jax.Array:  # the learner's data
        return learner.outer_loss(learned.network, task, data)

    def step(learned: Learned, each: tuple[jax.Array, Any]) -> tuple[Learned, Measured]:
        index, source = each

        def updated(learned: Learned, data: Any) -> Learned:  # the learner's data
            return update(
                learned,
                task,
                data,
                loss=learner.loss,
                optimiser=optimiser,
                step_sizes=step_sizes_at(index),
                first_order=first_order,
            )

        return one_round(learned, source, collect=collect, measure=measure, update=updated)

    updates, end = (jax.tree.map(operator.itemgetter(part), sources) for part in (slice(-1), -1))
    number = len(jax.tree.leaves(updates)[0])
    final, before = lax.scan(step, Learned(dict(params), optimiser.start(params)), (jnp.arange(number), updates))
    # In the last round, the outer loss takes the place of the update.
    loss, last = one_round(final, end, collect=collect, measure=measure, update=outer)
    return loss, Measured(jnp.append(before.value, last.value), jnp.append(before.steps, last.steps))
