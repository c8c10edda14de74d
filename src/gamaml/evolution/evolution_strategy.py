"""Evolution strategies on the shared noise table: mirrored sampling, centred ranks, Adam.

Source: Salimans et al. 2017, arXiv 1703.03864, Algorithm 2 and section 2.1. With inner rounds this is ES-MAML (Song et
al. 2020, arXiv 1910.01215): the fitness of a child is its return after adaptation.

The vectors are the centre and Adam's two moments. A state's entries are the mirrored pairs whose weighted noise leads
to its vectors: the offset, and the difference of the two children's utilities, over the population's size and std, as
the factor. All of them also hold the step size of that update and the std of the next children. At generation 0 the
only entry is the root.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from gamaml.config import ESConfig
from gamaml.evolution import adam
from gamaml.evolution.centre import mirrored_children, root_state, std_of, weighted_noise
from gamaml.evolution.decode import Sources, decode
from gamaml.evolution.entries import STD, Entries, new_entries, without_children
from gamaml.evolution.ranks import centred_ranks, check_some_finite, mean_fitness
from gamaml.evolution.schedule import decayed, share_of
from gamaml.evolution.strategy import Outcome, Part, Progress, Sizes, Space, State
from gamaml.types import Float32Array, Records


@dataclass(frozen=True)
class EvolutionStrategy:
    """ES as a `Strategy`.

    Attributes:
        config: its settings.
    """

    config: ESConfig

    @property
    def sizes(self) -> Sizes:
        """The memory and the evaluations that it needs."""
        return _sizes(self.config)

    def start(self, seed: int, space: Space) -> State:
        """Return the state before generation 0: the centre comes from the root."""
        root = root_state(seed, space, self.sizes.entry_dtype)
        root.entries["std"] = self.config.std
        return root

    def children(self, state: State) -> Entries:
        """Return the children, in mirrored pairs."""
        return mirrored_children(state, self.config.population_size, self.sizes.entry_dtype)

    def contenders(self, state: State, records: Records | None) -> Entries:
        """Return the centre; its re-evaluations are only reported."""
        return new_entries(1, self.sizes.entry_dtype)

    def next(self, state: State, records: Records, reevaluations: Records, progress: Progress) -> Outcome:
        """Return the state with the weight of each pair; the fitness is the centre's before the update.

        Raises:
            SelectionError: no child has a finite fitness.
        """
        check_some_finite(state, records, "try a smaller es.std, es.step_size or inner.step_size")
        utilities = centred_ranks(records["fitness"])
        pairs = without_children(self.children(state)[::2])
        pairs["factor"] = (utilities[::2] - utilities[1::2]) / (len(records) * std_of(state))
        config, following = self.config, state.generation + 1
        share = share_of(config.decay_generations, following, progress.share)
        pairs["std"] = decayed(config.std, config.std_final, share)
        pairs["step_size"] = decayed(config.step_size, config.step_size_final, share)
        return Outcome(state.followed_by(pairs), mean_fitness(reevaluations), std_of(state), contender=0)

    def decode(self, entry: np.void, sources: Sources, out: Float32Array) -> None:
        """Write a child's parameters into `out`."""
        decode(entry, sources, out)

    def update(self, state: State, sources: Sources, part: Part) -> None:
        """Compute a range of the centre and its moments; sums are float32, in the order of the pairs.

        Source: Salimans et al. 2017, Algorithm 2, line 11.
        """
        if state.generation == 0:
            part.out[0], part.out[1:] = sources.initial(int(state.entries["offset"][0])), 0
            return
        config = self.config
        gradient = weighted_noise(state.entries, sources.noise, sources.start, sources.size)
        if config.weight_decay:
            decay = sources.vectors[0] * np.float32(config.weight_decay)
            gradient -= decay if sources.scale is None else decay * sources.scale
        adam.ascend(
            sources.vectors,
            part.out,
            gradient,
            step_size=float(state.entries["step_size"][0]),
            updates=state.generation,
            betas=(config.beta1, config.beta2),
            scale=sources.scale,
        )

    def incumbent(self, state: State, vectors: Float32Array) -> Float32Array:
        """Return the centre."""
        return vectors[0]

    def describe(self) -> dict[str, str]:
        """Return the settings in words."""
        config = self.config

        def range_of(first: float, last: float | None) -> str:
            return f"{first:g}" if last is None else f"{first:g} to {last:g}"

        std, step = range_of(config.std, config.std_final), range_of(config.step_size, config.step_size_final)
        return {
            "ES": f"population {config.population_size} in mirrored pairs, std {std}, Adam with step size {step}",
            "centre": f"{config.episodes} episodes in every generation before its update, shown as the incumbent",
        }


@functools.cache
def _sizes(config: ESConfig) -> Sizes:
    size = config.population_size
    return Sizes(
        population_size=size,
        num_vectors=3,
        num_entries=size // 2,
        num_contenders=1,
        num_episodes=config.episodes,
        columns=(STD, ("step_size", "<f8", ())),
        plain=True,
    )
