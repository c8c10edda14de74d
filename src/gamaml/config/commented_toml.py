"""A complete config as TOML: every section and name, with its meaning as a comment."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from gamaml.config.options import OWN, Entry, Section, sections
from gamaml.config.root import Config
from gamaml.config.toml_values import WIDTH, default_of, has_value, key_of, kind_of_value, toml


class Choice(NamedTuple):
    """A value for a name in the file, and the reason why it is not the default."""

    value: Any
    reason: str = ""


def commented_toml(head: Sequence[str], choices: Mapping[str, Choice]) -> str:
    """Return the text of a config file.

    Args:
        head: lines of comment at its beginning.
        choices: dotted name -> value and reason; all other names get their defaults. Either `task.name` or `env.id` is
            among them. "task.settings" holds the task's arguments; one that is None has no value yet.

    Returns:
        Lines of at most 120 columns. A name without a value is commented out, as is a section that another strategy
        or the choice between task and environment rules out.
    """
    strategy = choices["strategy"].value if "strategy" in choices else "ga"
    lines = [f"# {line}".rstrip() for line in head]
    for section in sections(Config):
        names_nothing = section.path == "task" and "task.name" not in choices
        fits = section.strategy in ("", strategy) or (section.strategy == OWN and OWN in strategy)
        is_dead = names_nothing or not fits
        lines += ["", *_section(section, choices, is_dead)]
    return "\n".join(lines) + "\n"


def _section(section: Section, choices: Mapping[str, Choice], is_dead: bool) -> Iterator[str]:
    if section.path:
        yield from _comment(section.meaning)
        yield f"{'#' if is_dead else ''}[{section.path}]"
    for number, entry in enumerate(section.entries):
        if number or section.path:
            yield ""
        yield from _entry(entry, choices, is_dead)


def _entry(entry: Entry, choices: Mapping[str, Choice], is_dead: bool) -> Iterator[str]:
    with_env = entry.option.with_env if "env.id" in choices else None
    default = entry.default if with_env is None else with_env
    choice = choices.get(entry.path, Choice(default))
    if entry.option.takes_rest:
        yield from _rest(entry, choice)
        return
    kind = kind_of_value(entry)
    change = "; may change on resume" if entry.option.may_change else ""
    yield from _comment(entry.option.meaning)
    yield from _comment(f"{kind[0].upper()}{kind[1:]}; {default_of(entry)}{change}.")
    if choice.reason and choice.value != default:
        yield from _comment(f"Here: {choice.reason}")
    if is_dead or not has_value(choice.value):
        value = choice.value if has_value(choice.value) else entry.option.example
        yield f"#{entry.name} = {toml({} if value is None else value)}"
    else:
        yield f"{entry.name} = {toml(choice.value)}"


def _rest(entry: Entry, choice: Choice) -> Iterator[str]:
    yield from _comment(entry.option.meaning)
    for name, value in cast(Mapping[str, Any], choice.value or {}).items():
        yield f"#{key_of(name)} =" if value is None else f"{key_of(name)} = {toml(value)}"


def _comment(text: str) -> list[str]:
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
    lines = [line for paragraph in paragraphs for line in _wrap(paragraph)]
    return [f"# {line}" for line in lines]


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH - 2, break_long_words=False, break_on_hyphens=False)
