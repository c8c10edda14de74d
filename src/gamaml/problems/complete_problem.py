"""A Problem with every member, so no other code has to ask which optional members a user has defined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

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
    _check_values(problem, name)
    return CompleteProblem(problem)


def _check_values(problem: Problem, name: str) -> None:
    """Refuse attributes of another form, which would otherwise be met in the middle of a run."""
    size = problem.num_params
    found: list[tuple[str, Any, bool, str]] = [  # the user's attributes
        ("num_rounds", problem.num_rounds, _is_count(problem.num_rounds), "an integer from 0 on"),
        ("metric", problem.metric, problem.metric in ("return", "loss"), '"return" or "loss"'),
        ("scalars", problem.scalars, _are_names(problem.scalars), "a tuple of names"),
        ("scale", problem.scale, _is_scale(problem.scale, size), f"None or a float32 array of {size}"),
    ]
    for attribute in PROBLEM.optional_methods:
        member = getattr(problem, attribute, None)
        found.append((attribute, member, member is None or callable(member), "a method"))
    for attribute, value, fits, expected in found:
        if not fits:
            raise ConfigError(f"task {name!r}: expected {attribute} to be {expected}, got {value!r}; change it")


def _is_count(value: Any) -> bool:  # the user's
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _are_names(value: Any) -> bool:  # the user's
    return isinstance(value, tuple | list) and all(isinstance(name, str) for name in cast(Sequence[Any], value))


def _is_scale(value: Any, size: int) -> bool:  # the user's
    return value is None or (f"{getattr(value, 'dtype', '')}", getattr(value, "shape", ())) == ("float32", (size,))
