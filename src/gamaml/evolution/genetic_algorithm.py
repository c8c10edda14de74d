"""Truncation selection with an elite: the deep GA of Such et al. (2017).

Source: arXiv 1712.06567, Algorithm 1. As there, the previous elite is a candidate beside the best children,
C <- P[1...9] + {Elite}, and is re-evaluated with them, so one lucky evaluation cannot dominate for ever.

The vectors are the parents, the elite first; entry i of a state is parent i.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gamaml.config import GAConfig
from gamaml.errors import SelectionError
from gamaml.evolution import streams
from gamaml.evolution.decode import Sources, decode
from gamaml.evolution.entries import (
    INITIAL_STD,
    PARTNERS,
    ROOT,
    STD,
    Entries,
    new_entries,
    partners_column,
    without_children,
)
from gamaml.evolution.ranks import contender_means, ranking
from gamaml.evolution.schedule import decayed, share_of
from gamaml.evolution.strategy import Outcome, Part, Progress, Sizes, Space, State
from gamaml.types import Float32Array, Records


@dataclass(frozen=True)
class GeneticAlgorithm:
    """The GA as a `Strategy`.

    Attributes:
        config: its settings.
    """

    config: GAConfig

    @property
    def sizes(self) -> Sizes:
        """The memory and the evaluations that it needs."""
        return _sizes(self.config)

    def start(self, seed: int, space: Space) -> State:
        """Return the state before generation 0, without parents."""
        return State(seed, space, 0, new_entries(0, self.sizes.entry_dtype))

    def children(self, state: State) -> Entries:
        """Return the generation's children, each the mutated mean of `recombine` distinct random parents."""
        num_parents, std = len(state.entries), self.std(state)
        return proposals(self.config, state.seed, state.generation, num_parents, std, state.space)

    def contenders(self, state: State, records: Records | None) -> Entries:
        """Return the previous elite, then the best children up to `elite.candidates` in all."""
        elite = new_entries(1 if self.config.elite.candidates and len(state.entries) else 0, self.sizes.entry_dtype)
        if records is None:
            return elite
        best = ranking(records["fitness"])[: self.config.elite.candidates - len(elite)]
        return np.concatenate([elite, without_children(self.children(state)[best])])

    def next(self, state: State, records: Records, reevaluations: Records, progress: Progress) -> Outcome:
        """Return the state with the parents of the next generation.

        The elite is the contender with the best mean over its re-evaluations; the earlier contender wins a tie, so the
        previous elite stays. The other parents are the best children, each once. A fitness that is not finite never
        survives. The outcome's fitness is that mean; without re-evaluations, the elite's fitness as a child.

        Raises:
            SelectionError: no child and no contender has a finite fitness.
        """
        contenders = self.contenders(state, records)
        means = contender_means(reevaluations, len(contenders))
        best_contenders, order = ranking(means), ranking(records["fitness"])
        children = without_children(self.children(state)[order])
        if best_contenders:
            contender = best_contenders[0]
            elite, fitness = contenders[contender : contender + 1], float(means[contender])
        elif order:
            contender, elite, fitness = None, children[:1], float(records["fitness"][order[0]])
        else:
            raise SelectionError(
                f"generation {state.generation}: expected at least one child with a finite fitness, got none of "
                f"{len(records)}; try a smaller ga.mutation_std or inner.step_size"
            )
        chosen = list[int]()
        different = {elite.tobytes()}
        for place, child in enumerate(children):
            if len(different) == self.config.num_parents:
                break
            if child.tobytes() not in different:
                different.add(child.tobytes())
                chosen.append(place)
        following = state.followed_by(np.concatenate([elite, children[chosen]]))
        following.entries["std"] = self._following_std(following.generation, progress)
        return Outcome(following, fitness, self.std(state), contender)

    def decode(self, entry: np.void, sources: Sources, out: Float32Array) -> None:
        """Write a child's parameters into `out`."""
        decode(entry, sources, out)

    def update(self, state: State, sources: Sources, part: Part) -> None:
        """Decode parents."""
        for row, out in zip(part.rows, part.out, strict=True):
            decode(state.entries[row], sources, out)

    def incumbent(self, state: State, vectors: Float32Array) -> Float32Array:
        """Return the elite."""
        return vectors[0]

    def std(self, state: State) -> float:
        """Return the mutation std of a state: constant, or exponential between first and final value."""
        return float(state.entries["std"][0]) if len(state.entries) else self.config.mutation_std

    def _following_std(self, generation: int, progress: Progress) -> float:
        config = self.config
        share = share_of(config.mutation_std_generations, generation, progress.share)
        return decayed(config.mutation_std, config.mutation_std_final, share)

    def describe(self) -> dict[str, str]:
        """Return the settings in words."""
        config = self.config
        final = "" if config.mutation_std_final is None else f" to {config.mutation_std_final:g}"
        mean = f" (the mean of {config.recombine} is mutated)" if config.recombine > 1 else ""
        parents = f"{config.num_parents} parents{mean}"
        line = f"population {config.population_size}, {parents}, std {config.mutation_std:g}{final}"
        return {"GA": line, **self.describe_elite()}

    def describe_elite(self) -> dict[str, str]:
        """Return how the elite is chosen, in words."""
        elite = self.config.elite
        return {"elite": f"{elite.candidates} candidates x {elite.episodes} episodes" if elite.candidates else "none"}


