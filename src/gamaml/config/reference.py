"""docs/config.md, made from the sections."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from gamaml.config.options import Entry, Section, sections
from gamaml.config.root import Config
from gamaml.config.toml_values import WIDTH, default_of, kind_of_value, toml

_HEAD = """
# Every name of a config

`gamaml config --reference` writes this page. `gamaml config navigation` or `gamaml config CartPole-v1` writes a TOML
file with all these names and settings that work. `gamaml config --schema` writes a JSON Schema, from which editors
complete names and show their meanings: save it as `gamaml.schema.json`, and begin a config with the line
`#:schema gamaml.schema.json` (taplo, Even Better TOML).

On the command line `--set ga.mutation_std=0.1` overrides any name. In Python the same names are keywords of
`gamaml.Config` and of a dataclass per section, or keys of nested mappings. A resumed run must have the config that it
started with, except for the names that may change.
"""


def reference(tasks: Mapping[str, tuple[str, Mapping[str, Any]]]) -> str:
    """Return the page.

    Args:
        tasks: name -> summary, and arguments with their defaults, of every ready-made task.
    """
    parts = [_wrapped(paragraph) for paragraph in _HEAD.strip().split("\n\n")]
    for section in sections(Config):
        parts += _section(section)
    parts.append("## Ready-made tasks")
    parts.append(_wrapped("The names for `task.name`, and the arguments of each in `[task]` with their defaults."))
    parts.append("\n".join(_item(_task(name, *task)) for name, task in tasks.items()))
    return "\n\n".join(parts) + "\n"


def _section(section: Section) -> Iterator[str]:
    yield f"## `[{section.path}]`" if section.path else "## The top of the file"
    yield from (_wrapped(paragraph) for paragraph in section.meaning.split("\n\n"))
    yield "\n".join(_item(_entry(entry)) for entry in section.entries)


def _entry(entry: Entry) -> str:
    if entry.option.takes_rest:
        return entry.option.meaning
    facts = [kind_of_value(entry), default_of(entry), *(["may change on resume"] if entry.option.may_change else [])]
    return f"`{entry.name}` ({'; '.join(facts)}): {entry.option.meaning}"


def _task(name: str, summary: str, arguments: Mapping[str, Any]) -> str:
    shown = ", ".join(f"`{argument} = {toml(value)}`" for argument, value in arguments.items())
    return f"`{name}`: {summary}; {shown}."


def _item(text: str) -> str:
    return textwrap.indent(_wrapped(text, WIDTH - 2), "  ").replace("  ", "- ", 1)


def _wrapped(text: str, width: int = WIDTH) -> str:
    # Blanks within `code` do not break a line.
    kept = re.sub(r"`[^`]*`", lambda code: code[0].replace(" ", "\0"), " ".join(text.split()))
    wrapped = textwrap.fill(kept, width, break_long_words=False, break_on_hyphens=False)
    return wrapped.replace("\0", " ")
