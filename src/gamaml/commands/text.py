"""Numbers and tables as people read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence


def count(number: int, noun: str) -> str:
    """Return a number and its noun: "1 rank", "2 ranks"."""
    return f"{number} {noun}{'s' if number != 1 else ''}"


def spans(numbers: Iterable[int]) -> str:
    """Return ascending numbers in short, as `parse_seeds` reads them: 0, 1, 2, 5 as "0-2,5"."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][-1] + 1:
            found[-1][1:] = [number]
        else:
            found.append([number])
    return ",".join("-".join(map(str, ends)) for ends in found)


def table(rows: Sequence[Sequence[str]], justify: Callable[[str, int], str] = str.rjust) -> list[str]:
    """Return rows of cells as lines whose columns stand below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(justify, row, widths)).rstrip() for row in rows]
