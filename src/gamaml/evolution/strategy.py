"""What the engine asks of a strategy, whichever it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from gamaml.config import Config
from gamaml.evolution.candidates import (
    Candidate,
    Genome,
    Lineage,
    Snapshot,
    State,
)
from gamaml.evolution.decode import Decodable, NoiseSource
from gamaml.evolution.evolution_strategy import EvolutionStrategy
from gamaml.evolution.genetic_algorithm import GeneticAlgorithm
from gamaml.evolution.gradient_maml import GradientMAML
from gamaml.types import Float32Array, Records


class Selection(Protocol):
    """The way from a generation's records to the next state, which waits for re-evaluations."""

    @property
    def contenders(self) -> Sequence[Candidate]:
        """Who is re-evaluated."""
        ...

    def finish(self, reevaluations: Records) -> tuple[State, float]:
        """Return the next state, and the fitness of the elite.

        Args:
            reevaluations: [num_contenders * num_episodes], in index order.
        """
        ...


class Strategy(Protocol):
    """Pure functions of the config, of a state, and of vectors of parameters that every node keeps.

    A generation is: children, whose slots refer to those vectors; records; re-evaluations of some candidates; the next
    state, whose `parents` say how the next vectors follow from these. They are a table of at most `num_entries`
    entries, which is broadcast and journalled, so everything else can be computed again.
    """

    @property
    def population_size(self) -> int:
        """Children per generation."""
        ...

    @property
    def num_candidates(self) -> int:
        """The most candidates that are re-evaluated in a generation."""
        ...

    @property
    def num_episodes(self) -> int:
        """Re-evaluations of each."""
        ...

    @property
    def num_entries(self) -> int:
        """The most entries of a state's `parents`."""
        ...

    @property
    def num_vectors(self) -> int:
        """Vectors, float32[num_params], that a node keeps; the first one is the run's result."""
        ...

    @property
    def num_parents(self) -> int:
        """The most of them, from the first on, that are candidates themselves."""
        ...

    @property
    def has_genomes(self) -> bool:
        """Whether a candidate is a list of mutations; if not, run files store the vectors now and then."""
        ...

    @property
    def snapshot_seconds(self) -> float:
        """Seconds of generations after which vectors are stored, where it costs as long to compute them again."""
        ...

    @property
    def lineage_dtype(self) -> np.dtype[np.void]:
        """The dtype of children, candidates and a state's `parents`."""
        ...

    def describe(self) -> dict[str, str]:
        """Return name and settings in words."""
        ...

    def std(self, generation: int) -> float:
        """Return the std with which the children of a generation are made."""
        ...

    def initial(self, seed: int, num_offsets: int) -> State:
        """Return the state before generation 0."""
        ...

    def children(self, state: State, count: int | None = None) -> Lineage:
        """Return the first `count` children of the state's generation, all of them by default."""
        ...

    def certain(self, state: State) -> list[Candidate]:
        """Return those contenders, the first ones, that do not depend on the children's records."""
        ...

    def shortlist(self, state: State, records: Records) -> Selection:
        """Return what the children's records, [population_size] in index order, decide."""
        ...

    def num_parts(self, num_params: int, parents: Lineage) -> int:
        """Return in how many parts, shared by the ranks of a node, the vectors of a state are computed."""
        ...

    def compute(
        self,
        part: int,
        generation: int,
        parents: Lineage,
        before: Float32Array,
        after: Float32Array,
        noise: NoiseSource,
        problem: Decodable,
    ) -> None:
        """Compute one part of the vectors of a state.

        Args:
            part: below `num_parts`.
            generation: the state's generation.
            parents: the state's.
            before: float32[num_vectors, num_params], the vectors of the state before.
            after: float32[num_vectors, num_params], receives the part.
            noise: the noise table.
            problem: gives num_params, scale and the initial parameters.
        """
        ...

    def vectors(
        self,
        initial: State,
        lineage: Sequence[Lineage],
        noise: NoiseSource,
        problem: Decodable,
        start: int,
        stop: int,
        snapshot: Snapshot | None = None,
    ) -> Float32Array:
        """Compute vectors again from the root, or from a snapshot, with the bits that `compute` gave.

        Args:
            initial: the state before generation 0.
            lineage: the `parents` of the states before generation 1, 2, ...
            noise: the noise table.
            problem: gives num_params, scale and the initial parameters.
            start: first parameter.
            stop: the one after the last.
            snapshot: of these vectors, or of earlier ones.

        Returns:
            float32[at most num_vectors, stop - start].
        """
        ...

    def parameters(
        self,
        candidate: Candidate,
        initial: State,
        lineage: Sequence[Lineage],
        noise: NoiseSource,
        problem: Decodable,
        snapshot: Snapshot | None = None,
    ) -> Float32Array:
        """Return a candidate's parameters, float32[num_params].

        Args:
            candidate: its slots refer to the vectors that `lineage` leads to.
            initial: as in `vectors`, like the rest.
            lineage: see there.
            noise: see there.
            problem: see there.
            snapshot: see there.
        """
        ...

    def genome(self, candidate: Candidate, lineage: Sequence[Lineage]) -> Genome:
        """Return a candidate's genome. Raises ConfigError where there are none."""
        ...


def make(config: Config) -> Strategy:
    """Return the strategy that a config asks for."""
    if config.es is not None:
        return EvolutionStrategy(config.es)
    if config.maml is not None:
        return GradientMAML(config.maml, config.seed)
    if config.strategy == "random":
        return GeneticAlgorithm(dataclasses.replace(config.ga, num_parents=1, recombine=1), from_root=True)
    return GeneticAlgorithm(config.ga)
