"""Vectors of an old generation, recomputed from the root or a snapshot: the one loop over `Strategy.update`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from gamaml.evolution.decode import Decodable, NoiseSource, Sources, Vectors
from gamaml.evolution.entries import UNCHANGED, Entries, bases_of
from gamaml.evolution.strategy import Part, State, Strategy
from gamaml.types import Float32Array


@dataclass(frozen=True)
class Snapshot:
    """The vectors of one generation.

    Attributes:
        generation: the generation whose children are made from them.
        vectors: float32[num_vectors, num_params].
    """

    generation: int
    vectors: Float32Array


@dataclass(frozen=True)
class Course:
    """The course of a run up to a generation.

    Attributes:
        initial: the state before generation 0.
        history: the entries of the states before generations 1, 2, ...
        snapshot: vectors of this generation or of an earlier one; None to start at the root.
    """

    initial: State
    history: Sequence[Entries]
    snapshot: Snapshot | None = None

    @property
    def state(self) -> State:
        """The state at the end of the course."""
        return self.at(len(self.history))

    def at(self, generation: int) -> State:
        """Return the state before a generation, which is at most `len(history)`."""
        if generation == 0:
            return self.initial
        return dataclasses.replace(self.initial, generation=generation, entries=self.history[generation - 1])


def rebuild(
    strategy: Strategy, course: Course, noise: NoiseSource, problem: Decodable, *, where: slice | None = None
) -> Float32Array:
    """Compute the vectors at the end of a course, bit for bit as in the run.

    Args:
        strategy: the run's strategy.
        course: the run up to the generation.
        noise: the noise table.
        problem: gives num_params, scale, the initial parameters, and derivatives where the strategy asks for them.
        where: the range of parameters to compute, all by default.

    Returns:
        float32[number of the state's vectors, size of the range].
    """
    where = slice(0, problem.num_params) if where is None else where
    if strategy.sizes.has_genomes:
        rows = range(len(course.state.entries))
        found = _ancestors(strategy, course, noise, problem, where=where, rows=rows)
        return np.array([found[row] for row in rows], np.float32).reshape(len(rows), where.stop - where.start)
    # A derivative needs all parameters.
    own = slice(0, problem.num_params) if strategy.sizes.update_by == "whole" else where
    first, vectors = 0, np.empty((strategy.sizes.num_vectors, own.stop - own.start), np.float32)
    if course.snapshot is not None:
        first, vectors = course.snapshot.generation + 1, course.snapshot.vectors[:, own].copy()
    after, every = np.empty_like(vectors), range(len(vectors))
    for generation in range(first, len(course.history) + 1):
        sources = Sources(noise, problem, vectors, own.start, own.stop - own.start)
        strategy.update(course.at(generation), sources, Part(every, after))
        vectors, after = after, vectors
    return vectors[:, where.start - own.start : where.stop - own.start]


def rebuild_for(entry: np.void, strategy: Strategy, course: Course, noise: NoiseSource, problem: Decodable) -> Vectors:
    """Return the vectors for decoding an entry: only its bases where a candidate is a list of mutations."""
    if not strategy.sizes.has_genomes:
        return rebuild(strategy, course, noise, problem)
    where = slice(0, problem.num_params)
    return _ancestors(strategy, course, noise, problem, where=where, rows=bases_of(entry))


def _ancestors(
    strategy: Strategy, course: Course, noise: NoiseSource, problem: Decodable, *, where: slice, rows: Iterable[int]
) -> dict[int, Float32Array]:
    """Compute every ancestor once and drop it after its last child, so memory holds only those still needed."""
    needed = [set(rows)]
    for entries in reversed(course.history):
        needed.append({base for row in needed[-1] for base in bases_of(entries[row])})
    vectors: dict[int, Float32Array] = {}
    for generation, wanted in enumerate(reversed(needed)):
        state, before = course.at(generation), vectors
        sources, vectors = Sources(noise, problem, before, where.start, where.stop - where.start), {}
        for row in sorted(wanted):
            entry = state.entries[row]
            if entry["offset"] == UNCHANGED:
                vectors[row] = before[int(entry["base"])]
                continue
            out = np.empty((1, sources.size), np.float32)
            strategy.update(state, sources, Part(range(row, row + 1), out))
            vectors[row] = out[0]
    return vectors
