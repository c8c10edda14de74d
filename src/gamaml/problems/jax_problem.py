"""JAX meta-tasks as problems, from a flat vector and a key to the fitness after the inner loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from gamaml.config import MEMORIES, Config
from gamaml.inner.start_jax import start_jax
from gamaml.job.collection import collection_paused
from gamaml.policies import mlp
from gamaml.policies import recurrent as memory
from gamaml.policies.flat import Shapes
from gamaml.policies.vector import Derivative, Initialiser, ParameterVector
from gamaml.problems.differentiated import Differentiated, Latest, derivative_order
from gamaml.problems.registry import has_critic, ready_made_settings
from gamaml.problems.task_kinds import CompleteRLTask, CompleteSupervisedTask
from gamaml.types import Evaluation, EvaluationKey, Float32Array

_programs: dict[tuple[Any, ...], tuple[object, Callable[..., Any]]] = {}


class JaxProblem:
    """The fitness of initial parameters: the mean over tasks after the last round of the inner loop.

    JAX is started and the program compiled at the first evaluation, or by `warm_up`. The program takes
    `inner.batch_size` children at a time.

    Args:
        task: the user's, completed.
        config: the run's config.
        own_loss: the user's, where `inner.learner` names one.
    """

    def __init__(
        self,
        task: CompleteSupervisedTask | CompleteRLTask,
        config: Config,
        own_loss: Callable[..., Any] | None = None,
    ) -> None:
        if isinstance(task, CompleteSupervisedTask):
            self.metric = "loss"
            self._vector, self._initialise = _supervised_parameters(task, config)
        else:
            self.metric = "return"
            self._vector, self._initialise = _policy_parameters(task, config, own_loss)
        self.num_params = self._vector.size
        self.num_rounds = config.inner.rounds
        self.batch_size = config.inner.batch_size
        self.scalars = self._vector.scalars(config.inner)
        self.scale = self._vector.scale(config.ga)
        self._task, self._config, self._own_loss = task, config, own_loss
        self._order = derivative_order(config)
        self._differentiated = Latest(self._differentiate)
        self._compiled: Callable[..., Any] | None = None

    @property
    def optimal_return(self) -> float | None:
        """The task's `optimal_return`, if it has one."""
        return self._task.optimal_return if isinstance(self._task, CompleteRLTask) else None

    def initial(self, noise: Float32Array) -> Float32Array:
        """Turn standard normal noise, float32[num_params], into initial parameters, float32[num_params]."""
        return self._vector.initial(noise, self._initialise)

    def arrays(self, params: Float32Array) -> dict[str, Float32Array]:
        """Return the contents of `params`, float32[num_params], by name: the network's arrays, and the genes."""
        return self._vector.arrays(params, self._config.inner, stochastic=self.metric == "return")

    def evaluate(self, params: Float32Array, key: EvaluationKey) -> Evaluation:
        """Return the fitness of `params`, float32[num_params]; a pure function of its arguments."""
        if self._order > 0:
            return self._differentiated(params, key).evaluation
        rows = params[None] if self.batch_size == 1 else np.broadcast_to(params, (self.batch_size, self.num_params))
        return self.evaluate_batch(rows, [key] * self.batch_size)[0]

    def gradient(self, params: Float32Array, key: EvaluationKey) -> Float32Array:
        """Return the direction, float32[num_params], that improves the fitness after the last round.

        It needs strategy = "maml", whose evaluations compute it; after an evaluation it is free.

        Source: Finn et al. 2017, Algorithm 2, line 10, and Algorithm 3, line 10, without the step.
        """
        return self._differentiated(params, key).gradient

    def evaluate_batch(self, params: Float32Array, keys: Sequence[EvaluationKey]) -> list[Evaluation]:
        """Evaluate children together; a child's result depends neither on the others nor on its place among them.

        Args:
            params: float32[batch_size, num_params].
            keys: batch_size of them.

        Returns:
            One evaluation per row.
        """
        genes = self._vector.genes(params)
        key = EvaluationKey(task=np.array([key.task for key in keys]), episode=np.array([key.episode for key in keys]))
        measured = self._program()(self._vector.learning(params, genes), key)
        values = np.array(measured.value, np.float32)
        sign = -1 if self.metric == "loss" else 1
        fitness, steps = (sign * values[:, -1]).tolist(), np.asarray(measured.steps).tolist()
        scalars = self._vector.evolved(genes)
        return [Evaluation(*row) for row in zip(fitness, values, steps, scalars, strict=True)]

    def warm_up(self) -> None:
        """Compile the program, or fetch it from the cache on disk, without evaluating anything."""
        self._program()

    def _differentiate(self, params: Float32Array, key: EvaluationKey) -> Differentiated:
        learning = self._vector.split(params)
        derivative, measured = self._program()(learning, key)
        descent = -self._vector.gradient(learning, Derivative(*map(np.asarray, derivative)))
        values = np.array(measured.value, np.float32)
        fitness = float(-values[-1] if self.metric == "loss" else values[-1])
        (scalars,) = self._vector.evolved(self._vector.genes(params[None]))
        return Differentiated(Evaluation(fitness, values, int(measured.steps), scalars), descent)

    def _program(self) -> Callable[..., Any]:  # a compiled JAX program
        if self._compiled is None:
            self._compiled = self._compile()
        return self._compiled

    @collection_paused()
    def _compile(self) -> Callable[..., Any]:  # a compiled JAX program
        """Return the program of this problem, which it may share with others."""
        start_jax()
        from gamaml.inner import program
        from gamaml.inner.kept_program import kept
        from gamaml.inner.learners import LOSSES, rl_learner, supervised_learner

        policy, inner = program.compiled_settings(self._config)
        task, network, order = self._task, self._vector.network, self._order
        # The task's identity is part of the key, so the entry keeps the task alive.
        key = (id(task.task), self.metric, network, policy, inner, order)
        if key not in _programs:
            if isinstance(task, CompleteSupervisedTask):
                supervised = supervised_learner(task.task, task.test_loss, task.num_samples)

                def learner(std: Any, factors: Any) -> Any:  # JAX arrays in, a Learner out
                    return supervised
            else:
                learner = partial(rl_learner, task.task, self._own_loss or LOSSES[inner.learner], policy, inner)

            def compiled() -> Any:  # a compiled JAX program
                if order > 0:
                    return program.compile_meta_gradient(learner, network, policy, inner, first_order=order == 1)
                if isinstance(task, CompleteRLTask) and inner.rounds == 0:
                    return program.compile_returns(task.task, network, policy, inner)
                return program.compile_program(learner, network, policy, inner)

            described = None if self._own_loss is not None else ready_made_settings(task.task)
            description = None if described is None else repr((described, self.metric, network, policy, inner, order))
            _programs[key] = task.task, kept(description, compiled)
        return _programs[key][1]


def _supervised_parameters(task: CompleteSupervisedTask, config: Config) -> tuple[ParameterVector, Initialiser]:
    vector = ParameterVector.of(task.shapes, config.inner, config.policy, stochastic=False)
    if task.initial is None:
        return vector, vector.fan_in_initialiser(config.policy.activation)
    return vector, vector.named_initialiser(task.initial)


def _policy_parameters(
    task: CompleteRLTask, config: Config, own_loss: Callable[..., Any] | None
) -> tuple[ParameterVector, Initialiser]:
    policy, sizes = config.policy, (task.task.observation_size, task.task.action_size)
    shapes: Shapes = mlp.shapes(sizes[0], *policy.hidden, sizes[1])
    if policy.network in MEMORIES:
        shapes = memory.shapes(policy, *sizes)
    if has_critic(config.inner, own_loss):
        shapes = {**shapes, **mlp.shapes(sizes[0], *policy.hidden, 1, prefix=mlp.CRITIC)}
    vector = ParameterVector.of(shapes, config.inner, policy, stochastic=True)
    return vector, vector.fan_in_initialiser(policy.activation, policy.output_scale)
