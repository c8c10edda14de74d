"""The English of docstrings and comments: a sentence begins with its subject and its verb."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = [
    path
    for folder in ("src/gamaml", "mpi", "jobscripts", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
NAMES = [str(path.relative_to(ROOT)) for path in FILES]

POOR_BEGINNING = re.compile(r"(?:^\W*|[.!?:;] )(?:Of|What|By|Told|Whoever|Nobody)\b", re.MULTILINE)
EMPTY_REFERENCE = re.compile(r"\bsee\s+there\b", re.IGNORECASE)


def prose(path: Path) -> Iterator[str]:
    """Yield a file's docstrings, those of attributes included, and its comments."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value
    comments: list[str] = []
    last = 0
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type == tokenize.COMMENT:
                if token.start[0] != last + 1:
                    comments.append("")
                comments[-1] += token.string.removeprefix("#") + "\n"
                last = token.start[0]
    yield from comments


def test_files_are_found() -> None:
    assert {"src/gamaml/api.py", "mpi/launch.py", "jobscripts/generate.py", "benchmarks/relay.py"} <= set(NAMES)


@pytest.mark.parametrize(
    ("text", "is_poor"),
    [
        ("What a run does.", True),
        ("Return it. Of two equal ones the first.", True),
        ("generation: By default the last.", True),
        ("First line\n\n    Whoever calls it.", True),
        ("Return what it does, by name.", False),
        ("The office of Officer Whatley.", False),
    ],
)
def test_a_poor_beginning_is_found_at_the_start_of_a_sentence_only(text: str, is_poor: bool) -> None:
    assert bool(POOR_BEGINNING.search(text)) == is_poor


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_no_sentence_begins_with_of_what_or_by(path: Path) -> None:
    assert [text for text in prose(path) if POOR_BEGINNING.search(text)] == []


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_an_argument_is_described_or_left_out(path: Path) -> None:
    assert [text for text in prose(path) if EMPTY_REFERENCE.search(text)] == []
