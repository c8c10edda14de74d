"""Checks that the sections share."""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from gamaml.errors import ConfigError, did_you_mean

ADDED: Mapping[str, bool] = {"added": True}
"""Metadata of a name that runs from before it existed do not have; its default is what they did. The default is left
out of the config's mapping, so that their digests are what they were, and they can be resumed."""


def at_least(name: str, value: float | None, minimum: float) -> None:
    """Check that a number, if there is one, is not below a minimum."""
    if value is not None and not value >= minimum:
        raise ConfigError(f"{name}={value}: expected at least {minimum}; choose a larger value")


def above_zero(name: str, value: float | None) -> None:
    """Check that a number, if there is one, is positive and finite."""
    if value is not None and not (value > 0 and math.isfinite(value)):
        raise ConfigError(f"{name}={value}: expected a finite number above 0; choose a positive value")


def one_of(name: str, value: str, known: Sequence[str]) -> None:
    """Check that a word is one of those known."""
    if value not in known:
        raise ConfigError(f"{name}={value!r}: unknown; {did_you_mean(value, known)}")


def check_setting(name: str, value: Any) -> None:  # any entry of a TOML file
    """Refuse what a run file could not store; TOML has dates, JSON does not."""
    if isinstance(value, Mapping):
        for key, item in typing.cast(Mapping[str, Any], value).items():
            check_setting(f"{name}.{key}", item)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(typing.cast(Sequence[Any], value)):
            check_setting(f"{name}[{index}]", item)
    elif not isinstance(value, bool | int | float | str):
        raise ConfigError(
            f"{name}: expected a number, a string, true or false, a list or a section, got a "
            f"{type(value).__name__}; write it as a string"
        )