@functools.cache
def _sizes(config: GAConfig) -> Sizes:
    return Sizes(
        population_size=config.population_size,
        num_vectors=config.num_parents,
        num_entries=config.num_parents,
        num_contenders=config.elite.candidates,
        num_episodes=config.elite.episodes,
        num_bases=config.num_parents,
        columns=(STD, *partners_column(config.recombine - 1)),
        update_by="vector",
        plain=True,
    )


@functools.lru_cache(maxsize=8)
def proposals(config: GAConfig, seed: int, generation: int, num_parents: int, std: float, space: Space) -> Entries:
    """Return the children of a generation, read-only, mutated with `std`; without parents they come from the root.

    For each child, one 64-bit word is scaled to the range of offsets and one per parent to the range of parents
    (multiply and shift); the bias is below 2**-32 for tables up to 2**32 entries. With `recombine` > 1 the parents are
    distinct and sorted by slot; if fewer survived, all are used.
    """
    count = config.population_size
    states = streams.states(seed, streams.Purpose.PROPOSE, generation, count, 2 + 2 * config.recombine)
    words = states.astype(np.uint64)
    dtype = GeneticAlgorithm(config).sizes.entry_dtype
    children = new_entries(count, dtype)
    children["offset"] = streams.scaled(words[:, 0], words[:, 1], space.num_offsets)
    children["episode"] = np.arange(count)
    children["task"] = 0 if space.share_tasks else np.arange(count)
    if num_parents == 0:
        children["base"], children["factor"] = ROOT, INITIAL_STD
    else:
        slots = _different(words[:, 2:], num_parents)
        children["base"] = slots[:, 0]
        children["factor"] = std
        if config.recombine > 1:
            children[PARTNERS][:, : slots.shape[1] - 1] = slots[:, 1:]
    children.flags.writeable = False
    return children


def _different(words: npt.NDArray[np.uint64], number: int) -> npt.NDArray[np.uint64]:
    """Draw different slots below `number` per row, each set equally likely.

    Args:
        words: [count, 2 * k], two 32-bit words per draw.
        number: number of slots.

    Returns:
        [count, min(k, number)], ascending in each row.
    """
    drawn = np.empty((len(words), min(words.shape[1] // 2, number)), np.uint64)
    for place in range(drawn.shape[1]):
        # The n-th of the remaining slots: each slot drawn before, from the lowest on, moves it up by one.
        slot = streams.scaled(words[:, 2 * place], words[:, 2 * place + 1], number - place)
        for earlier in range(place):
            slot += slot >= drawn[:, earlier]
        drawn[:, place] = slot
        drawn[:, : place + 1].sort(axis=1)
    return drawn
