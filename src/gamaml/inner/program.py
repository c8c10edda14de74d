"""The compiled programs of JAX tasks: all tasks, episodes and rounds of a batch of children in one call."""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# JAX leaves the types of jit and of key arrays partly unknown.

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gamaml.config import Config, InnerConfig, PolicyConfig
from gamaml.inner.learners import unadapted_returns
from gamaml.inner.loop import Learner, Measured, adapt, adapted_loss
from gamaml.inner.optimisers import Params, optimiser_of
from gamaml.policies import compiled_mlp
from gamaml.policies.flat import Layout
from gamaml.policies.vector import Derivative, Learning, RoundGenes
from gamaml.types import EvaluationKey, RLTask

_KEY_TYPE = "threefry2x32"
"""Named, so that a user's `jax_default_prng_impl` cannot change a run."""

_COMPILER_OPTIONS: dict[str, str | bool] = {"xla_backend_optimization_level": "2"}
"""Half the compilation time of XLA's default 3 (3.4 against 7.9 CPU-seconds for navigation), at the same speed."""

Program = Callable[[Learning[jax.Array], EvaluationKey], Measured]
"""(candidates taken apart, their keys) -> Measured."""

jax.tree_util.register_dataclass(EvaluationKey, data_fields=["task", "episode"], meta_fields=[])


class LearnerOf(Protocol):
    """A kind of learning that waits for the numbers that differ from candidate to candidate."""

    def __call__(self, *, std: jax.Array, factors: jax.Array) -> Learner:
        """Return the learning of a candidate with an action std, float32[], and evolved factors, float32[genes]."""
        ...


def compiled_settings(config: Config) -> tuple[PolicyConfig, InnerConfig]:
    """Return the settings that a compiled program depends on; everything passed at run time is set to a fixed value.

    Only whether the std is above 0 matters. Populations that differ in the rest share a program.
    """
    std = float(config.policy.std > 0)
    by_round = config.policy.std_gene == "round" or config.policy.mean_at_end
    policy = dataclasses.replace(
        config.policy, std=std, std_gene="round" if by_round else False, mean_at_end=False, output_scale=1.0
    )
    gene = config.inner.step_size_gene if config.inner.step_size_gene in ("parameter", "round") else "none"
    inner = dataclasses.replace(config.inner, step_size=1.0, step_size_gene=gene, share_tasks=True, gene_rounds=None)
    return policy, inner


def compile_program(learner_of: LearnerOf, network: Layout, policy: PolicyConfig, inner: InnerConfig) -> Program:
    """Compile the inner loop over all tasks, for a batch of children.

    Args:
        learner_of: the kind of learning.
        network: the layout of the flat network.
        policy: says whether each collection has a std of its own.
        inner: gives rounds, num_tasks, optimiser and batch_size.

    Returns:
        A function of (Learning, EvaluationKey) whose arrays have a leading dimension [batch_size], giving Measured:
        means over tasks, float32[batch_size, rounds + 1], and the number of steps, int32[batch_size].
    """
    program = _over_batch(_adapted(learner_of, network, inner), inner.batch_size)
    return _compiled_for_batch(program, network, policy, inner)


def compile_returns(definition: RLTask, network: Layout, policy: PolicyConfig, inner: InnerConfig) -> Program:
    """Compile the episodes of `compile_program` without rounds, which need no trajectories.

    Args:
        definition: the user's task.
        network: the layout of the flat network.
        policy: gives the network; with a std of 0, actions are not drawn.
        inner: gives num_tasks, episodes and batch_size.
    """

    def program(learning: Learning[jax.Array], key: EvaluationKey) -> Measured:
        params = jax.vmap(network.unflatten)(learning.network)
        keys = jax.vmap(partial(_keys, number=inner.num_tasks))
        tasks = jax.vmap(jax.vmap(definition.sample))(keys(key.task))
        measured = unadapted_returns(definition, policy, inner, params, learning.std[:, 0], tasks, keys(key.episode))
        return Measured(jnp.mean(measured.value, axis=1, keepdims=True), jnp.sum(measured.steps, axis=1))

    return _compiled_for_batch(program, network, policy, inner)


def compile_meta_gradient(
    learner_of: LearnerOf, network: Layout, policy: PolicyConfig, inner: InnerConfig, *, first_order: bool
) -> Callable[[Learning[jax.Array], EvaluationKey], tuple[Derivative[jax.Array], Measured]]:
    """Compile the inner loop over all tasks together with the derivative of its outer loss.

    The outer loss: for a SupervisedTask the final measurement of `compile_program`, for an RLTask the inner loss on
    the last trajectories.

    Args:
        learner_of: the kind of learning.
        network: the layout of the flat network.
        policy: the policy, which has one std.
        inner: gives rounds, num_tasks and optimiser.
        first_order: whether inner gradients count as constants.

    Returns:
        A function of (Learning, EvaluationKey) of one candidate, giving the derivative of the mean over tasks and
        Measured: means over tasks, float32[rounds + 1], and the number of steps, int32[].
    """
    optimiser = optimiser_of(inner)

    def total(values: Derivative[jax.Array], key: EvaluationKey) -> tuple[jax.Array, Measured]:
        learner = learner_of(std=values.std[0], factors=jnp.zeros(0, jnp.float32))
        params, step_sizes_at = network.unflatten(values.network), steps_at(values.step_sizes, network, inner)

        def one_task(task_key: jax.Array, key: jax.Array) -> tuple[jax.Array, Measured]:
            task, keys = learner.sample(task_key), jax.random.split(key, inner.rounds + 1)
            return adapted_loss(
                learner, params, task, keys, step_sizes_at=step_sizes_at, optimiser=optimiser, first_order=first_order
            )

        keys = _keys(key.task, inner.num_tasks), _keys(key.episode, inner.num_tasks)
        losses, measured = jax.vmap(one_task, out_axes=(0, 1))(*keys)
        return jnp.mean(losses), _over_tasks(measured, learner)

    differentiated = jax.grad(total, has_aux=True)

    def program(learning: Learning[jax.Array], key: EvaluationKey) -> Any:  # derivative and Measured
        return differentiated(derivable(learning), key)

    with compiled_mlp.differentiated_twice():
        return compiled(program, learning_shapes(network, policy, inner), _key_shapes())


