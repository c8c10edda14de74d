"""The nouns of evolution: result records, candidates, genomes, the state of a population, and the one decode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gamaml.types import Float32Array

ROOT = -1
"""Slot of a candidate without a parent: its parameters are `problem.initial(noise[offset:])`."""

UNCHANGED = -1
"""Offset of a candidate that is its parent, unmutated."""


LINEAGE_DTYPE = np.dtype([("slot", "<i4"), ("offset", "<i8"), ("std", "<f4")])
"""One parent: the slot among the previous generation's parents that it comes from, noise offset, std."""

Lineage = npt.NDArray[np.void]
"""Structured array of a `lineage_dtype`, one entry per parent; slot 0 is the elite."""

NOBODY = -1
"""Partner of an entry that has fewer parents than it may have."""


def lineage_dtype(recombine: int = 1) -> np.dtype[np.void]:
    """Return the dtype of a Lineage whose entries come from up to `recombine` parents each.

    One: LINEAGE_DTYPE. More: with a column "partners", the slots of the parents beside `slot`.
    """
    partners = [("partners", "<i4", (recombine - 1,))] if recombine > 1 else []
    return np.dtype([*LINEAGE_DTYPE.descr, *partners])


@dataclass(frozen=True)
class Candidate:
    """One candidate: a parent's slot, a noise offset and the mutation std.

    `slot == ROOT`: no parent, the noise at `offset` becomes initial parameters. `offset == UNCHANGED`: the parent.
    With `partners`, slots of further parents, what is mutated is the mean of them all.
    """

    slot: int
    offset: int
    std: float
    partners: tuple[int, ...] = ()

    @property
    def bases(self) -> tuple[int, ...]:
        """Slots of all its parents, in the order in which they are added; empty for a root."""
        return () if self.slot == ROOT else (self.slot, *self.partners)


@dataclass(frozen=True)
class Genome:
    """Candidates from their roots on.

    Attributes:
        steps: every ancestor once, parents before their children, and the candidates themselves; their slots are places
            in `steps`. Those that equal their parent are left out.
        ends: places of the candidates in `steps`.
    """

    steps: tuple[Candidate, ...]
    ends: tuple[int, ...]

    @property
    def num_mutations(self) -> int:
        """Number of mutations, those of all ancestors together."""
        return sum(step.slot != ROOT for step in self.steps)

    @property
    def nbytes(self) -> int:
        """Bytes that the genome takes: 8 per offset, 4 per std, and 4 per parent that is not the step before."""
        bases = [step.bases for step in self.steps]
        plain = sum(slots == (place - 1,) for place, slots in enumerate(bases))
        return 8 * len(bases) + 4 * self.num_mutations + 4 * (sum(map(len, bases)) - plain)


@dataclass(frozen=True)
class State:
    """What a strategy carries from generation to generation, beside the vectors that every node keeps.

    Attributes:
        seed: the population's seed.
        num_offsets: number of valid noise offsets, noise.size - num_params + 1.
        generation: the generation whose children come next.
        parents: how the vectors that every node keeps follow from those before them. Of a GA: Lineage of the present
            parents, empty before generation 0.
    """

    seed: int
    num_offsets: int
    generation: int
    parents: Lineage


@dataclass(frozen=True)
class Snapshot:
    """The vectors that a node keeps, as they stood once.

    Attributes:
        generation: the generation whose children they are for.
        vectors: float32[num_vectors, num_params].
    """

    generation: int
    vectors: Float32Array


def genome_of(candidate: Candidate, lineage: Sequence[Lineage]) -> Genome:
    """Rebuild a candidate's genome; arguments as in `genomes_of`."""
    return genomes_of([candidate], lineage)


def genomes_of(candidates: Sequence[Candidate], lineage: Sequence[Lineage]) -> Genome:
    """Rebuild the common genome of candidates.

    Args:
        candidates: their slots refer to the last entry of `lineage`.
        lineage: the parents selected after generation 0, 1, ..., each in terms of the entry before it.
    """
    generations: list[dict[int, Candidate]] = [dict(enumerate(candidates))]
    for parents in reversed(lineage):
        needed = {slot for child in generations[-1].values() for slot in child.bases}
        if not needed:
            break
        generations.append({slot: candidate_at(parents, slot) for slot in sorted(needed)})
    steps: list[Candidate] = []
    places: dict[int, int] = {}
    for generation in reversed(generations):
        before, places = places, {}
        for slot, found in generation.items():
            if found.offset == UNCHANGED:
                places[slot] = before[found.slot]
                continue
            places[slot] = len(steps)
            slots = [before[base] for base in found.bases] or [ROOT]
            steps.append(Candidate(slots[0], found.offset, found.std, tuple(slots[1:])))
    return Genome(steps=tuple(steps), ends=tuple(places[slot] for slot in range(len(candidates))))


def lineage_of(candidates: Sequence[Candidate], dtype: np.dtype[np.void] = LINEAGE_DTYPE) -> Lineage:
    """Return candidates as a Lineage array of a `lineage_dtype`."""
    lineage = np.empty(len(candidates), dtype)
    lineage["slot"] = [candidate.slot for candidate in candidates]
    lineage["offset"] = [candidate.offset for candidate in candidates]
    lineage["std"] = [candidate.std for candidate in candidates]
    if "partners" in (dtype.names or ()):
        lineage["partners"] = NOBODY
        for entry, candidate in zip(lineage, candidates, strict=True):
            entry["partners"][: len(candidate.partners)] = candidate.partners
    return lineage


def candidates_of(lineage: Lineage) -> list[Candidate]:
    """Return the entries of a Lineage as candidates: the inverse of `lineage_of`."""
    return [candidate_at(lineage, slot) for slot in range(len(lineage))]


def candidate_at(lineage: Lineage, slot: int) -> Candidate:
    """Return one entry of a Lineage as a Candidate."""
    entry = lineage[slot]
    partners: tuple[int, ...] = ()
    if "partners" in (lineage.dtype.names or ()):
        partners = tuple(int(partner) for partner in entry["partners"] if partner != NOBODY)
    return Candidate(int(entry["slot"]), int(entry["offset"]), float(entry["std"]), partners)
