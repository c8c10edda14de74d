"""From TOML, mappings and --set to a Config, and back."""

from __future__ import annotations

import dataclasses
import json
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gamaml.config.root import SCIENCE_FREE, Config
from gamaml.config.task import TaskConfig
from gamaml.errors import ConfigError, did_you_mean


def load(path: Path | str, overrides: Sequence[str] = ()) -> Config:
    """Read a TOML config.

    Args:
        path: the file.
        overrides: `dotted.name=value` strings, values in TOML syntax; a bare word is taken as a string.

    Raises:
        ConfigError: naming subject, expected, got and remedy in one line.
    """
    path = Path(path)
    name = f"config {str(path)!r}"
    try:
        mapping = tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        raise ConfigError(f"{name}: expected a TOML file, got no such file; check the path") from None
    except OSError as error:
        raise ConfigError(f"{name}: expected a readable file, got: {error.strerror}; check the path") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: expected UTF-8 text, got: {error}; save it as UTF-8") from None
    # ValueError: tomllib lets Python's refusal of integers with thousands of digits through.
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{name}: expected valid TOML, got: {error}; correct the file") from None
    return from_mapping(mapping, overrides=overrides)


def from_mapping(mapping: Mapping[str, Any], overrides: Sequence[str] = ()) -> Config:
    """Build a Config from nested mappings such as TOML gives. Raises ConfigError like `load`."""
    merged: dict[str, Any] = _copy(mapping)
    for override in overrides:
        _apply(merged, override)
    return _build(Config, merged, "")


def to_mapping(config: Config) -> dict[str, Any]:
    """Return the config as nested dicts, the inverse of `from_mapping`; None entries are left out."""

    def plain(value: Any) -> Any:  # any config value
        if isinstance(value, TaskConfig):
            return {"name": value.name, **{key: plain(item) for key, item in value.settings.items()}}
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            pairs = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value) if not _is_old(value, f))
            return {name: plain(item) for name, item in pairs if item is not None and item != TaskConfig()}
        if isinstance(value, Mapping):
            return {key: plain(item) for key, item in typing.cast(Mapping[str, Any], value).items()}
        if isinstance(value, tuple | list):
            return [plain(item) for item in typing.cast(Sequence[Any], value)]
        return value

    return plain(config)


def _is_old(section: Any, entry: dataclasses.Field[Any]) -> bool:  # any dataclass of the config
    return "added" in entry.metadata and getattr(section, entry.name) == entry.default


def to_json(config: Config) -> str:
    """Return the config as canonical JSON: sorted keys, no blanks."""
    return json.dumps(to_mapping(config), sort_keys=True, separators=(",", ":"))


def science(config: Config) -> dict[str, Any]:
    """Return the part of the config that decides what every child is, as a flat mapping of dotted names."""
    flat: dict[str, Any] = {}

    def walk(prefix: str, value: Any) -> None:  # any config value
        if isinstance(value, dict):
            for key, item in typing.cast(dict[str, Any], value).items():
                walk(f"{prefix}.{key}" if prefix else key, item)
        else:
            flat[prefix] = value

    walk("", to_mapping(config))
    return {name: value for name, value in flat.items() if not _is_free(name)}


def _is_free(name: str) -> bool:
    return any(name == free or name.startswith(f"{free}.") for free in SCIENCE_FREE)


def _copy(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _copy(typing.cast(Mapping[str, Any], value)) if isinstance(value, Mapping) else value
        for key, value in mapping.items()
    }


def _apply(mapping: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    name = name.strip()
    *sections, last = name.split(".")
    if not equals or not all((*sections, last)):
        raise ConfigError(
            f"--set {override!r}: expected NAME=VALUE with a dotted name; write e.g. ga.mutation_std=0.01"
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        value = text.strip()
    for depth, section in enumerate(sections):
        inner = mapping.setdefault(section, {})
        if not isinstance(inner, dict):
            before = ".".join(sections[: depth + 1])
            raise ConfigError(f"--set {name}: expected {before} to be a section, got a value; set {before} itself")
        mapping = typing.cast(dict[str, Any], inner)
    mapping[last] = value


def _build(cls: type[Any], mapping: Any, prefix: str) -> Any:  # one frozen dataclass from untyped TOML
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{prefix}: expected a section [{prefix}], got {mapping!r}; write its keys below [{prefix}]")
    items = dict(typing.cast(Mapping[str, Any], mapping))
    if cls is TaskConfig:
        name = items.pop("name", None)
        if not isinstance(name, str) or not name:
            raise ConfigError(f'task.name: expected a task, got {name!r}; write e.g. name = "navigation" below [task]')
        return TaskConfig(name=name, settings=items)
    hints = typing.get_type_hints(cls)
    for key in items:
        if key not in hints:
            kind = "name" if prefix else "section or name"
            raise ConfigError(f"{_dotted(prefix, key)}: unknown {kind}; {did_you_mean(key, hints)}")
    if cls is Config and "task" not in items and "env" not in items:
        raise ConfigError(
            'task: expected a section [task] or [env], got neither; add it with e.g. name = "navigation", or '
            'id = "CartPole-v1"'
        )
    if cls is Config and "stop" not in items:
        raise ConfigError("stop: expected a section [stop], got none; add it with e.g. generations = 30")
    values = {key: _value(hints[key], value, _dotted(prefix, key)) for key, value in items.items()}
    if cls is Config:
        values.setdefault("task", TaskConfig())
    return cls(**values)


def _dotted(prefix: str, key: str) -> str:
    return f"{prefix}.{key}" if prefix else key


def _value(hint: Any, value: Any, name: str) -> Any:  # `hint` is a type, `value` comes from TOML
    if isinstance(hint, types.UnionType):
        hint = next(option for option in typing.get_args(hint) if option is not type(None))
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type[Any], hint), value, name)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise ConfigError(f"{name}: expected a list such as [100, 100], got {value!r}; put it in brackets")
        entries = typing.cast(Sequence[Any], value)
        return tuple(_value(typing.get_args(hint)[0], entry, f"{name}[{i}]") for i, entry in enumerate(entries))
    if typing.get_origin(hint) is Mapping:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{name}: expected a section [{name}], got {value!r}; write its keys below [{name}]")
        return dict(typing.cast(Mapping[str, Any], value))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        words = {int: "an integer", float: "a number", bool: "true or false", str: "a string in quotes"}
        raise ConfigError(f"{name}: expected {words[hint]}, got {value!r}; change its type")
    return value
