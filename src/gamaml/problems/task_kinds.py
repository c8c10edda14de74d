"""The four kinds of task: recognised by their members, checked, and completed by the optional ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from gamaml.errors import ConfigError
from gamaml.policies.flat import Shapes
from gamaml.problems.complete_problem import PROBLEM, CompleteProblem, complete
from gamaml.problems.forms import Form
from gamaml.types import Float32Array, HostTask, RLTask, SupervisedTask

HOST = Form(
    kind="host environments",
    methods={"make_env": "task"},
    optional_methods={
        "sample": "generator",
        "sample_many": "generator, number",
        "set_task": "env, task",
        "make_envs": "task, number",
    },
    optional_counts=("horizon",),
    optional_values=("all_tasks", "reproducible", "libraries"),
)
RL = Form(
    kind="JAX reinforcement learning",
    methods={"sample": "key", "reset": "task, key", "step": "state, action, task, key"},
    counts=("observation_size", "action_size", "horizon"),
    optional_values=("optimal_return", "deterministic"),
)
SUPERVISED = Form(
    kind="supervised",
    methods={"sample": "key", "loss": "params, task, key"},
    values=("shapes",),
    optional_methods={"test_loss": "params, task, key", "initial": "noise"},
    optional_counts=("num_samples",),
)
FORMS = (PROBLEM, HOST, RL, SUPERVISED)
"""The first form that fits decides."""


@dataclass(frozen=True)
class CompleteHostTask:
    """A HostTask with every member.

    Attributes:
        make_env: task -> an environment.
        sample_many: (generator, number) -> so many tasks; None where all environments are alike.
        all_tasks: the tasks there are, where they are few; otherwise empty.
        set_task: (environment, task) -> None; None where an environment cannot be given another task.
        make_envs: (task, number) -> a batch environment of so many episodes; None where they are played one by one.
        horizon: steps after which an episode is cut, if any.
        reproducible: whether a seed decides an episode, as far as the task says.
        libraries: distributions whose versions a run file records.
    """

    make_env: Callable[[Any], Any]
    sample_many: Callable[[np.random.Generator, int], Sequence[Any]] | None
    all_tasks: tuple[Any, ...]  # the user's tasks
    set_task: Callable[[Any, Any], None] | None
    make_envs: Callable[[Any, int], Any] | None
    horizon: int | None
    reproducible: bool
    libraries: tuple[str, ...]

    form = HOST

    @classmethod
    def of(cls, task: HostTask) -> CompleteHostTask:
        """Return a task completed."""
        own: Any = task
        sample, sample_many = getattr(own, "sample", None), getattr(own, "sample_many", None)
        all_tasks = getattr(own, "all_tasks", None)

        def one_by_one(generator: np.random.Generator, number: int) -> list[Any]:  # the user's tasks
            return [own.sample(generator) for _ in range(number)]

        return cls(
            make_env=task.make_env,
            sample_many=one_by_one if sample_many is None and sample is not None else sample_many,
            all_tasks=() if all_tasks is None else tuple(all_tasks),
            set_task=getattr(own, "set_task", None),
            make_envs=getattr(own, "make_envs", None),
            horizon=getattr(own, "horizon", None),
            reproducible=bool(getattr(own, "reproducible", True)),
            libraries=tuple(getattr(own, "libraries", ())),
        )


@dataclass(frozen=True)
class CompleteRLTask:
    """An RLTask with every member.

    Attributes:
        task: the user's.
        deterministic: whether an episode follows from the task and the actions alone.
    """

    task: RLTask
    deterministic: bool

    form = RL

    @classmethod
    def of(cls, task: RLTask) -> CompleteRLTask:
        """Return a task completed."""
        return cls(task, deterministic=bool(getattr(task, "deterministic", False)))

    @property
    def optimal_return(self) -> float | None:
        """The greatest mean return that any policy reaches, NaN or None where it is not known."""
        # Read on demand: a bandit's may take seconds to compute.
        return getattr(self.task, "optimal_return", None)


@dataclass(frozen=True)
class CompleteSupervisedTask:
    """A SupervisedTask with every member.

    Attributes:
        task: the user's.
        shapes: name -> shape of the arrays of `params`.
        test_loss: (params, task, key) -> the loss that children are judged by.
        num_samples: samples that one task costs.
        initial: turns standard normal arrays by name into initial arrays by name; None for the scaled noise of
            `vector.fan_in_initial`.
    """

    task: SupervisedTask
    shapes: Shapes
    test_loss: Callable[[Any, Any, Any], Any]
    num_samples: int
    initial: Callable[[Mapping[str, Float32Array]], Mapping[str, Any]] | None

    form = SUPERVISED

    @classmethod
    def of(cls, task: SupervisedTask) -> CompleteSupervisedTask:
        """Return a task completed."""
        return cls(
            task,
            shapes=dict(task.shapes),
            test_loss=getattr(task, "test_loss", None) or task.loss,
            num_samples=getattr(task, "num_samples", None) or 1,
            initial=getattr(task, "initial", None),
        )


CompleteTask = CompleteProblem | CompleteHostTask | CompleteRLTask | CompleteSupervisedTask


def complete_task(definition: Any, name: str) -> CompleteTask:  # the user's task
    """Return a user's task with every member. No other function asks which optional members it defines.

    Args:
        definition: the user's instance.
        name: the task's name in errors.

    Raises:
        ConfigError: it is of no kind (the message names the members that the nearest one lacks), a member has the
            wrong form, or the name of an optional one is misspelt.
    """
    if isinstance(definition, CompleteProblem):
        return definition
    lacks = {form.kind: form.lacking(definition) for form in FORMS}
    form = next((form for form in FORMS if not lacks[form.kind]), None)
    if form is None:
        nearest = min(FORMS, key=lambda form: len(lacks[form.kind]) / len(form.required))
        raise ConfigError(
            f"task {name!r}: expected a task, got {type(definition).__name__}, which for the kind {nearest.kind!r} "
            f"lacks {', '.join(lacks[nearest.kind])}; define them"
        )
    if form is PROBLEM:
        return complete(definition, name)
    form.check(definition, name)
    if form is HOST:
        return CompleteHostTask.of(definition)
    if form is RL:
        return CompleteRLTask.of(definition)
    _check_shapes(definition.shapes, name)
    return CompleteSupervisedTask.of(definition)


def _check_shapes(shapes: Any, name: str) -> None:  # the user's attribute
    def is_shape(shape: Any) -> bool:
        if not isinstance(shape, Sequence) or isinstance(shape, str):
            return False
        return all(type(size) is int and size > 0 for size in cast(Sequence[Any], shape))

    if not isinstance(shapes, Mapping) or not shapes:
        raise ConfigError(
            f"task {name!r}: expected shapes to map names to shapes, got {shapes!r}; "
            'write e.g. shapes = {"w": (10, 1), "b": (1,)}'
        )
    for array, shape in cast(Mapping[Any, Any], shapes).items():
        if not isinstance(array, str) or not is_shape(shape):
            raise ConfigError(
                f"task {name!r}: expected shapes[{array!r}] to be positive integers, got {shape!r}; write e.g. (10, 1)"
            )
