"""User code that a config names as "module:name": find it, and build it with its settings."""

from __future__ import annotations

import importlib
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gamaml.config.read import elsewhere
from gamaml.errors import ConfigError, did_you_mean

_KINDS: dict[object, tuple[tuple[type, ...], str]] = {
    int: ((int,), "an integer"),
    float: ((int, float), "a number"),
    bool: ((bool,), "true or false"),
    str: ((str,), "a string in quotes"),
}
"""Annotation -> the types accepted from TOML, and their name in messages."""


def find(path: str, subject: str, kind: str, fits: Callable[[object], bool]) -> Any:  # the object of that name
    """Return the object "module:name", imported with the current directory first.

    Args:
        path: "module:name".
        subject: the entry of the config, for errors.
        kind: a word for the kind of object, for errors.
        fits: whether an object is of that kind.

    Raises:
        ConfigError: no such module, or nothing of that kind and name in it.
    """
    module_name, _, wanted = path.partition(":")
    if module_name == "__main__":
        raise ConfigError(
            f"{subject}: expected the name of a module, got '__main__', which no later command can import; write the "
            "name of the script's file, without .py"
        )
    module = _import(module_name, subject)
    found = getattr(module, wanted, None)
    if not fits(found):
        known = [key for key, value in vars(module).items() if fits(value)]
        raise ConfigError(
            f"{subject}: expected a {kind} {wanted!r} in module {module_name!r}, got none; "
            f"{did_you_mean(wanted, known)}"
        )
    return found


def _import(module_name: str, subject: str) -> object:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        # A relative name has no package to be relative to.
        if module_name and not module_name.startswith("."):
            return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # Only a module that the config names is the config's mistake, not one that the module itself imports.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
    raise ConfigError(
        f"{subject}: expected an importable module {module_name!r}, got none; "
        "start gamaml in the module's folder, or install it"
    )


def build(
    cls: type,
    settings: Mapping[str, Any],
    *,
    section: str,
    kind: str,
    name: str,
    extra: Mapping[str, Any] | None = None,
) -> Any:  # an instance of `cls`
    """Make an instance of a class with the settings of a section.

    Args:
        cls: the class.
        settings: its keyword arguments.
        section: the section's name, for errors.
        kind: a word for the kind of class, for errors.
        name: the class's name in the config, for errors.
        extra: arguments that gamaml adds if the constructor takes them and the settings do not give them.

    Raises:
        ConfigError: a setting is unknown, missing, of another type, or refused by the constructor.
    """
    parameters = inspect.signature(cls).parameters
    given = {key: value for key, value in (extra or {}).items() if key in parameters and key not in settings}
    hints = _hints(cls)
    accepts_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    for key, value in settings.items():
        if key not in parameters and not accepts_any:
            known = [parameter for parameter in parameters if parameter not in (extra or {})]
            there = f"did you mean {' or '.join(elsewhere(key))}? " if elsewhere(key) else ""
            raise ConfigError(f"{section}.{key}: unknown setting of {kind} {name!r}; {there}{did_you_mean(key, known)}")
        _check_type(f"{section}.{key}", value, hints.get(key))
    for key, parameter in parameters.items():
        required = parameter.default is inspect.Parameter.empty and parameter.kind not in (
            inspect.Parameter.VAR_POSITIONAL,
            inspect.Parameter.VAR_KEYWORD,
        )
        if required and key not in settings and key not in given:
            raise ConfigError(
                f"{section}.{key}: expected a value, got none; {kind} {name!r} requires it below [{section}]"
            )
    try:
        return cls(**settings, **given)
    except ValueError as error:
        raise ConfigError(f"{kind} {name!r}: {error}") from error


def _hints(cls: type) -> dict[str, Any]:  # annotations of the constructor's arguments
    try:
        return typing.get_type_hints(cls.__init__)
    except NameError:
        return {}  # annotations that only type checkers can resolve are not checked


def _check_type(subject: str, value: Any, hint: Any) -> None:  # a TOML value and its annotation
    if hint not in _KINDS:
        return
    accepted, words = _KINDS[hint]
    if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{subject}: expected {words}, got {value!r}; change its type")
