"""Values as TOML writes them, and the type of a field in words."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Mapping, Sequence
from typing import Any, cast

from gamaml.config.options import Entry

WIDTH = 120
"""Columns of generated text."""

_KINDS: dict[object, tuple[str, str]] = {
    int: ("integer", "integers"),
    float: ("number", "numbers"),
    bool: ("true or false", ""),
    str: ("string", "strings"),
}
"""Type -> its name, for one and for several."""


def toml(value: Any) -> str:  # any value that TOML has
    """Return a value in TOML, on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:_}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Mapping):
        items = cast(Mapping[str, Any], value).items()
        return f"{{ {', '.join(f'{key_of(key)} = {toml(item)}' for key, item in items)} }}" if value else "{}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(toml, cast(Sequence[Any], value)))}]"
    return json.dumps(value, ensure_ascii=False)


def key_of(name: str) -> str:
    """Return a key in TOML: bare if it may be."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)


def kind_of_value(entry: Entry) -> str:
    """Return type, bounds and choices of a field in words, such as "integer, at least 1"."""
    option, is_list = entry.option, typing.get_origin(entry.hint) is tuple
    if typing.get_origin(entry.hint) is Mapping:
        return "table"
    if entry.hint == bool | str:
        return f"true, false or {' or '.join(map(toml, option.choices))}"
    if option.choices:
        choices = ", ".join(map(toml, option.choices))
        own = f', or a name such as "{option.own}"' if option.own else ""
        return f"{'list of' if is_list else 'one of'} {choices}{own}"
    one, several = _KINDS[typing.get_args(entry.hint)[0] if is_list else entry.hint]
    words = f"list of {several}" if is_list else one
    return f"{words}, {option.bounds}" if option.bounds else words


def default_of(entry: Entry) -> str:
    """Return the default of a field in words, such as "default 200" or "not set"."""
    if entry.option.with_env is not None:
        return f"default {toml(entry.default)}, or {toml(entry.option.with_env)} with env.id and no inner.rounds"
    return f"default {toml(entry.default)}" if has_value(entry.default) else "not set"


def has_value(value: Any) -> bool:  # a value of a field
    """Return whether a value says something: None, an empty string and an empty table do not."""
    return value is not None and value != "" and value != {}
