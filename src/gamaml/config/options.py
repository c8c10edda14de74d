"""A field of the config: its default, meaning, bounds and choices, stated once, at the field's declaration."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

OWN = ":"
"""The strategy of a section for strategies of the user's own, which are named "module:Class"."""


@dataclass(frozen=True)
class Option:
    """The properties of a field besides its name, type and default.

    Attributes:
        meaning: whole sentences.
        at_least, above, at_most, below: bounds of a number, or of every number in a list.
        choices: the words allowed, in a list too; () allows any.
        own: a "module:name", for example, that is allowed besides the choices; "" where none is.
        example: a value to show where the default is nothing.
        with_env: the default with `env.id` and without `inner.rounds`; None if it is the same.
        may_change: whether a resumed run may have another value, because no child depends on it.
        takes_rest: whether this mapping holds all names of its section that are no other field's.
    """

    meaning: str
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()
    own: str = ""
    example: Any = None
    with_env: Any = None
    may_change: bool = False
    takes_rest: bool = False

    @property
    def bounds(self) -> str:
        """The bounds in words, such as "above 0 and at most 1"; "" if there are none."""
        named = {"at least": self.at_least, "above": self.above, "at most": self.at_most, "below": self.below}
        return " and ".join(f"{words} {bound}" for words, bound in named.items() if bound is not None)


def option(default: T, meaning: str, **more: Any) -> T:  # more: any attributes of Option
    """Declare a field.

    Args:
        default: its default.
        meaning: whole sentences.
        more: other attributes of `Option`.
    """
    return field(default=default, metadata={"option": Option(meaning, **more)})


def arguments(meaning: str, *, takes_rest: bool = False) -> Mapping[str, Any]:
    """Declare a field that maps names, which gamaml does not know, to values."""
    return field(default_factory=dict[str, Any], metadata={"option": Option(meaning, takes_rest=takes_rest)})


def section_of(strategy: str) -> Any:  # None, as the default of a section that may be absent
    """Declare a section that exists with one strategy only (OWN: any of the user's), and is None with the others."""
    return field(default=None, metadata={"strategy": strategy})


class Entry(NamedTuple):
    """A field for documentation, checks and reader; `hint` is its type, without None."""

    name: str
    path: str
    hint: Any
    default: Any
    option: Option


class Section(NamedTuple):
    """A section of the TOML, "" for its root; `strategy` is the only one with which it exists, "" for any."""

    path: str
    meaning: str
    strategy: str
    entries: tuple[Entry, ...]


def sections(cls: type, path: str = "", strategy: str = "") -> Iterator[Section]:
    """Yield a section and those in it, in the order of their declaration."""
    yield Section(path, inspect.cleandoc(cls.__doc__ or ""), strategy, entries(cls, path))
    for declared, hint in _fields(cls):
        if dataclasses.is_dataclass(hint):
            yield from sections(
                typing.cast(type, hint), dotted(path, declared.name), declared.metadata.get("strategy", strategy)
            )


@functools.cache
def entries(cls: type, path: str = "") -> tuple[Entry, ...]:
    """Return the fields of a section that are no sections themselves."""

    def entry(declared: dataclasses.Field[Any], hint: Any) -> Entry:
        default: Any = None if declared.default is dataclasses.MISSING else declared.default
        return Entry(declared.name, dotted(path, declared.name), hint, default, declared.metadata["option"])

    return tuple(entry(declared, hint) for declared, hint in _fields(cls) if "option" in declared.metadata)


def _fields(cls: Any) -> Iterator[tuple[dataclasses.Field[Any], Any]]:  # a dataclass
    hints = typing.get_type_hints(cls)
    for declared in dataclasses.fields(cls):
        yield declared, without_none(hints[declared.name])


def without_none(hint: Any) -> Any:  # a type
    """Return the X of `X | None`; X may be a union itself."""
    if isinstance(hint, types.UnionType) and type(None) in typing.get_args(hint):
        return next(choice for choice in typing.get_args(hint) if choice is not type(None))
    return hint


def dotted(path: str, name: str) -> str:
    """Return a name with its section before it."""
    return f"{path}.{name}" if path else name
