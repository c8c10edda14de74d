"""The required and optional members of a user's class, and the check of their form."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gamaml.errors import ConfigError

_ALIKE = 0.87
"""Similarity from which a name is taken for a misspelt one. `reset_task` is as near to `set_task` as that, and
`reproduceable` to `reproducible`; `get_task`, at 0.86, may well be a method of the user's own."""


@dataclass(frozen=True)
class Form:
    """The members of one kind of class. An optional member that is None counts as left out.

    Attributes:
        kind: its name, for errors.
        methods: name -> arguments.
        counts: positive integers.
        values: other attributes.
        optional_methods: name -> arguments.
        optional_counts: positive integers.
        optional_values: other attributes.
    """

    kind: str
    methods: Mapping[str, str]
    counts: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    optional_methods: Mapping[str, str] = field(default_factory=dict[str, str])
    optional_counts: tuple[str, ...] = ()
    optional_values: tuple[str, ...] = ()

    @property
    def required(self) -> tuple[str, ...]:
        """The names of all required members."""
        return *self.methods, *self.counts, *self.values

    @property
    def optional(self) -> tuple[str, ...]:
        """The names of all optional members."""
        return *self.optional_methods, *self.optional_counts, *self.optional_values

    def lacking(self, definition: object) -> list[str]:
        """Return the required members that an instance does not have, methods with their arguments."""
        missing = [name for name in self.required if not hasattr(definition, name)]
        uncallable = [name for name in self.methods if not callable(getattr(definition, name, None))]
        methods = [f"{name}({self.methods[name]})" for name in uncallable]
        return methods + [name for name in missing if name not in self.methods]

    def check(self, definition: object, name: str) -> None:
        """Check the members of an instance that lacks none.

        Args:
            definition: the instance.
            name: the task's name in errors.

        Raises:
            ConfigError: a method takes other arguments, a count is none, or the name of an optional member is misspelt.
        """
        for method, arguments in {**self.methods, **self.optional_methods}.items():
            _check_arguments(definition, method, arguments, name)
        for count in self.counts:
            _check_count(getattr(definition, count), count, name)
        for count in self.optional_counts:
            if getattr(definition, count, None) is not None:
                _check_count(getattr(definition, count), count, name)
        for own, meant in self._misspelt(definition):
            raise ConfigError(
                f"task {name!r}: unknown member {own!r}; did you mean {meant!r}? if it is your own, call it '_{own}'"
            )

    def _misspelt(self, definition: object) -> Iterator[tuple[str, str]]:
        """Yield (member, optional name) for each public member that looks like a missing optional one, misspelt."""
        names = dir(definition)  # looks no attribute up: a property may take seconds
        missing = {_plain(name): name for name in self.optional if name not in names}
        for own in names:
            if not own.startswith("_") and own not in (*self.required, *self.optional):
                for near in difflib.get_close_matches(_plain(own), missing, n=1, cutoff=_ALIKE):
                    yield own, missing[near]


def _plain(name: str) -> str:
    """Return a name without case and underscores: one text for `batchSize`, `batchsize` and `batch_size`."""
    return name.replace("_", "").lower()


def _check_arguments(definition: object, method: str, arguments: str, name: str) -> None:
    function = getattr(definition, method, None)
    if function is None:
        return
    try:
        signature = inspect.signature(function)
    except ValueError:
        return  # a builtin does not say which arguments it takes
    try:
        signature.bind(*(arguments.split(", ") if arguments else ()))
    except TypeError:
        raise ConfigError(
            f"task {name!r}: expected {method}({arguments}), got {method}{signature}; change its arguments"
        ) from None


def _check_count(value: object, count: str, name: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"task {name!r}: expected {count} to be an integer above 0, got {value!r}; change it")
