"""The Markdown of the repository: its links lead somewhere, its tables can be read, the README stays short."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from gamaml import evolution
from gamaml.evolution.entries import ENTRY_DTYPE
from gamaml.evolution.strategy import MEMBERS

ROOT = Path(__file__).parents[2]
PAGES = [page for folder in (".", "docs", "benchmarks", "mpi") for page in sorted((ROOT / folder).glob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

README_WORDS = 1000
CELL_CHARACTERS = 100
"""A table cell is a phrase; a longer text belongs in a list or a section."""

POOR_BEGINNING = re.compile(r"(?:^|[.!?:] )(?:Of|What|By|Told)\b")
"""A sentence begins with its subject and its verb."""


@cache
def tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text())


def texts(page: Path, *, inside: str | None = None) -> Iterator[str]:
    """Yield every paragraph, heading and cell as it is read: links by their text, code as `x`."""
    kinds = ("th_open", "td_open") if inside == "cell" else ("heading_open",) if inside == "heading" else None
    before = ""
    for token in tokens(page):
        if token.type == "inline" and (kinds is None or before in kinds):
            yield "".join(
                child.content if child.type == "text" else f"`{child.content}`" if child.type == "code_inline" else " "
                for child in token.children or []
                if child.type in ("text", "code_inline", "softbreak")
            )
        before = token.type


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the page's headings."""
    seen: Counter[str] = Counter()
    found: set[str] = set()
    for heading in texts(page, inside="heading"):
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return found


def targets(page: Path) -> Iterator[str]:
    """Yield what links and pictures lead to."""
    for token in tokens(page):
        for child in token.children or []:
            attributes: Mapping[str, object] = child.attrs
            target = attributes.get("href", attributes.get("src"))
            if target is not None:
                yield str(target)


def test_pages_are_found() -> None:
    assert {"README.md", "docs/architecture.md", "benchmarks/README.md", "mpi/README.md"} <= set(NAMES)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in targets(page):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{target}: no such file"
        assert not anchor or anchor in anchors(there), f"{target}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_reference_link_has_its_definition(page: Path) -> None:
    # Without one it is plain text in brackets, one pair after the other.
    assert [text for text in texts(page) if re.search(r"\]\[\w+\]", text)] == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_a_table_cell_is_a_phrase(page: Path) -> None:
    assert [cell for cell in texts(page, inside="cell") if len(cell) > CELL_CHARACTERS] == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_no_sentence_begins_with_of_what_or_by(page: Path) -> None:
    assert [text for text in texts(page) if POOR_BEGINNING.search(text)] == []


def test_the_readme_can_be_read_at_one_sitting() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= README_WORDS


def test_the_readme_shows_the_custom_task_as_it_is() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    _, _, task = (ROOT / "examples" / "custom_task.py").read_text().partition('"""\n\n')
    assert task in blocks


def test_the_architecture_page_names_files_that_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"\b((?:\w+/)+\w+\.py)\b", text))
    assert len(named) > 20
    roots = (ROOT / "src" / "gamaml", ROOT)
    assert {name for name in named if not any((root / name).exists() for root in roots)} == set()


def test_the_strategies_page_names_all_that_a_strategy_is_written_with() -> None:
    text = (ROOT / "docs" / "strategies.md").read_text()
    words = (*MEMBERS, *evolution.__all__, *(ENTRY_DTYPE.names or ()))
    assert [word for word in words if not re.search(rf"`{word}\b", text)] == []
