"""Evolution strategies on the shared noise table: mirrored sampling, centred ranks, Adam.

Source: Salimans et al. 2017, arXiv 1703.03864, Algorithm 2 and section 2.1. With inner rounds this is ES-MAML (Song et
al. 2020, arXiv 1910.01215): the fitness of a child is its return after adaptation.

A node keeps three vectors: the centre and Adam's two moments. They follow from those before them and from one number
per mirrored pair, which is what the lineage records: entry 0 is the centre, entry 1 + i has the pair's offset and, as
its std, the difference of the two children's utilities.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gamaml.config import INITIAL_STD, ESConfig
from gamaml.errors import ConfigError, GamamlError
from gamaml.evolution import streams
from gamaml.evolution.candidates import (
    LINEAGE_DTYPE,
    ROOT,
    UNCHANGED,
    Candidate,
    Genome,
    Lineage,
    Snapshot,
    State,
    lineage_of,
)
from gamaml.evolution.decode import Decodable, NoiseSource, decode
from gamaml.evolution.schedule import decayed
from gamaml.types import Float32Array, Records

_PART = 1 << 14
"""Parameters per part of an update, 64 KiB: its sum stays in the cache while the pairs' noise passes by. The parts do
not depend on the number of ranks, and no bit depends on the parts, since every parameter is summed on its own."""

_EPSILON = np.float32(1e-8)
"""Kingma and Ba 2015, Algorithm 1."""

CENTRE = Candidate(0, UNCHANGED, 0.0)


def utilities(fitness: Sequence[float] | np.ndarray) -> Float32Array:
    """Return the centred ranks of fitness, float32 in [-0.5, 0.5]; equals share the mean of their ranks.

    What is not finite ranks below everything else.

    Source: Salimans et al. 2017, section 2.1, fitness shaping.
    """
    values = np.asarray(fitness, np.float64)
    values = np.where(np.isfinite(values), values, -np.inf)
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts + 1) / 2)[inverse]
    return (ranks / max(1, len(values) - 1) - 0.5).astype(np.float32)


@dataclass(frozen=True)
class Step:
    """The numbers of one update.

    Attributes:
        gradient_scale: factor on the weighted sum of noise.
        step_size: Adam's step size, corrected for the bias of its moments.
        beta1, beta2: decay of the moments.
        weight_decay: factor on the parameters that is subtracted from the gradient.
    """

    gradient_scale: float
    step_size: float
    beta1: float
    beta2: float
    weight_decay: float


def step_of(config: ESConfig, generation: int) -> Step:
    """Return the numbers of the update that leads to `generation`, the first of which is 1.

    Source: Salimans et al. 2017, Algorithm 2, line 11; Kingma and Ba 2015, section 2.
    """
    std = decayed(config.std, config.std_final, config.decay_generations, generation - 1)
    size = decayed(config.step_size, config.step_size_final, config.decay_generations, generation - 1)
    return Step(
        gradient_scale=1 / (config.population_size * std),
        step_size=size * bias_correction(config.beta1, config.beta2, generation),
        beta1=config.beta1,
        beta2=config.beta2,
        weight_decay=config.weight_decay,
    )


def bias_correction(beta1: float, beta2: float, updates: int) -> float:
    """Return the factor on Adam's step size for the bias of its moments in update number `updates`, the first being 1.

    Source: Kingma and Ba 2015, section 2.
    """
    return math.sqrt(1 - beta2**updates) / (1 - beta1**updates)


def update(
    before: Float32Array,
    after: Float32Array,
    pairs: Lineage,
    noise: NoiseSource,
    scale: Float32Array | None,
    start: int,
    step: Step,
) -> None:
    """Write centre and moments after one update into `after`. Every sum is in float32 and in the order of the pairs.

    With a scale, the step is Adam's on parameters that are measured in its units.

    Args:
        before: float32[3, size], centre and moments of the parameters from `start` on.
        after: float32[3, size].
        pairs: offset and weight ("std") of each pair.
        noise: the noise table.
        scale: float32[size], or None for 1 everywhere.
        start: first parameter.
        step: the update's numbers.
    """
    size = before.shape[1]
    gradient, product = np.zeros(size, np.float32), np.empty(size, np.float32)
    for offset, weight in zip(pairs["offset"].tolist(), pairs["std"], strict=True):
        np.multiply(noise.block(offset + start, size), weight, out=product)
        np.add(gradient, product, out=gradient)
    gradient *= np.float32(step.gradient_scale)
    if step.weight_decay:
        decay = before[0] * np.float32(step.weight_decay)
        gradient -= decay if scale is None else decay * scale
    ascend(before, after, gradient, scale, step)


def ascend(
    before: Float32Array, after: Float32Array, gradient: Float32Array, scale: Float32Array | None, step: Step
) -> None:
    """Write centre and moments after one step of Adam along `gradient`, float32[size], into `after`; see `update`.

    Source: Kingma and Ba 2015, section 2.
    """
    centre, first, second = before
    after[1] = np.float32(step.beta1) * first + np.float32(1 - step.beta1) * gradient
    after[2] = np.float32(step.beta2) * second + np.float32(1 - step.beta2) * (gradient * gradient)
    change = np.float32(step.step_size) * after[1] / (np.sqrt(after[2]) + _EPSILON)
    after[0] = centre + (change if scale is None else change * scale)


def root_state(seed: int, num_offsets: int) -> State:
    """Return the state before generation 0 of a centre that comes from the root."""
    words = streams.states(seed, streams.Purpose.PROPOSE, 0, 1, num_words=4).astype(np.uint64)
    root = int(streams.scaled(words[:, 2], words[:, 3], num_offsets)[0])
    return State(seed, num_offsets, 0, lineage_of([Candidate(ROOT, root, INITIAL_STD)]))


def first_vectors(initial: State, noise: NoiseSource, problem: Decodable, start: int, stop: int) -> Float32Array:
    """Return the centre of `root_state` and its moments from `start` to `stop`, float32[3, stop - start]."""
    vectors = np.zeros((3, stop - start), np.float32)
    root = int(initial.parents["offset"][0])
    vectors[0] = problem.initial(noise.block(root, problem.num_params))[start:stop]
    return vectors


@dataclass(frozen=True)
class Selection:
    """An update that waits for the re-evaluations of the centre, which only report."""

    state: State
    pairs: Lineage

    contenders = (CENTRE,)

    def finish(self, reevaluations: Records) -> tuple[State, float]:
        """Return the next state, and the mean fitness of the centre before the update."""
        parents = np.concatenate([lineage_of([CENTRE]), self.pairs])
        state = State(self.state.seed, self.state.num_offsets, self.state.generation + 1, parents)
        fitness = reevaluations["fitness"].astype(np.float64)
        return state, float(fitness.mean()) if np.isfinite(fitness).all() else math.nan


@dataclass(frozen=True)
class EvolutionStrategy:
    """ES as a strategy, see `strategy.Strategy`.

    Attributes:
        config: its settings.
    """

    config: ESConfig

    has_genomes = False
    num_candidates = 1
    num_vectors = 3
    num_parents = 1
    snapshot_seconds = math.inf
    lineage_dtype = LINEAGE_DTYPE

    @property
    def population_size(self) -> int:
        """Children per generation."""
        return self.config.population_size

    @property
    def num_episodes(self) -> int:
        """Re-evaluations of the centre."""
        return self.config.episodes

    @property
    def num_entries(self) -> int:
        """Entries of a lineage: the centre, and one per pair."""
        return 1 + self.population_size // 2

    def describe(self) -> dict[str, str]:
        """Return the settings in words."""
        config = self.config

        def range_of(first: float, last: float | None) -> str:
            return f"{first:g}" if last is None else f"{first:g} to {last:g}"

        std, step = range_of(config.std, config.std_final), range_of(config.step_size, config.step_size_final)
        return {
            "ES": f"population {self.population_size} in mirrored pairs, std {std}, Adam with step size {step}",
            "centre": f"{self.num_episodes} episodes in every generation before its update, shown as the elite",
        }

    def std(self, generation: int) -> float:
        """Return the std with which the children of a generation are made."""
        return decayed(self.config.std, self.config.std_final, self.config.decay_generations, generation)

    def initial(self, seed: int, num_offsets: int) -> State:
        """Return the state before generation 0: the centre comes from the root."""
        return root_state(seed, num_offsets)

    def children(self, state: State, count: int | None = None) -> Lineage:
        """Return the first `count` children of the state's generation, all of them by default.

        Children 2 i and 2 i + 1 are a mirrored pair: the same noise, added and subtracted.
        """
        count = self.population_size if count is None else count
        purpose, number = streams.Purpose.PROPOSE, -(-count // 2)
        words = streams.states(state.seed, purpose, state.generation, number, num_words=2).astype(np.uint64)
        children = np.zeros(count, LINEAGE_DTYPE)
        children["offset"] = np.repeat(streams.scaled(words[:, 0], words[:, 1], state.num_offsets), 2)[:count]
        children["std"] = self.std(state.generation)
        children["std"][1::2] *= -1
        return children

    def certain(self, state: State) -> list[Candidate]:
        """Return who is re-evaluated: the centre."""
        return [CENTRE]

    def shortlist(self, state: State, records: Records) -> Selection:
        """Return the update that the children's records ask for.

        Raises:
            GamamlError: no child has a finite fitness.
        """
        if not np.isfinite(records["fitness"]).any():
            raise GamamlError(
                f"generation {state.generation}: expected at least one child with a finite fitness, got none of "
                f"{len(records)}; try a smaller es.std, es.step_size or inner.step_size"
            )
        weights = utilities(records["fitness"])
        pairs = self.children(state)[::2]
        pairs["std"] = weights[::2] - weights[1::2]
        return Selection(state, pairs)

    def num_parts(self, num_params: int, parents: Lineage) -> int:
        """Return in how many parts an update is computed."""
        return -(-num_params // _PART)

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
        """Compute one range of parameters of the centre and its moments."""
        where = slice(part * _PART, min((part + 1) * _PART, problem.num_params))
        scale = None if problem.scale is None else problem.scale[where]
        step = step_of(self.config, generation)
        update(before[:, where], after[:, where], parents[1:], noise, scale, where.start, step)

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
        """Return centre and moments from `start` to `stop` after all updates of `lineage`, float32[3, stop - start].

        Args:
            initial: the state before generation 0.
            lineage: what was committed in generation 0, 1, ...
            noise: the noise table.
            problem: gives num_params, scale and the initial parameters.
            start: first parameter.
            stop: the one after the last.
            snapshot: the vectors after some of these updates.
        """
        scale = None if problem.scale is None else problem.scale[start:stop]
        if snapshot is None:
            vectors = first_vectors(initial, noise, problem, start, stop)
        else:
            vectors = snapshot.vectors[:, start:stop].copy()
        after = np.empty_like(vectors)
        for done in range(0 if snapshot is None else snapshot.generation, len(lineage)):
            update(vectors, after, lineage[done][1:], noise, scale, start, step_of(self.config, done + 1))
            vectors, after = after, vectors
        return vectors

    def parameters(
        self,
        candidate: Candidate,
        initial: State,
        lineage: Sequence[Lineage],
        noise: NoiseSource,
        problem: Decodable,
        snapshot: Snapshot | None = None,
    ) -> Float32Array:
        """Return the parameters of a candidate of the generation that follows on `lineage`."""
        vectors = self.vectors(initial, lineage, noise, problem, 0, problem.num_params, snapshot)
        return decode(candidate, vectors, noise, problem, np.empty(problem.num_params, np.float32))

    def genome(self, candidate: Candidate, lineage: Sequence[Lineage]) -> Genome:
        """Refuse: the centre is a vector."""
        raise ConfigError(
            'genome: expected a run whose candidates are lists of mutations, got strategy = "es", whose centre is a '
            "vector; ask for its parameters()"
        )