def compiled(program: Callable[..., Any], *shapes: Any) -> Callable[..., Any]:
    """Return a function compiled for arguments, any pytrees, of these shapes and dtypes."""
    # JAX's default, named so that a user's `jax_threefry_partitionable` cannot change a run.
    with jax.threefry_partitionable(True):
        return jax.jit(program).lower(*shapes).compile(_COMPILER_OPTIONS)


def derivable(learning: Learning[jax.Array]) -> Derivative[jax.Array]:
    """Return the parts of a candidate by which there is a derivative."""
    return Derivative(network=learning.network, step_sizes=learning.step_sizes, std=learning.std)


def learning_shapes(
    network: Layout, policy: PolicyConfig, inner: InnerConfig, *leading: int
) -> Learning[jax.ShapeDtypeStruct]:
    """Return the shapes and dtypes of a candidate, with leading dimensions of several."""
    rounds = max(1, inner.rounds)
    of_one = round_shapes(network, inner)

    def float32(*shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((*leading, *shape), np.float32)

    return Learning(
        network=float32(network.size),
        step_sizes=float32(rounds if inner.step_size_gene == "round" else 1, *of_one.step_sizes.shape),
        std=float32(inner.rounds + 1 if policy.std_gene == "round" else 1),
        factors=float32(rounds if inner.genes_per_round else 1, *of_one.factors.shape),
    )


def round_shapes(network: Layout, inner: InnerConfig) -> RoundGenes[jax.ShapeDtypeStruct]:
    """Return the shapes and dtypes of the genes of one round."""
    step_sizes = network.size if inner.step_size_gene == "parameter" else len(network.arrays)
    shapes = (step_sizes,), (), (len(inner.genes),)
    return RoundGenes(*(jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes))


def steps_by_name(step_sizes: jax.Array, network: Layout, inner: InnerConfig) -> Params:
    """Return the step sizes of the network's arrays, float32[] each or of their shapes."""
    if inner.step_size_gene == "parameter":
        return network.unflatten(step_sizes)
    return {name: step_sizes[i] for i, (name, _) in enumerate(network.arrays)}


def _key_shapes(*leading: int) -> EvaluationKey:
    data: Any = jax.ShapeDtypeStruct((*leading, 2), np.uint32)
    return EvaluationKey(task=data, episode=data)


def at_round(genes: jax.Array, index: jax.Array) -> jax.Array:
    """Return the genes of one round, [...], from [once, ...]; a round beyond the last gets the last one's."""
    if len(genes) == 1:
        return genes[0]
    return lax.dynamic_index_in_dim(genes, index, keepdims=False)


def steps_at(step_sizes: jax.Array, network: Layout, inner: InnerConfig) -> Callable[[jax.Array], Params]:
    """Return the step sizes of a round, by its number, from float32[once, number]."""
    return lambda index: steps_by_name(at_round(step_sizes, index), network, inner)


def _compiled_for_batch(program: Program, network: Layout, policy: PolicyConfig, inner: InnerConfig) -> Program:
    shapes = learning_shapes(network, policy, inner, inner.batch_size)
    return compiled(program, shapes, _key_shapes(inner.batch_size))


def _adapted(learner_of: LearnerOf, network: Layout, inner: InnerConfig) -> Program:
    """Return the program of one child; its arguments have no leading dimension."""

    def program(learning: Learning[jax.Array], key: EvaluationKey) -> Measured:
        def learner_at(index: jax.Array) -> Learner:
            return learner_of(std=at_round(learning.std, index), factors=at_round(learning.factors, index))

        # Tasks, and how steps are counted, depend on no gene.
        first = learner_at(jnp.zeros((), jnp.int32))
        measured = adapt(
            learner_at,
            network.unflatten(learning.network),
            jax.vmap(first.sample)(_keys(key.task, inner.num_tasks)),
            _keys(key.episode, inner.num_tasks),
            step_sizes_at=steps_at(learning.step_sizes, network, inner),
            rounds=inner.rounds,
            optimiser=optimiser_of(inner),
        )
        return _over_tasks(measured, first)

    return program


def _over_tasks(measured: Measured, learner: Learner) -> Measured:
    """Return the mean over tasks of each round, from arrays [rounds + 1, num_tasks], and the steps of all."""
    total = jnp.sum(measured.steps[0]) if learner.collects_once else jnp.sum(measured.steps)
    return Measured(jnp.mean(measured.value, axis=1), total)


def _over_batch(program: Program, batch_size: int) -> Program:
    if batch_size > 1:
        return jax.vmap(program)

    # A dimension of one would change the last bits, and with them every run whose config names no batch.
    def alone(learning: Learning[jax.Array], key: EvaluationKey) -> Measured:
        measured = program(*jax.tree.map(operator.itemgetter(0), (learning, key)))
        return jax.tree.map(operator.itemgetter(None), measured)

    return alone


def _keys(data: Any, number: int) -> jax.Array:
    return jax.random.split(jax.random.wrap_key_data(data, impl=_KEY_TYPE), number)
