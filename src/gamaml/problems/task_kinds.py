"""The four kinds of task, told apart by what they define, and the check of their form."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, cast

from gamaml.errors import ConfigError

PROBLEM, HOST, RL, SUPERVISED = "problem", "host environments", "JAX reinforcement learning", "supervised"

_METHODS: dict[str, dict[str, str]] = {
    PROBLEM: {"initial": "noise", "evaluate": "params, key"},
    HOST: {"make_env": "task"},
    RL: {"sample": "key", "reset": "task, key", "step": "state, action, task, key"},
    SUPERVISED: {"sample": "key", "loss": "params, task, key"},
}
"""Kind -> the methods that it must have, with their arguments. The first kind that fits decides."""

_OPTIONAL: dict[str, dict[str, str]] = {
    PROBLEM: {"evaluate_batch": "params, keys"},
    HOST: {"sample": "generator", "sample_many": "generator, number", "set_task": "env, task"},
    SUPERVISED: {"test_loss": "params, task, key", "initial": "noise"},
}
"""Kind -> the methods that it may have."""

_COUNTS: dict[str, tuple[str, ...]] = {
    PROBLEM: ("num_params",),
    RL: ("observation_size", "action_size", "horizon"),
}
"""Kind -> its positive integers."""

_OPTIONAL_COUNTS: dict[str, tuple[str, ...]] = {HOST: ("horizon",)}
"""Kind -> the positive integers that it may have."""

_PROBLEM_ATTRIBUTES = {"num_rounds": "0", "scalars": "()", "metric": '"return"', "scale": "None"}
"""What else a problem has -> the usual value."""


def kind_of(definition: object, name: str) -> str:
    """Return which kind of task this is, after checking its form.

    Args:
        definition: the user's instance.
        name: its name, for errors.

    Raises:
        ConfigError: it is of no kind (says what the nearest one lacks), or something has the wrong form.
    """
    lacks = {kind: _lacking(definition, kind) for kind in _METHODS}
    kind = next((kind for kind, lacking in lacks.items() if not lacking), None)
    if kind is None:
        nearest = min(lacks, key=lambda kind: len(lacks[kind]) / len(_members(kind)))
        raise ConfigError(
            f"task {name!r}: expected a task, got {type(definition).__name__}, which for the kind {nearest!r} "
            f"lacks {', '.join(lacks[nearest])}; define what is missing"
        )
    for method, arguments in (_METHODS[kind] | _OPTIONAL.get(kind, {})).items():
        _check_arguments(definition, method, arguments, name)
    for count in _COUNTS.get(kind, ()):
        _check_count(getattr(definition, count), count, name)
    for count in _OPTIONAL_COUNTS.get(kind, ()):
        if hasattr(definition, count):
            _check_count(getattr(definition, count), count, name)
    if kind == PROBLEM:
        _check_problem(definition, name)
    if kind == SUPERVISED:
        _check_shapes(getattr(definition, "shapes"), name)  # noqa: B009 - `object` has no attributes to a checker
    return kind


def _members(kind: str) -> list[str]:
    extra = ("shapes",) if kind == SUPERVISED else ()
    return [*_METHODS[kind], *_COUNTS.get(kind, ()), *extra]


def _lacking(definition: object, kind: str) -> list[str]:
    methods = _METHODS[kind]
    missing = [name for name in _members(kind) if not hasattr(definition, name)]
    uncallable = [name for name in methods if not callable(getattr(definition, name, None))]
    return [f"{name}({methods[name]})" for name in uncallable] + [name for name in missing if name not in methods]


def _check_arguments(definition: object, method: str, arguments: str, name: str) -> None:
    function = getattr(definition, method, None)
    if function is None:
        return
    try:
        signature = inspect.signature(function)
    except ValueError:
        return  # a builtin does not tell its arguments
    try:
        signature.bind(*arguments.split(", "))
    except TypeError:
        raise ConfigError(
            f"task {name!r}: expected {method}({arguments}), got {method}{signature}; change its arguments"
        ) from None


def _check_count(value: object, count: str, name: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"task {name!r}: expected {count} to be an integer above 0, got {value!r}; change it")


def _check_problem(definition: object, name: str) -> None:
    missing = [attribute for attribute in _PROBLEM_ATTRIBUTES if not hasattr(definition, attribute)]
    if missing:
        usual = ", ".join(f"{attribute} = {_PROBLEM_ATTRIBUTES[attribute]}" for attribute in missing)
        raise ConfigError(
            f"task {name!r}: expected a Problem with all its attributes, got none named "
            f"{', '.join(missing)}; add e.g. {usual}"
        )
    batch_size = getattr(definition, "batch_size", 1)
    _check_count(batch_size, "batch_size", name)
    if batch_size > 1 and not callable(getattr(definition, "evaluate_batch", None)):
        raise ConfigError(
            f"task {name!r}: expected a method evaluate_batch(params, keys), got none, with "
            f"batch_size={batch_size}; define it, or leave batch_size out"
        )


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
