"""Truncation selection with an elite: the deep GA of Such et al. (2017), as pure functions over a frozen state.

Source: arXiv 1712.06567, Algorithm 1; the previous elite is re-evaluated beside the best children, as in Uber's
later GPU code, so that one lucky evaluation cannot rule for ever.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gamaml.config import INITIAL_STD, GAConfig
from gamaml.errors import GamamlError
from gamaml.evolution import streams
from gamaml.evolution.candidates import (
    NOBODY,
    ROOT,
    UNCHANGED,
    Candidate,
    Genome,
    Lineage,
    Snapshot,
    State,
    candidate_at,
    candidates_of,
    genome_of,
    genomes_of,
    lineage_dtype,
    lineage_of,
)
from gamaml.evolution.decode import (
    Decodable,
    NoiseSource,
    decode,
    decode_genome,
    decode_part,
)
from gamaml.evolution.schedule import mutation_std
from gamaml.types import Float32Array, Float64Array, Records


def initial_state(seed: int, num_offsets: int, recombine: int = 1) -> State:
    """Return the state before generation 0.

    Args:
        seed: the population's seed.
        num_offsets: number of valid noise offsets, noise.size - num_params + 1.
        recombine: the most parents that a child has.
    """
    parents = np.empty(0, lineage_dtype(recombine))
    return State(seed=seed, num_offsets=num_offsets, generation=0, parents=parents)


def propose(state: State, config: GAConfig, index: int) -> Candidate:
    """Return the child `index` of the state's generation; a function of (seed, generation, index) and the parents."""
    return candidate_at(proposals(state, config, index + 1), index)


def proposals(state: State, config: GAConfig, count: int | None = None) -> Lineage:
    """Return the first `count` children of the state's generation (all of them by default) as one array.

    One 64-bit word per child is scaled to the range of offsets and one to that of each parent (multiply and shift),
    whose bias is below 2**-32 for tables up to 2**32 entries. Of several parents each is another one, in the order of
    their slots; where fewer survived than `recombine` asks for, all of them.
    """
    count = config.population_size if count is None else count
    num_words = 2 + 2 * config.recombine
    states = streams.states(state.seed, streams.Purpose.PROPOSE, state.generation, count, num_words)
    words = states.astype(np.uint64)
    children = np.empty(count, state.parents.dtype)
    children["offset"] = streams.scaled(words[:, 0], words[:, 1], state.num_offsets)
    if len(state.parents) == 0:
        children["slot"], children["std"] = ROOT, INITIAL_STD
        slots = np.empty((count, 0), np.int32)
    else:
        slots = _different(words[:, 2:], len(state.parents))
        children["slot"] = slots[:, 0]
        children["std"] = mutation_std(config, state.generation)
    if config.recombine > 1:
        children["partners"] = NOBODY
        children["partners"][:, : max(0, slots.shape[1] - 1)] = slots[:, 1:]
    return children


