"""Code of the user's that a config names as "module:name": found, and made with its settings."""

from __future__ import annotations

import importlib
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gamaml.errors import ConfigError, did_you_mean

_KINDS: dict[object, tuple[tuple[type, ...], str]] = {
    int: ((int,), "an integer"),
    float: ((int, float), "a number"),
    bool: ((bool,), "true or false"),
    str: ((str,), "a string in quotes"),
}
"""Annotation -> types accepted from TOML, in words."""


def find(path: str, subject: str, kind: str, fits: Callable[[object], bool]) -> Any:  # what "module:name" names
    """Return what "module:name" names, imported with the current directory first.

    Args:
        path: the words.
        subject: the entry of the config, for errors.
        kind: what is looked for, in a word.
        fits: whether a value is of that kind.

    Raises:
        ConfigError: no such module, or nothing of that kind and name in it.
    """
    module_name, _, wanted = path.partition(":")
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
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # A missing module of that name is the config's mistake; one that the module itself imports is not.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
    except ValueError:
        pass  # importlib's answer to an empty or relative name
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
        section: of the config, for errors, such as "task".
        kind: of the class, for errors, such as "task".
        name: as the config names it, for errors.
        extra: arguments that come from elsewhere, given where the constructor has them and the settings do not.

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
            raise ConfigError(f"{section}.{key}: unknown setting of {kind} {name!r}; {did_you_mean(key, known)}")
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
        return {}  # an annotation that exists for type checkers only says nothing to check here


def _check_type(subject: str, value: Any, hint: Any) -> None:  # a TOML value and its annotation
    if hint not in _KINDS:
        return
    accepted, words = _KINDS[hint]
    if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{subject}: expected {words}, got {value!r}; change its type")
