"""Gradient MAML as a strategy: one candidate, the centre, and Adam along the derivative of its fitness.

Source: Finn et al. 2017, arXiv 1703.03400, Algorithms 2 and 3; Adam as in section 5.1, for reinforcement learning too.

A generation is one update. Its only child is the centre itself; its evaluation, on fresh tasks, also gives the
derivative. The vectors are the centre and Adam's two moments, as with ES. Only the root needs an entry, since an update
follows from the previous vectors and from (seed, generation); a resumed run repeats the updates since its last
snapshot.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np

from gamaml.config import MAMLConfig
from gamaml.errors import SelectionError
from gamaml.evolution import adam, streams
from gamaml.evolution.centre import root_state
from gamaml.evolution.decode import Decodable, Sources, decode
from gamaml.evolution.entries import Entries, new_entries
from gamaml.evolution.strategy import Outcome, Part, Progress, Sizes, Space, State
from gamaml.evolution.streams import Purpose
from gamaml.types import EvaluationKey, Float32Array, Records


class Differentiable(Decodable, Protocol):
    """The part of a Problem that gradient MAML needs."""

    def gradient(self, params: Float32Array, key: EvaluationKey) -> Float32Array:
        """Return the direction, float32[num_params], that improves the fitness under a key."""
        ...


@dataclass(frozen=True)
class GradientMAML:
    """Gradient MAML as a `Strategy`.

    Attributes:
        config: its settings.
    """

    config: MAMLConfig

    @property
    def sizes(self) -> Sizes:
        """The memory and the evaluations that it needs."""
        return Sizes(
            population_size=1,
            num_vectors=3,
            num_entries=1,
            update_by="whole",
            snapshot_seconds=60.0,
            derivative=1 if self.config.first_order else 2,
            one_rank=True,
        )

    def start(self, seed: int, space: Space) -> State:
        """Return the state before generation 0, the same as that of ES."""
        return root_state(seed, space)

    def children(self, state: State) -> Entries:
        """Return the centre."""
        return new_entries(1)

    def contenders(self, state: State, records: Records | None) -> Entries:
        """Return no contender: the centre's own evaluation is already on fresh tasks."""
        return new_entries(0)

    def next(self, state: State, records: Records, reevaluations: Records, progress: Progress) -> Outcome:
        """Return the state after the update; the outcome's fitness is the centre's before it.

        Raises:
            SelectionError: the centre's fitness is not finite, so no update is possible.
        """
        fitness = float(records["fitness"][0])
        if not math.isfinite(fitness):
            raise SelectionError(
                f"generation {state.generation}: expected a finite fitness of the centre, got {fitness}; "
                "try a smaller maml.step_size or inner.step_size"
            )
        return Outcome(state.followed_by(new_entries(1)), fitness, std=0.0)

    def decode(self, entry: np.void, sources: Sources, out: Float32Array) -> None:
        """Write the centre into `out`."""
        decode(entry, sources, out)

    def update(self, state: State, sources: Sources, part: Part) -> None:
        """Compute the update that leads to the state's generation."""
        if state.generation == 0:
            part.out[0], part.out[1:] = sources.initial(int(state.entries["offset"][0])), 0
            return
        problem, key = cast(Differentiable, sources.problem), centre_key(state.seed, state.generation - 1)
        gradient = problem.gradient(sources.vectors[0], key)
        adam.ascend(sources.vectors, part.out, gradient, step_size=self.config.step_size, updates=state.generation)

    def incumbent(self, state: State, vectors: Float32Array) -> Float32Array:
        """Return the centre."""
        return vectors[0]

    def describe(self) -> dict[str, str]:
        """Return the settings in words."""
        order = "first" if self.config.first_order else "second"
        return {
            "MAML": f"{order} order, Adam with step size {self.config.step_size:g}",
            "centre": "evaluated on fresh tasks before its update in every generation, shown as child and incumbent",
        }


def centre_key(seed: int, generation: int) -> EvaluationKey:
    """Return the randomness of the centre's evaluation, which is child 0."""
    purposes = Purpose.TASKS, Purpose.EPISODES
    return EvaluationKey(*(streams.key(seed, purpose, generation) for purpose in purposes))