def _different(words: npt.NDArray[np.uint64], number: int) -> npt.NDArray[np.uint64]:
    """Draw different slots below `number` per row, each set equally likely.

    Args:
        words: [count, 2 * k], two 32-bit words per draw.
        number: of slots.

    Returns:
        [count, min(k, number)], ascending in each row.
    """
    drawn = np.empty((len(words), min(words.shape[1] // 2, number)), np.uint64)
    for place in range(drawn.shape[1]):
        # The n-th of those that are left: every slot drawn before, from the lowest on, moves it up by one.
        slot = streams.scaled(words[:, 2 * place], words[:, 2 * place + 1], number - place)
        for earlier in range(place):
            slot += slot >= drawn[:, earlier]
        drawn[:, place] = slot
        drawn[:, : place + 1].sort(axis=1)
    return drawn


def candidates(state: State, records: Records, config: GAConfig) -> list[Candidate]:
    """Return who is re-evaluated: the previous elite, then the best children up to `elite.candidates` in all.

    Args:
        state: the state that the children were proposed from.
        records: all children's records, [population_size], in index order.
        config: `elite.candidates == 0` gives an empty list.
    """
    return shortlist(state, records, config).contenders


def select(state: State, records: Records, reevaluations: Records, config: GAConfig) -> tuple[State, float]:
    """Choose the parents of the next generation.

    The elite is the candidate with the best mean over its re-evaluations; the earlier candidate wins a tie, so the
    previous elite stays. The other parents are the best children, each once. Non-finite fitness never survives.

    Args:
        state: the state that the children were proposed from.
        records: all children's records, [population_size], in index order.
        reevaluations: [num_candidates * elite.episodes], in index order; empty without re-evaluation.
        config: the GA's settings.

    Returns:
        The next state, and the elite's fitness (mean over re-evaluations; without them, its single fitness).

    Raises:
        GamamlError: no child and no candidate has a finite fitness.
    """
    return choose(state, shortlist(state, records, config), reevaluations, config)


@dataclass(frozen=True)
class Shortlist:
    """The part of a selection that the children's records decide, before anybody is re-evaluated.

    Attributes:
        order: indices of the children with a finite fitness, from best to worst.
        children: the generation's children.
        best: as many of the best as a selection needs, in this order.
        best_fitness: of the first, NaN if there is none.
        contenders: who is re-evaluated.
    """

    order: list[int]
    children: Lineage
    best: list[Candidate]
    best_fitness: float
    contenders: list[Candidate]


def shortlist(state: State, records: Records, config: GAConfig, children: Lineage | None = None) -> Shortlist:
    """Return the first part of `select`, which can be done while the re-evaluations go on.

    Args:
        state: as there.
        records: as there.
        config: as there.
        children: the generation's children; `proposals(state, config)` by default.
    """
    order = ranking(records["fitness"])
    number = config.elite.candidates
    previous = certain(state, config)
    children = proposals(state, config) if children is None else children
    best = [candidate_at(children, index) for index in order[: max(number, config.num_parents)]]
    return Shortlist(
        order=order,
        children=children,
        best=best,
        best_fitness=float(records["fitness"][order[0]]) if order else math.nan,
        contenders=previous + best[: number - len(previous)],
    )


def certain(state: State, config: GAConfig) -> list[Candidate]:
    """Return who is re-evaluated whatever the children achieve: the previous elite."""
    return [Candidate(0, UNCHANGED, 0.0)] if config.elite.candidates and len(state.parents) else []


def choose(state: State, listed: Shortlist, reevaluations: Records, config: GAConfig) -> tuple[State, float]:
    """Return the second part of `select`; arguments and errors as there."""
    means = candidate_means(reevaluations, len(listed.contenders))
    ranked = ranking(means)
    if ranked:
        elite, fitness = listed.contenders[ranked[0]], float(means[ranked[0]])
    elif listed.order:
        elite, fitness = listed.best[0], listed.best_fitness
    else:
        raise GamamlError(
            f"generation {state.generation}: expected at least one child with a finite fitness, got none of "
            f"{len(listed.children)}; try a smaller ga.mutation_std or inner.step_size"
        )
    parents = [elite]
    # More than were proposed are needed only where two children are the same candidate.
    others = (candidate_at(listed.children, index) for index in listed.order[len(listed.best) :])
    for child in itertools.chain(listed.best, others):
        if len(parents) == config.num_parents:
            break
        if child not in parents:
            parents.append(child)
    next_state = State(state.seed, state.num_offsets, state.generation + 1, lineage_of(parents, state.parents.dtype))
    return next_state, fitness


def candidate_means(reevaluations: Records, num_candidates: int) -> Float64Array:
    """Return each candidate's mean fitness over its re-evaluations, float64[num_candidates]."""
    fitness = reevaluations["fitness"].astype(np.float64)
    if num_candidates == 0:
        return np.empty(0)
    with np.errstate(invalid="ignore"):
        # Infinite returns of both signs have no mean; the NaN is never selected.
        return fitness.reshape(num_candidates, -1).mean(axis=1)


def ranking(fitness: Sequence[float] | np.ndarray) -> list[int]:
    """Return the indices of the finite entries from best to worst; of equals, the lower index comes first."""
    values = np.asarray(fitness, np.float64)
    finite = np.flatnonzero(np.isfinite(values))
    order: list[int] = finite[np.argsort(-values[finite], kind="stable")].tolist()
    return order


@dataclass(frozen=True)
class Selection:
    """A selection that waits for its re-evaluations."""

    state: State
    listed: Shortlist
    config: GAConfig

    @property
    def contenders(self) -> list[Candidate]:
        """Who is re-evaluated."""
        return self.listed.contenders

    def finish(self, reevaluations: Records) -> tuple[State, float]:
        """Return the next state and the elite's fitness."""
        return choose(self.state, self.listed, reevaluations, self.config)


@dataclass(frozen=True)
class GeneticAlgorithm:
    """The GA as a strategy, see `strategy.Strategy`.

    Attributes:
        config: its settings.
        from_root: whether children have no parents: random search, which keeps the best.
    """

    config: GAConfig
    from_root: bool = False

    has_genomes = True
    snapshot_seconds = math.inf

    @property
    def population_size(self) -> int:
        """Children per generation."""
        return self.config.population_size

    @property
    def num_candidates(self) -> int:
        """The most candidates that are re-evaluated."""
        return self.config.elite.candidates

    @property
    def num_episodes(self) -> int:
        """Re-evaluations of each."""
        return self.config.elite.episodes

    @property
    def num_entries(self) -> int:
        """The most parents."""
        return self.config.num_parents

    @property
    def num_vectors(self) -> int:
        """Vectors that a node keeps: the parents."""
        return self.config.num_parents

    @property
    def num_parents(self) -> int:
        """Vectors among them that are searched around."""
        return self.config.num_parents

    @property
    def lineage_dtype(self) -> np.dtype[np.void]:
        """The dtype of an entry of the lineage."""
        return lineage_dtype(self.config.recombine)

    def describe(self) -> dict[str, str]:
        """Return the settings in words."""
        config = self.config
        elite = f"{config.elite.candidates} candidates x {config.elite.episodes} episodes"
        lines = {"elite": elite if config.elite.candidates else "none"}
        if self.from_root:
            return {"random search": f"{self.population_size} children, all from the root", **lines}
        final = "" if config.mutation_std_final is None else f" to {config.mutation_std_final:g}"
        mean = f" (the mean of {config.recombine} is mutated)" if config.recombine > 1 else ""
        parents = f"{config.num_parents} parents{mean}"
        return {"GA": f"population {config.population_size}, {parents}, std {config.mutation_std:g}{final}", **lines}

    def std(self, generation: int) -> float:
        """Return the std with which the children of a generation are made."""
        return INITIAL_STD if self.from_root else mutation_std(self.config, generation)

    def initial(self, seed: int, num_offsets: int) -> State:
        """Return the state before generation 0."""
        return initial_state(seed, num_offsets, self.config.recombine)

    def children(self, state: State, count: int | None = None) -> Lineage:
        """Return the first `count` children of the state's generation, all of them by default."""
        parents = state.parents[:0] if self.from_root else state.parents
        return proposals(dataclasses.replace(state, parents=parents), self.config, count)

    def certain(self, state: State) -> list[Candidate]:
        """Return who is re-evaluated whatever the children achieve."""
        return certain(state, self.config)

    def shortlist(self, state: State, records: Records) -> Selection:
        """Return the selection of the next state up to where it needs re-evaluations."""
        return Selection(state, shortlist(state, records, self.config, self.children(state)), self.config)

    def num_parts(self, num_params: int, parents: Lineage) -> int:
        """Return in how many parts the vectors of a state are computed: one per parent."""
        return len(parents)

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
        """Decode one parent into its place in `after`."""
        decode(candidate_at(parents, part), before, noise, problem, after[part])

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
        """Return the parameters from `start` to `stop` of the last parents, float32[number of them, stop - start]."""
        if not lineage:
            return np.empty((0, stop - start), np.float32)
        return decode_part(genomes_of(candidates_of(lineage[-1]), lineage[:-1]), noise, problem, start, stop)

    def parameters(
        self,
        candidate: Candidate,
        initial: State,
        lineage: Sequence[Lineage],
        noise: NoiseSource,
        problem: Decodable,
        snapshot: Snapshot | None = None,
    ) -> Float32Array:
        """Return the parameters of a candidate whose slots refer to the last entry of `lineage`."""
        return decode_genome(self.genome(candidate, lineage), noise, problem)

    def genome(self, candidate: Candidate, lineage: Sequence[Lineage]) -> Genome:
        """Return a candidate's genome."""
        return genome_of(candidate, lineage)
