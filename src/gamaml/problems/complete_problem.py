"""A Problem with every member, so no other code has to ask which optional members a user has defined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gamaml.errors import ConfigError
from gamaml.problems.forms import Form
from gamaml.types import Evaluation, EvaluationKey, Float32Array, Problem

_USUAL = {"num_rounds": "0", "scalars": "()", "metric": '"return"', "scale": "None"}
"""The required attributes besides num_params -> their usual values."""

PROBLEM = Form(
    kind="problem",
    methods={"initial": "noise", "evaluate": "params, key"},
    counts=("num_params",),
    optional_methods={
        "measure_constants": "",
        "use_constants": "constants",
        "arrays": "params",
        "warm_up": "",
        "evaluate_batch": "params, keys",
        "gradient": "params, key",
    },
    optional_counts=("batch_size",),
    optional_values=("libraries", "environment_versions", "reproducible", "optimal_return"),
)


class CompleteProblem:
    """A Problem with every member: the problem's own, and a default for each optional one that it leaves out.

    The members are attributes of the instance, so that a call goes directly to the problem's method.

    Args:
        problem: the problem, already checked.

    Attributes:
        wrapped: the problem.
        batch_size: rows of `evaluate_batch`.
        libraries: distributions whose versions a run file records.
        environment_versions: other versions that it records, by name.
        reproducible: whether an evaluation can be repeated bit by bit.

    The required attributes are described in `Problem`.
    """

    batch_size: int = 1
    libraries: Sequence[str] = ()
    environment_versions: Mapping[str, str] = {}
    reproducible: bool = True

    def __init__(self, problem: Problem) -> None:
        self.wrapped = problem
        self.num_params, self.num_rounds = problem.num_params, problem.num_rounds
        self.scalars, self.metric, self.scale = problem.scalars, problem.metric, problem.scale
        self.initial, self.evaluate = problem.initial, problem.evaluate
        for name in PROBLEM.optional:
            if name != "optimal_return" and getattr(problem, name, None) is not None:
                setattr(self, name, getattr(problem, name))

    @property
    def optimal_return(self) -> float | None:
        """The greatest mean return that any policy reaches, if the problem knows it."""
        # Read on demand, since it may take seconds to compute, and rank 0 alone asks for it.
        return getattr(self.wrapped, "optimal_return", None)

    def measure_constants(self) -> Mapping[str, Float32Array]:
        """Return the constants measured at the beginning of a run: none."""
        return {}

    def use_constants(self, constants: Mapping[str, Float32Array]) -> None:
        """Accept the constants of a run, which are none."""

    def arrays(self, params: Float32Array) -> Mapping[str, Any]:
        """Return the contents of a parameter vector by name: the vector itself."""
        return {"parameters": params}

    def warm_up(self) -> None:
        """Prepare the first evaluation, which needs no preparation."""

    def evaluate_batch(self, params: Float32Array, keys: Sequence[EvaluationKey]) -> Sequence[Evaluation]:
        """Return the fitness of every row of `params`, float32[batch_size, num_params], one after the other."""
        return [self.evaluate(row, key) for row, key in zip(params, keys, strict=True)]

    def gradient(self, params: Float32Array, key: EvaluationKey) -> Float32Array:
        """Refuse: there is no derivative."""
        raise ConfigError(
            f"{type(self.wrapped).__name__}: expected a method gradient(params, key), got none; define it, or choose "
            "a strategy without gradients"
        )


def complete(problem: Problem, name: str | None = None) -> CompleteProblem:
    """Return a problem with all its members. No other function asks which optional members it defines.

    Args:
        problem: an object with at least the required members of `Problem`.
        name: the task's name in errors; by default, the class's.

    Raises:
        ConfigError: in one line, the member that is missing, of another form, or misspelt.
    """
    if isinstance(problem, CompleteProblem):
        return problem
    name = name or type(problem).__name__
    PROBLEM.check(problem, name)
    missing = [attribute for attribute in _USUAL if not hasattr(problem, attribute)]
    if missing:
        usual = ", ".join(f"{attribute} = {_USUAL[attribute]}" for attribute in missing)
        raise ConfigError(
            f"task {name!r}: expected a Problem with all its attributes, got none named "
            f"{', '.join(missing)}; add e.g. {usual}"
        )
    batch_size = getattr(problem, "batch_size", None) or 1
    if batch_size > 1 and not callable(getattr(problem, "evaluate_batch", None)):
        raise ConfigError(
            f"task {name!r}: expected a method evaluate_batch(params, keys), got none, with "
            f"batch_size={batch_size}; define it, or leave batch_size out"
        )
    return CompleteProblem(problem)
