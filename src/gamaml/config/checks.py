"""The checks of every section on its own fields."""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from gamaml.config.options import Entry, Option, entries
from gamaml.errors import ConfigError, did_you_mean


def check(section: object, path: str) -> None:
    """Check every field of a section by its own bounds and choices.

    Args:
        section: an instance of the section's dataclass.
        path: the section's name, for errors, such as "ga.elite".

    Raises:
        ConfigError: a value is out of bounds, not among the choices, or cannot be stored in a run file.
    """
    for entry in entries(type(section), path):
        value = getattr(section, entry.name)
        if isinstance(value, Mapping):
            _check_setting(path if entry.option.takes_rest else entry.path, value)
        elif isinstance(value, tuple):
            for index, item in enumerate(typing.cast(tuple[Any, ...], value)):
                _check_value(f"{entry.path}[{index}]", item, entry)
        elif value is not None:
            _check_value(entry.path, value, entry)


def check_pairs(name: str, population_size: int) -> None:
    """Refuse a population that cannot come in mirrored pairs.

    Raises:
        ConfigError: its size is odd.
    """
    if population_size % 2:
        raise ConfigError(
            f"{name}={population_size}: expected an even number, since children come in mirrored pairs; choose "
            f"{population_size + 1}"
        )


def _check_value(name: str, value: Any, entry: Entry) -> None:  # an integer, a number, a string, true or false
    option = entry.option
    if option.choices and value not in (*option.choices, True, False) and not (option.own and ":" in value):
        own = f'; one of your own is written "{option.own}"' if option.own else ""
        raise ConfigError(f"{name}={value!r}: unknown; {did_you_mean(value, option.choices)}{own}")
    if option.bounds and not _is_within(value, option):
        number = "a finite number " if option.at_most is None and option.below is None else "a number "
        if math.isfinite(value) and option.above is None:
            number = ""
        default = entry.default if isinstance(entry.default, int | float) else option.example
        remedy = "choose another value" if default is None else f"choose e.g. {default}"
        raise ConfigError(f"{name}={value}: expected {number}{option.bounds}; {remedy}")


def _is_within(value: float, option: Option) -> bool:
    return (
        math.isfinite(value)
        and (option.at_least is None or value >= option.at_least)
        and (option.above is None or value > option.above)
        and (option.at_most is None or value <= option.at_most)
        and (option.below is None or value < option.below)
    )


def _check_setting(name: str, value: Any) -> None:  # any entry of a TOML file
    """Refuse a value that a run file cannot store; TOML has dates, JSON does not."""
    if isinstance(value, Mapping):
        for key, item in typing.cast(Mapping[str, Any], value).items():
            _check_setting(f"{name}.{key}", item)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(typing.cast(Sequence[Any], value)):
            _check_setting(f"{name}[{index}]", item)
    elif not isinstance(value, bool | int | float | str):
        raise ConfigError(
            f"{name}: expected a number, a string, true or false, a list or a section, got a "
            f"{type(value).__name__}; write it as a string"
        )
