"""JAX meta-tasks as problems: a flat vector and a key in, the fitness after the inner loop out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gamaml.config import MEMORIES, Config, InnerConfig, PolicyConfig
from gamaml.inner.start_jax import start_jax
from gamaml.policies import mlp
from gamaml.policies import recurrent as memory
from gamaml.policies.flat import Shapes
from gamaml.policies.vector import Initialiser, ParameterVector
from gamaml.problems.differentiated import Differentiated, Latest
from gamaml.types import Evaluation, EvaluationKey, Float32Array, RLTask, SupervisedTask

_programs: dict[tuple[Any, ...], tuple[object, Callable[..., Any]]] = {}


class InnerLoopProblem:
    """The fitness of initial parameters: the mean over tasks after the last round of the inner loop.

    JAX is started and the program compiled at the first evaluation, or by `warm_up`. The program takes
    `inner.batch_size` children at a time.

    Args:
        definition: the user's task.
        supervised: whether it is learned by its own loss; otherwise by `inner.learner`.
        vector: what the parameters mean.
        initialise: makes the initial network.
        config: gives policy, inner loop and scales.
        own_loss: the user's, where `inner.learner` names one.
    """

    def __init__(
        self,
        definition: object,
        supervised: bool,
        vector: ParameterVector,
        initialise: Initialiser,
        config: Config,
        own_loss: Callable[..., Any] | None = None,
    ) -> None:
        self.num_params = vector.size
        self.num_rounds = config.inner.rounds
        self.batch_size = config.inner.batch_size
        self.scalars = vector.scalars(config.inner)
        self.metric = "loss" if supervised else "return"
        self.scale = vector.scale(config.ga)
        self._definition = definition
        self._vector = vector
        self._initialise = initialise
        self._config = config
        self._own_loss = own_loss
        self._differentiated = Latest(self._differentiate)

    @property
    def optimal_return(self) -> float | None:
        """The task's `optimal_return`, if it has one."""
        return getattr(self._definition, "optimal_return", None)

    def initial(self, noise: Float32Array) -> Float32Array:
        """Turn standard normal noise, float32[num_params], into initial parameters, float32[num_params]."""
        return self._vector.initial(noise, self._initialise)

    def arrays(self, params: Float32Array) -> dict[str, Float32Array]:
        """Return what parameters, float32[num_params], mean: the network's arrays, and the genes by name."""
        return self._vector.arrays(params, self._config.inner, stochastic=self.metric == "return")

    def evaluate(self, params: Float32Array, key: EvaluationKey) -> Evaluation:
        """Return the fitness of `params`, float32[num_params]; a pure function of its arguments."""
        if self._config.maml is not None:
            return self._differentiated(params, key).evaluation
        rows = np.broadcast_to(params, (self.batch_size, self.num_params))
        return self.evaluate_batch(rows, [key] * self.batch_size)[0]

    def gradient(self, params: Float32Array, key: EvaluationKey) -> Float32Array:
        """Return the direction, float32[num_params], that improves the fitness after the last round.

        With strategy = "maml" only, whose evaluations compute it: that of the latest one costs nothing.

        Source: Finn et al. 2017, Algorithm 2, line 10, and Algorithm 3, line 10, without the step.
        """
        return self._differentiated(params, key).gradient

    def evaluate_batch(self, params: Float32Array, keys: Sequence[EvaluationKey]) -> list[Evaluation]:
        """Evaluate children together; none's result depends on the others, nor on its place among them.

        Args:
            params: float32[batch_size, num_params].
            keys: batch_size of them.

        Returns:
            One evaluation per row.
        """
        learning = self._vector.split(params)
        task_data, episode_data = np.array([key.task for key in keys]), np.array([key.episode for key in keys])
        measured = self._program()(*learning, task_data, episode_data)
        values = np.array(measured.value, np.float32)
        sign = -1 if self.metric == "loss" else 1
        fitness, steps = (sign * values[:, -1]).tolist(), np.asarray(measured.steps).tolist()
        scalars = [self._vector.evolved(learning, row) for row in range(len(keys))]
        return [Evaluation(*row) for row in zip(fitness, values, steps, scalars, strict=True)]

    def warm_up(self) -> None:
        """Compile the program, or fetch it from the cache on disk, without evaluating anything."""
        self._program()

    def _differentiate(self, params: Float32Array, key: EvaluationKey) -> Differentiated:
        learning = self._vector.split(params)
        derivative, measured = self._program()(*learning[:3], key.task, key.episode)
        network, step_sizes, std = (np.asarray(array) for array in derivative)
        descent = -self._vector.gradient(learning, network, step_sizes, float(std))
        values = np.array(measured.value, np.float32)
        fitness = float(-values[-1] if self.metric == "loss" else values[-1])
        evolved = self._vector.evolved(self._vector.split(params[np.newaxis]), 0)
        return Differentiated(Evaluation(fitness, values, int(measured.steps), evolved), descent)

    def _program(self) -> Callable[..., Any]:  # a compiled JAX program
        start_jax()
        policy, inner = traced(self._config)
        maml = self._config.maml
        first_order = None if maml is None else maml.first_order
        # The task's identity is part of the key, so the entry keeps the task alive.
        key = (id(self._definition), self.metric, self._vector.network, policy, inner, first_order)
        if key not in _programs:
            # They need JAX, which starts with the first evaluation.
            from gamaml.inner.learners import LOSSES
            from gamaml.inner.program import compile_meta_gradient, compile_program

            loss = None if self.metric == "loss" else self._own_loss or LOSSES[inner.learner]
            arguments = (self._definition, loss, self._vector.network, policy, inner)
            if first_order is None:
                compiled = compile_program(*arguments)
            else:
                compiled = compile_meta_gradient(*arguments, first_order=first_order)
            _programs[key] = (self._definition, compiled)
        return _programs[key][1]


