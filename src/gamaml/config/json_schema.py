"""The JSON Schema of a config file, for editors that complete and check TOML."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any

from gamaml.config.options import Entry, Section, sections
from gamaml.config.root import Config
from gamaml.config.toml_values import has_value

_TYPES = {int: "integer", float: "number", bool: "boolean", str: "string"}


def schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12). Only gamaml checks conditions across names, such as parents per child."""
    found = {section.path: _section(section) for section in sections(Config)}
    for path, section in found.items():
        if path:
            above, _, name = path.rpartition(".")
            found[above]["properties"][name] = section
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "gamaml config",
        **found[""],
        "required": ["stop"],
        "anyOf": [
            {"required": ["task"], "properties": {"task": {"required": ["name"]}}},
            {"required": ["env"], "properties": {"env": {"required": ["id"]}}},
        ],
    }


def _section(section: Section) -> dict[str, Any]:
    return {
        "description": " ".join(section.meaning.split()),
        "type": "object",
        "properties": {entry.name: _entry(entry) for entry in section.entries if not entry.option.takes_rest},
        "additionalProperties": any(entry.option.takes_rest for entry in section.entries),
    }


def _entry(entry: Entry) -> dict[str, Any]:
    described: dict[str, Any] = {"description": entry.option.meaning}
    if has_value(entry.default):
        described["default"] = entry.default
    elif entry.option.example is not None:
        described["examples"] = [entry.option.example]
    if typing.get_origin(entry.hint) is Mapping:
        return {**described, "type": "object"}
    if typing.get_origin(entry.hint) is tuple:
        return {**described, "type": "array", "items": _value(entry, typing.get_args(entry.hint)[0])}
    return {**described, **_value(entry, entry.hint)}


def _value(entry: Entry, hint: type) -> dict[str, Any]:
    option = entry.option
    if hint == bool | str:
        return {"anyOf": [{"type": "boolean"}, {"enum": list(option.choices)}]}
    if option.own:
        return {"type": "string", "anyOf": [{"enum": list(option.choices)}, {"pattern": ".:."}]}
    limits = {
        "minimum": option.at_least,
        "exclusiveMinimum": option.above,
        "maximum": option.at_most,
        "exclusiveMaximum": option.below,
        "enum": list(option.choices) or None,
    }
    return {"type": _TYPES[hint], **{name: limit for name, limit in limits.items() if limit is not None}}
