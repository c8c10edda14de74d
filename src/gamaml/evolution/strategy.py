"""A strategy: nine pure functions over a frozen state. The engine knows nothing else about an algorithm.

A generation has four steps: `children` returns an entry per child, with its tasks and its action noise; the engine
evaluates them into records; the `contenders` are re-evaluated; and `next` returns the following state. A state's
entries describe how the vectors that every node keeps follow from the previous vectors: `update` computes them, and
`decode` makes a child from them. Entries are broadcast and journalled, so everything else can be recomputed.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np

from gamaml.errors import ConfigError
from gamaml.evolution.decode import Sources
from gamaml.evolution.entries import ENTRY_DTYPE, Entries
from gamaml.types import Float32Array, Records

PART = 1 << 14
"""Parameters per part of an update by range, 64 KiB: the sum stays in the cache while the noise streams through. The
parts do not depend on the number of ranks, and no bit depends on the parts, since each parameter has its own sum."""


@dataclass(frozen=True)
class Sizes:
    """The memory and the evaluations that a strategy needs: everything the engine has to know before the start.

    Attributes:
        population_size: children per generation.
        num_vectors: vectors, float32[num_params], that every node keeps.
        num_entries: the maximum number of entries of a state.
        num_contenders: the maximum number of candidates that are re-evaluated in a generation.
        num_episodes: re-evaluations of each contender.
        num_bases: number of vectors, from the first on, that are candidates themselves; `Run.parents_mean` averages
            them.
        columns: further columns of an entry, as numpy.dtype takes them.
        update_by: how an update is divided among the ranks of a node. "range": by ranges of the parameters of all
            vectors. "vector": by vectors, where row i follows from entry i and from its bases; a candidate is then a
            list of mutations (a genome), and only its ancestors have to be recomputed. "whole": not divided.
        snapshot_seconds: store the vectors once the generations since the last snapshot took this many seconds, for
            strategies whose updates take as long to repeat; None for never. Unless `update_by` is "vector", vectors are
            also stored whenever they take no more room than the records since the last snapshot.
        derivative: order of the derivative that `update` needs from the problem: 0 for none, 1 for first-order MAML, 2
            for MAML.
        one_rank: whether a job of several ranks is refused.
        plain: whether `Strategy.decode` is `gamaml.evolution.decode`, so that a rank may decode children together.
        linear: whether the vectors are those of `Multifactorial`, sums of the noise of all entries before.
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
    plain: bool = False
    linear: bool = False

    def __post_init__(self) -> None:
        least = {"population_size": 1, "num_vectors": 1, "num_entries": 1, "num_episodes": 1, "num_bases": 1}
        for name, lowest in {**least, "num_contenders": 0}.items():
            value: object = getattr(self, name)
            if not isinstance(value, int) or value < lowest:
                raise ConfigError(
                    f"Sizes.{name}={value!r}: expected an integer of at least {lowest}; correct the strategy"
                )
        for name, known in (("update_by", ("range", "vector", "whole")), ("derivative", (0, 1, 2))):
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"Sizes.{name}={getattr(self, name)!r}: expected one of {known}; correct the strategy"
                )

    @cached_property
    def entry_dtype(self) -> np.dtype[np.void]:
        """The dtype of this strategy's entries."""
        return np.dtype([*ENTRY_DTYPE.descr, *self.columns])

    @property
    def num_reevaluations(self) -> int:
        """The maximum number of re-evaluations in a generation."""
        return self.num_contenders * self.num_episodes

    @property
    def has_genomes(self) -> bool:
        """Whether a candidate is a list of mutations."""
        return self.update_by == "vector"

    def num_parts(self, num_params: int, num_entries: int) -> int:
        """Return the number of parts of an update to a state with `num_entries` entries."""
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
    """The space that a strategy searches.

    Attributes:
        num_params: length of a parameter vector.
        num_offsets: number of valid noise offsets, noise.size - num_params + 1.
        share_tasks: whether all children of a generation get the same tasks, `inner.share_tasks`.
    """

    num_params: int
    num_offsets: int
    share_tasks: bool = True


@dataclass(frozen=True)
class State:
    """The data that a strategy carries from generation to generation, beside the vectors that every node keeps.

    Attributes:
        seed: the population's seed.
        space: the space that the strategy searches.
        generation: the generation whose children come next.
        entries: how the vectors follow from the previous vectors; at generation 0, from nothing.
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
    """A part of the next vectors, to be computed by one rank.

    Attributes:
        rows: rows of this part; all rows, unless `Sizes.update_by` is "vector".
        out: float32[len(rows), size], receives the result for the range of parameters of `sources`.
    """

    rows: range
    out: Float32Array


@dataclass(frozen=True)
class Outcome:
    """The outcome of a generation.

    Attributes:
        state: the next state.
        fitness: the incumbent's fitness, NaN if not finite.
        std: the std with which the children were made, for the log.
        contender: index of the contender that became the incumbent, or whose re-evaluations are reported for it; None
            for the best child.
    """

    state: State
    fitness: float
    std: float
    contender: int | None = None


@dataclass(frozen=True)
class Progress:
    """The run on rank 0 at the end of a generation, beside its records.

    Attributes:
        share: how much of the run is done with this generation, from 0 to 1, by the number of generations or of
            environment steps at which it stops; 0 if it has neither.
        sources: noise, problem, and the vectors of this generation.
    """

    share: float
    sources: Sources


class Strategy(Protocol):
    """An algorithm. Every member is a pure function of the settings, a state, records and vectors."""

    @property
    def sizes(self) -> Sizes:
        """The memory and the evaluations that it needs."""
        ...

    def start(self, seed: int, space: Space) -> State:
        """Return the state before generation 0."""
        ...

    def children(self, state: State) -> Entries:
        """Return the generation's children, [population_size], each with its tasks and its action noise."""
        ...

    def contenders(self, state: State, records: Records | None) -> Entries:
        """Return the candidates to re-evaluate.

        Args:
            state: the state of the generation.
            records: the children's records, [population_size] in index order; None asks only for the first contenders,
                those that do not depend on records.
        """
        ...

    def next(self, state: State, records: Records, reevaluations: Records, progress: Progress) -> Outcome:
        """Return the state that follows.

        Args:
            state: the state of the generation.
            records: the children's records, [population_size] in index order.
            reevaluations: their records, [number of contenders * num_episodes], in index order.
            progress: how far the run is, for schedules, and the generation's vectors.

        Raises:
            SelectionError: there is nothing to continue from, such as no child with a finite fitness.
        """
        ...

    def decode(self, entry: np.void, sources: Sources, out: Float32Array) -> None:
        """Write the parameters of a child or contender, float32[num_params], into `out`."""
        ...

    def update(self, state: State, sources: Sources, part: Part) -> None:
        """Compute a part of a state's vectors from the previous `sources.vectors`; at generation 0, from nothing."""
        ...

    def incumbent(self, state: State, vectors: Float32Array) -> Float32Array:
        """Return the parameters, float32[num_params], that are the run's result so far.

        Args:
            state: the state before generation 1 or later.
            vectors: float32[num_vectors, num_params], the state's vectors.
        """
        ...

    def describe(self) -> dict[str, str]:
        """Return the name and the settings in words."""
        ...


MEMBERS = ("sizes", "start", "children", "contenders", "next", "decode", "update", "incumbent", "describe")
"""The members that a user's class has to define."""
