"""A strategy: nine pure functions over a frozen state. The engine knows nothing else of an algorithm.

A generation is: `children`, which say what each child is, which tasks it meets and whose action noise; their records;
re-evaluations of the `contenders`; and `next`, the state that follows. A state's entries say how the vectors that every
node keeps follow from those before: `update` computes them, `decode` makes a child from them. Entries are broadcast and
journalled, so everything else can be computed again.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from gamaml.evolution.decode import Sources
from gamaml.evolution.entries import ENTRY_DTYPE, Entries
from gamaml.types import Float32Array, Records

PART = 1 << 14
"""Parameters per part of an update by range, 64 KiB: its sum stays in the cache while the noise passes by. The parts
do not depend on the number of ranks, and no bit depends on the parts, since every parameter is summed on its own."""


@dataclass(frozen=True)
class Sizes:
    """How much a strategy takes and asks for: all that has to be known before it starts.

    Attributes:
        population_size: children per generation.
        num_vectors: vectors, float32[num_params], that every node keeps.
        num_entries: the most entries of a state.
        num_contenders: the most candidates that are re-evaluated in a generation.
        num_episodes: re-evaluations of each.
        num_bases: vectors, from the first on, that are candidates themselves; their mean is worth a look.
        columns: further columns of an entry, as numpy.dtype takes them.
        update_by: how an update is divided among the ranks of a node. "range": ranges of the parameters of all vectors.
            "vector": one vector after the other, where row i follows from entry i and the rows that are its bases; only
            the ancestors of a candidate are then computed again, and a candidate is a list of mutations (a genome).
            "whole": not at all.
        snapshot_seconds: seconds of generations after which the vectors are stored, where computing them again takes as
            long as it did; None for never. Unless `update_by` is "vector" they are also stored whenever that costs no
            more room than the records.
        derivative: order of the derivative that `update` asks of the problem: 0 for none, 1 for first-order MAML, 2.
        one_rank: whether a job of several ranks is refused.
    """

    population_size: int
    num_vectors: int
    num_entries: int
    num_contenders: int = 0
    num_episodes: int = 1
    num_bases: int = 1
    columns: tuple[tuple[str, str, tuple[int, ...]], ...] = ()
    update_by: Literal["range", "vector", "whole"] = "range"
    snapshot_seconds: float | None = None
    derivative: Literal[0, 1, 2] = 0
    one_rank: bool = False

    @property
    def entry_dtype(self) -> np.dtype[np.void]:
        """The dtype of this strategy's entries."""
        return np.dtype([*ENTRY_DTYPE.descr, *self.columns])

    @property
    def num_reevaluations(self) -> int:
        """The most re-evaluations of a generation."""
        return self.num_contenders * self.num_episodes

    @property
    def has_genomes(self) -> bool:
        """Whether a candidate is a list of mutations."""
        return self.update_by == "vector"

    def num_parts(self, num_params: int, num_entries: int) -> int:
        """Return the number of parts of an update to a state with so many entries."""
        return {"range": -(-num_params // PART), "vector": num_entries, "whole": 1}[self.update_by]

    def part(self, number: int, num_params: int) -> tuple[range, slice]:
        """Return the rows and the parameters of part `number` of an update."""
        if self.update_by == "vector":
            return range(number, number + 1), slice(0, num_params)
        if self.update_by == "whole":
            return range(self.num_vectors), slice(0, num_params)
        return range(self.num_vectors), slice(number * PART, min((number + 1) * PART, num_params))


@dataclass(frozen=True)
class Space:
    """Where a strategy searches.

    Attributes:
        num_params: length of a parameter vector.
        num_offsets: number of valid noise offsets, noise.size - num_params + 1.
        share_tasks: whether all children of a generation are to meet the same tasks, `inner.share_tasks`.
    """

    num_params: int
    num_offsets: int
    share_tasks: bool = True


@dataclass(frozen=True)
class State:
    """What a strategy carries from generation to generation, beside the vectors that every node keeps.

    Attributes:
        seed: the population's seed.
        space: where it searches.
        generation: the generation whose children come next.
        entries: how the vectors follow from those before; at generation 0, from nothing.
    """

    seed: int
    space: Space
    generation: int
    entries: Entries

    def followed_by(self, entries: Entries) -> State:
        """Return the state of the next generation with these entries."""
        return dataclasses.replace(self, generation=self.generation + 1, entries=entries)


@dataclass(frozen=True)
class Part:
    """A part of the next vectors.

    Attributes:
        rows: which of them; all, unless `Sizes.update_by` is "vector".
        out: float32[len(rows), size], receives them, on the range of parameters that `sources` is cut to.
    """

    rows: range
    out: Float32Array


@dataclass(frozen=True)
class Outcome:
    """What a generation led to.

    Attributes:
        state: the next one.
        fitness: of the incumbent, NaN where it is not finite.
        std: with which the children were made, for the log.
        contender: the contender that the incumbent is, or whose re-evaluations are reported for it; None: the best
            child.
    """

    state: State
    fitness: float
    std: float
    contender: int | None = None


class Strategy(Protocol):
    """An algorithm. Every member is a pure function: of its settings, a state, records and vectors."""

    @property
    def sizes(self) -> Sizes:
        """How much it takes."""
        ...

    def start(self, seed: int, space: Space) -> State:
        """Return the state before generation 0."""
        ...

    def children(self, state: State) -> Entries:
        """Return the generation's children, [population_size]: what each is, its task, and whose action noise."""
        ...

    def contenders(self, state: State, records: Records | None) -> Entries:
        """Return who is re-evaluated.

        Args:
            state: the generation's.
            records: the children's, [population_size] in index order; None for the contenders, the first ones, that do
                not depend on them.
        """
        ...

    def next(self, state: State, records: Records, reevaluations: Records) -> Outcome:
        """Return the state that follows.

        Args:
            state: the generation's.
            records: the children's, [population_size] in index order.
            reevaluations: [number of contenders * num_episodes], in index order.

        Raises:
            SelectionError: there is nothing to go on from, such as no child with a finite fitness.
        """
        ...

    def decode(self, entry: np.void, sources: Sources, out: Float32Array) -> None:
        """Write the parameters of a child or contender, float32[num_params], into `out`."""
        ...

    def update(self, state: State, sources: Sources, part: Part) -> None:
        """Compute a part of a state's vectors from those before, `sources.vectors`; at generation 0, from nothing."""
        ...

    def incumbent(self, state: State, vectors: Float32Array) -> Float32Array:
        """Return the parameters, float32[num_params], that a run would hand out now.

        Args:
            state: a later one than that before generation 0.
            vectors: float32[num_vectors, num_params], its vectors.
        """
        ...

    def describe(self) -> dict[str, str]:
        """Return name and settings in words."""
        ...


MEMBERS = ("sizes", "start", "children", "contenders", "next", "decode", "update", "incumbent", "describe")
"""What a class of the user's has to define."""
