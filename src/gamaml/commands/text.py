"""Numbers, sizes and tables for people to read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from gamaml.types import Float64Array


def count(number: int, noun: str) -> str:
    """Return a number and its noun: "1 rank", "2 ranks"."""
    return f"{number} {noun}{'s' if number != 1 else ''}"


def number(value: float) -> str:
    """Return about four significant digits, without an exponent in the range that people read."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if not 1e-3 <= abs(value) < 1e7:
        return f"{value:.3g}"
    return f"{value:.{max(0, 3 - math.floor(math.log10(abs(value))))}f}"


def change(values: Float64Array) -> str:
    """Return the first and the last of several numbers, "-28.40 -> -5.500", or the only one."""
    return " -> ".join(number(value) for value in (values[0], values[-1])[: len(values)])


def size(nbytes: int) -> str:
    """Return bytes as MiB, small ones as KiB."""
    return f"{nbytes / 2**20:.1f} MiB" if nbytes >= 2**20 else f"{nbytes / 2**10:.1f} KiB"


def duration(seconds: float) -> str:
    """Return seconds as `m:ss` or `h:mm:ss`, and "?" where they are not known."""
    if not math.isfinite(seconds):
        return "?"
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def step_unit(metric: str) -> str:
    """Return the unit in which a run with this metric counts its steps."""
    return "samples" if metric == "loss" else "environment steps"


def optimum(value: float) -> str:
    """Return the best possible mean in words, for a task that has one."""
    return "not known, out of reach of exact computation" if math.isnan(value) else f"{value:.4f}, exactly computed"


def spans(numbers: Iterable[int]) -> str:
    """Return ascending numbers in short: 0, 1, 2, 5 as "0-2,5", which `parse_seeds` reads back."""
    found: list[list[int]] = []
    for following in numbers:
        if found and following == found[-1][-1] + 1:
            found[-1][1:] = [following]
        else:
            found.append([following])
    return ",".join("-".join(map(str, ends)) for ends in found)


def spread(length: int, most: int) -> list[int]:
    """Return at most `most` indices below `length`, evenly spaced, the first and the last among them."""
    return [int(index) for index in np.unique(np.linspace(0, length - 1, min(most, length)).round())]


def table(rows: Sequence[Sequence[str]], justify: Callable[[str, int], str] = str.rjust) -> list[str]:
    """Return rows of cells as lines whose columns stand below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(justify, row, widths)).rstrip() for row in rows]


def named(lines: dict[str, str]) -> list[str]:
    """Return a line for each name and its text, indented."""
    width = max(map(len, lines))
    return [f"  {name:<{width}}  {text}" for name, text in lines.items()]
