"""From TOML, mappings and --set to a Config, and back."""

from __future__ import annotations

import dataclasses
import json
import tomllib
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from gamaml.config.inner import with_env
from gamaml.config.options import Entry, dotted, entries, sections, without_none
from gamaml.config.root import Config
from gamaml.config.task import TaskConfig
from gamaml.errors import ConfigError, did_you_mean


def load(path: Path | str, overrides: Sequence[str] = ()) -> Config:
    """Read a TOML config.

    Args:
        path: the file.
        overrides: `dotted.name=value` strings, values in TOML syntax; a bare word is taken as a string.

    Raises:
        ConfigError: one line with subject, expected, got and remedy.
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
    env: Any = merged.get("env")
    inner: Any = merged.get("inner")
    if isinstance(env, dict) and isinstance(inner, dict) and "id" in env:
        merged["inner"] = with_env(cast(dict[str, Any], inner))
    return _build(Config, merged, "")


def to_mapping(config: Config) -> dict[str, Any]:
    """Return the config as nested dicts, the inverse of `from_mapping`; None entries are left out."""

    def plain(value: Any) -> Any:  # any config value
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            rest = next((entry.name for entry in entries(type(value)) if entry.option.takes_rest), None)
            pairs = [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value) if f.name != rest]
            pairs += [] if rest is None else getattr(value, rest).items()
            return {name: plain(item) for name, item in pairs if item is not None and item != TaskConfig()}
        if isinstance(value, Mapping):
            return {key: plain(item) for key, item in cast(Mapping[str, Any], value).items()}
        if isinstance(value, tuple | list):
            return [plain(item) for item in cast(Sequence[Any], value)]
        return value

    return plain(config)


def to_json(config: Config) -> str:
    """Return the config as canonical JSON: sorted keys, no blanks."""
    return json.dumps(to_mapping(config), sort_keys=True, separators=(",", ":"))


def science(config: Config) -> dict[str, Any]:
    """Return the part of the config that determines the children, as a flat mapping of dotted names."""
    flat: dict[str, Any] = {}

    def walk(path: str, value: Any) -> None:  # any config value
        if isinstance(value, dict):
            for key, item in cast(dict[str, Any], value).items():
                walk(dotted(path, key), item)
        else:
            flat[path] = value

    walk("", to_mapping(config))
    may_change = {entry.path for entry in _all_entries() if entry.option.may_change}
    return {name: value for name, value in flat.items() if name not in may_change}


def elsewhere(name: str) -> list[str]:
    """Return the dotted names of all sections and fields that are called `name`."""
    known = [entry.path for entry in _all_entries() if not entry.option.takes_rest]
    known += [section.path for section in sections(Config)]
    return [path for path in known if path.rpartition(".")[2] == name]


def _all_entries() -> list[Entry]:
    return [entry for section in sections(Config) for entry in section.entries]


def _copy(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _copy(cast(Mapping[str, Any], value)) if isinstance(value, Mapping) else value
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
        mapping = cast(dict[str, Any], inner)
    mapping[last] = value


def _build(cls: type[Any], mapping: Any, path: str) -> Any:  # one frozen dataclass from untyped TOML
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{path}: expected a section [{path}], got {mapping!r}; write its keys below [{path}]")
    given = dict(cast(Mapping[str, Any], mapping))
    rest = next((entry.name for entry in entries(cls) if entry.option.takes_rest), None)
    hints = {name: hint for name, hint in typing.get_type_hints(cls).items() if name != rest}
    values = {key: _value(hints[key], value, dotted(path, key)) for key, value in given.items() if key in hints}
    others = {key: value for key, value in given.items() if key not in hints}
    if rest is not None:
        values[rest] = others
    elif others:
        raise _unknown(path, next(iter(others)), hints)
    return cls(**values)


def _unknown(path: str, key: str, known: Iterable[str]) -> ConfigError:
    there = elsewhere(key)
    hint = f"did you mean {' or '.join(there)}?" if there else did_you_mean(key, known)
    return ConfigError(f"{dotted(path, key)}: unknown {'name' if path else 'section or name'}; {hint}")


def _value(hint: Any, value: Any, name: str) -> Any:  # `hint` is a type, `value` comes from TOML
    hint = without_none(hint)
    if dataclasses.is_dataclass(hint):
        return _build(cast(type[Any], hint), value, name)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise ConfigError(f"{name}: expected a list such as [100, 100], got {value!r}; put it in brackets")
        items = cast(Sequence[Any], value)
        return tuple(_value(typing.get_args(hint)[0], item, f"{name}[{i}]") for i, item in enumerate(items))
    if typing.get_origin(hint) is Mapping:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{name}: expected a section [{name}], got {value!r}; write its keys below [{name}]")
        return dict(cast(Mapping[str, Any], value))
    if hint == bool | str and isinstance(value, bool | str):
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        words = {int: "an integer", float: "a number", bool: "true or false", str: "a string in quotes"}
        words |= {bool | str: "true, false or a string in quotes"}
        raise ConfigError(f"{name}: expected {words[hint]}, got {value!r}; change its type")
    return value
