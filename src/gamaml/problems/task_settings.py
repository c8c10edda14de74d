"""From a task's class and settings to an instance, with every mistake in one line."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from typing import Any

from gamaml.config import PolicyConfig
from gamaml.errors import ConfigError, did_you_mean

_POLICY = "policy"
"""A constructor's argument of this name receives the config's policy."""

_KINDS: dict[object, tuple[tuple[type, ...], str]] = {
    int: ((int,), "an integer"),
    float: ((int, float), "a number"),
    bool: ((bool,), "true or false"),
    str: ((str,), "a string in quotes"),
}
"""Annotation -> types accepted from TOML, in words."""


def build(cls: type, settings: Mapping[str, Any], policy: PolicyConfig, name: str) -> Any:  # an instance of `cls`
    """Make a task.

    Args:
        cls: the task's class; an argument `policy` of its constructor receives the config's policy.
        settings: its keyword arguments.
        policy: the config's policy.
        name: the task's name, for errors.

    Raises:
        ConfigError: a setting is unknown, missing, of another type, or refused by the constructor.
    """
    parameters = inspect.signature(cls).parameters
    wants_policy = _POLICY in parameters and _POLICY not in settings
    hints = _hints(cls)
    accepts_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    for key, value in settings.items():
        if key not in parameters and not accepts_any:
            known = [parameter for parameter in parameters if parameter != _POLICY]
            raise ConfigError(f"task.{key}: unknown setting of task {name!r}; {did_you_mean(key, known)}")
        _check_type(f"task.{key}", value, hints.get(key))
    for key, parameter in parameters.items():
        required = parameter.default is inspect.Parameter.empty and parameter.kind not in (
            inspect.Parameter.VAR_POSITIONAL,
            inspect.Parameter.VAR_KEYWORD,
        )
        if required and key not in settings and not (key == _POLICY and wants_policy):
            raise ConfigError(f"task.{key}: expected a value, got none; task {name!r} requires it below [task]")
    extra = {_POLICY: policy} if wants_policy else {}
    try:
        return cls(**settings, **extra)
    except ValueError as error:
        raise ConfigError(f"task {name!r}: {error}") from error


def _hints(cls: type) -> dict[str, Any]:  # annotations of the constructor's arguments
    try:
        return typing.get_type_hints(cls.__init__)
    except NameError:
        return {}  # an annotation that exists for type checkers only says nothing to check here


def _check_type(subject: str, value: Any, hint: Any) -> None:  # a TOML value and its annotation
    if hint not in _KINDS:
        return
    accepted, words = _KINDS[hint]
    if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{subject}: expected {words}, got {value!r}; change its type")