def supervised_problem(definition: SupervisedTask, config: Config) -> InnerLoopProblem:
    """Return the problem of a supervised task.

    Args:
        definition: with `shapes`, `sample`, `loss`; optional `test_loss`, `num_samples`, and `initial`, which
            turns noise by array name into initial arrays by name, in NumPy.
        config: the run's config.
    """
    vector = ParameterVector.of(dict(definition.shapes), config.inner, config.policy, stochastic=False)
    own: Callable[..., Mapping[str, Any]] | None = getattr(definition, "initial", None)
    initialise = vector.fan_in_initialiser(config.policy.activation) if own is None else vector.named_initialiser(own)
    return InnerLoopProblem(definition, True, vector, initialise, config)


def rl_problem(definition: RLTask, config: Config, own_loss: Callable[..., Any] | None = None) -> InnerLoopProblem:
    """Return the problem of a JAX reinforcement-learning task.

    Args:
        definition: with `observation_size`, `action_size`, `horizon`, `sample`, `reset`, `step`.
        config: the run's config.
        own_loss: the user's, where `inner.learner` names one.
    """
    policy = config.policy
    sizes = definition.observation_size, definition.action_size
    shapes: Shapes = mlp.shapes(sizes[0], *policy.hidden, sizes[1])
    if policy.network in MEMORIES:
        shapes = memory.shapes(policy, *sizes)
    if has_critic(config.inner, own_loss):
        shapes = {**shapes, **mlp.shapes(sizes[0], *policy.hidden, 1, prefix=mlp.CRITIC)}
    vector = ParameterVector.of(shapes, config.inner, policy, stochastic=True)
    initialise = vector.fan_in_initialiser(policy.activation, policy.output_scale)
    return InnerLoopProblem(definition, False, vector, initialise, config, own_loss)


def has_critic(inner: InnerConfig, own_loss: Callable[..., Any] | None) -> bool:
    """Return whether there is a value network among the parameters."""
    if inner.rounds == 0:
        return False
    return inner.learner == "actor_critic" if own_loss is None else bool(getattr(own_loss, "critic", False))


def traced(config: Config) -> tuple[PolicyConfig, InnerConfig]:
    """Return policy and inner loop, levelled in all that a program takes as an argument or not at all."""
    # Of the std, a program depends on whether there is one.
    std = float(config.policy.std > 0)
    policy = dataclasses.replace(config.policy, std=std, std_gene=False, output_scale=1.0)
    gene = "parameter" if config.inner.step_size_gene == "parameter" else "none"
    inner = dataclasses.replace(config.inner, step_size=1.0, step_size_gene=gene, share_tasks=True)
    return policy, inner
