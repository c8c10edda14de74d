"""Genomes: the mutations that lead from the roots to a candidate, for strategies whose vectors are candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gamaml.evolution.entries import UNCHANGED, Entries, bases_of


class Step(NamedTuple):
    """One ancestor.

    Attributes:
        bases: places in the genome of the steps that it starts from; empty for a root.
        offset: where its noise begins in the table.
        factor: multiplies the noise.
    """

    bases: tuple[int, ...]
    offset: int
    factor: float


@dataclass(frozen=True)
class Genome:
    """A candidate as its roots and mutations.

    Attributes:
        steps: every ancestor once, bases before their descendants, the candidate last. Ancestors that equal their base
            are left out.
    """

    steps: tuple[Step, ...]

    @property
    def num_mutations(self) -> int:
        """Number of mutations of all ancestors together."""
        return sum(bool(step.bases) for step in self.steps)

    @property
    def nbytes(self) -> int:
        """Bytes that the genome takes: 8 per offset, 4 per factor, and 4 per base other than the previous step."""
        plain = sum(step.bases == (place - 1,) for place, step in enumerate(self.steps))
        return 8 * len(self.steps) + 4 * self.num_mutations + 4 * (sum(len(s.bases) for s in self.steps) - plain)


def genome_of(entry: np.void, history: Sequence[Entries]) -> Genome:
    """Return the genome of an entry.

    Args:
        entry: its bases are rows of the last entries of `history`.
        history: the entries of the states before generation 1, 2, ...
    """
    generations: list[dict[int, np.void]] = [{0: entry}]
    for entries in reversed(history):
        needed = {base for found in generations[-1].values() for base in bases_of(found)}
        if not needed:
            break
        generations.append({row: entries[row] for row in sorted(needed)})
    steps: list[Step] = []
    places: dict[int, int] = {}
    for generation in reversed(generations):
        before, places = places, {}
        for row, found in generation.items():
            bases = tuple(before[base] for base in bases_of(found))
            if found["offset"] == UNCHANGED:
                places[row] = bases[0]
                continue
            places[row] = len(steps)
            steps.append(Step(bases, int(found["offset"]), float(found["factor"])))
    return Genome(tuple(steps))
