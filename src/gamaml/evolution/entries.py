"""Entries: the data that a strategy broadcasts and journals, one row per child, contender or term of an update."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

ROOT = -1
"""Base of a root, an entry without a base: its parameters are `problem.initial(noise[offset:])`."""

UNCHANGED = -1
"""Offset of an entry that equals its base."""

NOBODY = -1
"""Partner that fills the column of an entry with fewer bases than it may have."""

INITIAL_STD = 1.0
"""Factor of a root: `problem.initial` takes the noise unscaled."""

ENTRY_DTYPE = np.dtype([("base", "<i4"), ("offset", "<i8"), ("factor", "<f4"), ("task", "<i4"), ("episode", "<i4")])
"""The columns that every strategy has.

base: row of the vector that the entry starts from.
offset: where its noise begins in the table.
factor: multiplies the noise; a std in a child's entry, a weight in an update's.
task: index of a child's tasks within its generation; children with the same index share their tasks.
episode: index of a child's resets and action noise; children with the same index share them.
"""

STD = ("std", "<f8", ())
"""Optional column: the std with which the children of the state are made, the same in all its entries."""

PARTNERS = "partners"
"""Optional column: the rows of further bases, whose mean with the first is mutated."""

Entries = npt.NDArray[np.void]
"""Structured array of an entry dtype."""


def partners_column(number: int) -> tuple[tuple[str, str, tuple[int, ...]], ...]:
    """Return the column for up to `number` bases beside the first; no column for 0."""
    return ((PARTNERS, "<i4", (number,)),) if number else ()


def new_entries(count: int, dtype: np.dtype[np.void] = ENTRY_DTYPE) -> Entries:
    """Return entries that equal the first vector, without partners."""
    entries = np.zeros(count, dtype)
    entries["offset"] = UNCHANGED
    if PARTNERS in (dtype.names or ()):
        entries[PARTNERS] = NOBODY
    return entries


def bases_of(entry: np.void) -> tuple[int, ...]:
    """Return the rows of an entry's bases in the order in which they are added; empty for a root."""
    first: int = entry["base"].item()
    if first == ROOT:
        return ()
    if PARTNERS not in (entry.dtype.names or ()):
        return (first,)
    return (first, *[partner for partner in entry[PARTNERS].tolist() if partner != NOBODY])


def without_children(entries: Entries) -> Entries:
    """Return a copy of children's entries without task and episode, so that equal candidates are equal bytes."""
    copy = entries.copy()
    copy["task"] = copy["episode"] = 0
    return copy
