"""Gradient MAML as a strategy: one candidate, the centre, and Adam along the derivative of its fitness.

Source: Finn et al. 2017, arXiv 1703.03400, Algorithms 2 and 3; Adam as in section 5.1, for reinforcement learning too.

A generation is one meta-update. Its only child is the centre itself, whose evaluation, on fresh tasks, also gives the
derivative. A node keeps three vectors as with ES: the centre and Adam's two moments. Nothing but the centre's root
goes into the lineage, since an update follows from the vectors before it and from (seed, generation); it is computed
again, from a stored snapshot on, where vectors are needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np

from gamaml.config import MAMLConfig
from gamaml.errors import ConfigError, GamamlError
from gamaml.evolution import evolution_strategy as es
from gamaml.evolution import streams
from gamaml.evolution.candidates import (
    LINEAGE_DTYPE,
    Candidate,
    Genome,
    Lineage,
    Snapshot,
    State,
    lineage_of,
)
from gamaml.evolution.decode import Decodable, NoiseSource, decode
from gamaml.evolution.streams import Purpose
from gamaml.types import EvaluationKey, Float32Array, Records

_BETA_1, _BETA_2 = 0.9, 0.999
"""Kingma and Ba 2015, Algorithm 1."""


class Differentiable(Decodable, Protocol):
    """What gradient MAML needs of a Problem."""

    def gradient(self, params: Float32Array, key: EvaluationKey) -> Float32Array:
        """Return the direction, float32[num_params], that improves the fitness under a key."""
        ...


@dataclass(frozen=True)
class Selection:
    """An update that waits for nothing.

    Attributes:
        state: the state after it.
        fitness: of the centre before it.
    """

    state: State
    fitness: float

    contenders = ()

    def finish(self, reevaluations: Records) -> tuple[State, float]:
        """Return the next state, and the fitness of the centre before the update."""
        return self.state, self.fitness


@dataclass(frozen=True)
class GradientMAML:
    """Gradient MAML as a strategy, see `strategy.Strategy`.

    Attributes:
        config: its settings.
        seed: the run's.
    """

    config: MAMLConfig
    seed: int

    has_genomes = False
    population_size = 1
    num_candidates = 0
    num_episodes = 1
    num_entries = 1
    num_vectors = 3
    num_parents = 1
    snapshot_seconds = 60.0
    lineage_dtype = LINEAGE_DTYPE

    def describe(self) -> dict[str, str]:
        """Return the settings in words."""
        order = "first" if self.config.first_order else "second"
        return {
            "MAML": f"{order} order, Adam with step size {self.config.step_size:g}",
            "centre": "evaluated on fresh tasks before its update in every generation, shown as child and elite",
        }

    def std(self, generation: int) -> float:
        """Return 0: the child is the centre."""
        return 0.0

    def initial(self, seed: int, num_offsets: int) -> State:
        """Return the state before generation 0: the centre that ES begins with, too."""
        return es.root_state(seed, num_offsets)

    def children(self, state: State, count: int | None = None) -> Lineage:
        """Return the centre."""
        return lineage_of([es.CENTRE])[:count]

    def certain(self, state: State) -> list[Candidate]:
        """Return nobody: the centre's own evaluation is on fresh tasks."""
        return []

    def shortlist(self, state: State, records: Records) -> Selection:
        """Return the update.

        Raises:
            GamamlError: the centre's fitness is not finite, so that there is nowhere to go.
        """
        fitness = float(records["fitness"][0])
        if not math.isfinite(fitness):
            raise GamamlError(
                f"generation {state.generation}: expected a finite fitness of the centre, got {fitness}; "
                "try a smaller maml.step_size or inner.step_size"
            )
        following = State(state.seed, state.num_offsets, state.generation + 1, lineage_of([es.CENTRE]))
        return Selection(following, fitness)

    def num_parts(self, num_params: int, parents: Lineage) -> int:
        """Return 1: an update is computed as a whole."""
        return 1

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
        """Compute the update that leads to `generation`."""
        gradient = cast(Differentiable, problem).gradient(before[0], self.key(generation - 1))
        step = es.Step(
            gradient_scale=1.0,
            step_size=self.config.step_size * es.bias_correction(_BETA_1, _BETA_2, generation),
            beta1=_BETA_1,
            beta2=_BETA_2,
            weight_decay=0.0,
        )
        es.ascend(before, after, gradient, None, step)

    def key(self, generation: int) -> EvaluationKey:
        """Return the randomness of the centre's evaluation, which is child 0."""
        purposes = Purpose.TASKS, Purpose.EPISODES
        return EvaluationKey(*(streams.key(self.seed, purpose, generation) for purpose in purposes))

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
        """Return centre and moments from `start` to `stop` after as many updates as `lineage` has entries.

        Every update since the snapshot is computed again, which takes as long as it did.

        Args:
            initial: the state before generation 0.
            lineage: its length counts.
            noise: the noise table.
            problem: gives num_params, the initial parameters and the derivatives.
            start: first parameter.
            stop: the one after the last.
            snapshot: the vectors after some of these updates.
        """
        if snapshot is None:
            done, vectors = 0, es.first_vectors(initial, noise, problem, 0, problem.num_params)
        else:
            done, vectors = snapshot.generation, snapshot.vectors.copy()
        after = np.empty_like(vectors)
        for generation in range(done + 1, len(lineage) + 1):
            self.compute(0, generation, lineage[generation - 1], vectors, after, noise, problem)
            vectors, after = after, vectors
        return vectors[:, start:stop]

    def parameters(
        self,
        candidate: Candidate,
        initial: State,
        lineage: Sequence[Lineage],
        noise: NoiseSource,
        problem: Decodable,
        snapshot: Snapshot | None = None,
    ) -> Float32Array:
        """Return the centre of the generation that follows on `lineage`."""
        vectors = self.vectors(initial, lineage, noise, problem, 0, problem.num_params, snapshot)
        return decode(candidate, vectors, noise, problem, np.empty(problem.num_params, np.float32))

    def genome(self, candidate: Candidate, lineage: Sequence[Lineage]) -> Genome:
        """Refuse: the centre is a vector."""
        raise ConfigError(
            'genome: expected a run whose candidates are lists of mutations, got strategy = "maml", whose centre is a '
            "vector; ask for its parameters()"
        )
