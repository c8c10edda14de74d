"""Multifactorial recombination: one centre, children of one task each, ranked among those of the same task.

A child's skill factor is the task that it meets, and its rank is that among the children of the same skill factor
(Gupta, Ong and Feng 2016, IEEE Transactions on Evolutionary Computation 20(3):343-357); children that share a task
are a litter. They come in mirrored pairs (Brockhoff et al. 2010, PPSN XI), and all of them are recombined with the
weights of their ranks, negative ones among them, in a step that is longer than the weighted mean. With one litter
this is ES (Salimans et al. 2017) without Adam.

The vectors are the centre, the mean of the last centres, which is the incumbent, and with cumulative step-size
adaptation the centre's path. A state's entries are the mirrored pairs whose noise moves the centre: the offset, and as
factor the coefficient of its noise in the centre. The centre is therefore a sum over the noise table: a root and a list
of offsets and coefficients.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gamaml.config import MultifactorialConfig
from gamaml.evolution.centre import mirrored_children, root_state, std_of, weighted_noise
from gamaml.evolution.decode import Sources, decode
from gamaml.evolution.entries import STD, Entries, new_entries, without_children
from gamaml.evolution.ranks import check_some_finite, mean_fitness, shared_ranks
from gamaml.evolution.schedule import decayed, share_of
from gamaml.evolution.strategy import PART, Outcome, Part, Progress, Sizes, Space, State
from gamaml.types import Float32Array, Float64Array, Records

CENTRE, MEAN, _PATH = 0, 1, 2

_AVERAGING = 8
"""Power with which the weight of a centre in the mean of the centres grows with its generation: half of the weight is
on the last 7 % of the centres, and 87 % on the last fifth."""

_MOST_STD = math.e**2
"""Greatest std under cumulative step-size adaptation, in units of the first one."""


@dataclass(frozen=True)
class Multifactorial:
    """Multifactorial recombination as a `Strategy`.

    Attributes:
        config: its settings.
    """

    config: MultifactorialConfig

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
        """Return the children; 2 i and 2 i + 1 are a mirrored pair, pair i belongs to litter i modulo their number.

        All children of a litter share the task, the resets and the action noise, so they differ by their parameters
        alone.
        """
        number = self.config.population_size
        children = mirrored_children(state, number, self.sizes.entry_dtype)
        children["task"] = children["episode"] = np.arange(number) // 2 % self.num_litters
        return children

    def contenders(self, state: State, records: Records | None) -> Entries:
        """Return the incumbent; its re-evaluations are only reported."""
        incumbent = new_entries(1, self.sizes.entry_dtype)
        incumbent["base"] = MEAN
        return incumbent

    def next(self, state: State, records: Records, reevaluations: Records, progress: Progress) -> Outcome:
        """Return the state with the coefficient of each pair; the fitness is the incumbent's before the update.

        Raises:
            SelectionError: no child has a finite fitness.
        """
        check_some_finite(state, records, "try a smaller multifactorial.std or inner.step_size")
        weights, step = pair_weights(records["fitness"], self.num_litters, self.config.ranking), self._step(state)
        pairs = without_children(self.children(state)[::2])
        pairs["factor"] = step * weights
        if self._adapts:
            pairs["step"] = step
        pairs["std"] = self._following_std(state, pairs, progress)
        return Outcome(state.followed_by(pairs), mean_fitness(reevaluations), std_of(state), contender=0)

    def decode(self, entry: np.void, sources: Sources, out: Float32Array) -> None:
        """Write a child's parameters into `out`."""
        decode(entry, sources, out)

    def update(self, state: State, sources: Sources, part: Part) -> None:
        """Compute a range of the centre, of the mean of the centres and of the path.

        Source of the mean: Shamir and Zhang 2013, arXiv 1212.1824, polynomial-decay averaging, which weighs the last
        centres most, however long the run is.
        """
        if state.generation == 0:
            part.out[:] = 0
            part.out[CENTRE] = part.out[MEAN] = sources.initial(int(state.entries["offset"][0]))
            return
        shift = weighted_noise(state.entries, sources.noise, sources.start, sources.size)
        if self._adapts:
            part.out[_PATH] = _moved_path(state, sources.vectors[_PATH], shift)
        before = sources.vectors[CENTRE], sources.vectors[MEAN]
        advance(before, part.out, shift, state.generation, scale=sources.scale)

    def incumbent(self, state: State, vectors: Float32Array) -> Float32Array:
        """Return the mean of the last centres."""
        return vectors[MEAN]

    @property
    def num_litters(self) -> int:
        """Number of litters."""
        return self.config.litters or 1

    def describe(self) -> dict[str, str]:
        """Return the settings in words."""
        config = self.config
        final = "" if config.std_final is None else f" to {config.std_final:g}"
        std = f"std {config.std:g}{final}" + (" at first, adapted by the path's length" if self._adapts else "")
        litters = f"{self.num_litters} litter" + ("s" if self.num_litters > 1 else "")
        ranked = "" if config.ranking == "litter" else ", ranked by the difference in each pair"
        return {
            "multifactorial": f"population {config.population_size} in mirrored pairs, {litters}{ranked}, {std}, "
            f"rate {config.rate:g}",
            "incumbent": f"mean of the last centres, {config.episodes} episodes in every generation before its update",
        }

    @property
    def _adapts(self) -> bool:
        return self.config.step_control == "csa"

    def _step(self, state: State) -> float:
        return self.config.rate * std_of(state)

    def _following_std(self, state: State, pairs: Entries, progress: Progress) -> float:
        """Return the std of the next state's children.

        Source: cumulative step-size adaptation (Hansen 2016, arXiv 1604.00772), with (mu + 2) / (n + mu + 5) as the
        decay of the path and as the inverse of the damping, and sqrt(n) as the length of a random path.
        """
        config, following = self.config, state.followed_by(pairs)
        if not self._adapts:
            share = share_of(config.std_generations, following.generation, progress.share)
            return decayed(config.std, config.std_final, share)
        std, effective = std_of(state), _effective_number(following)
        if effective is None:
            return std
        sources, square = progress.sources, 0.0
        for start in range(0, sources.size, PART):
            size = min(PART, sources.size - start)
            shift = weighted_noise(pairs, sources.noise, start, size)
            path = _moved_path(following, sources.vectors[_PATH][start : start + size], shift).astype(np.float64)
            square += float(path @ path)
        length = math.sqrt(square / sources.size)
        change = math.exp(_decay(effective, sources.size) * (length - 1))
        return min(std * change, config.std * _MOST_STD)


def pair_weights(fitness: Float64Array | Float32Array, num_litters: int, ranking: str = "litter") -> Float64Array:
    """Return the weight of each mirrored pair's noise, float64[number of pairs].

    With ranking "litter" a child's utility is its centred rank in its litter, and a pair's weight is the difference of
    its two utilities. With "pair" the weight is the signed rank of the pair's difference in fitness among all pairs
    (Wilcoxon 1945, Biometrics Bulletin 1(6):80-83), which the two children share. Equals share their ranks, a fitness
    that is not finite ranks below all others, and the children's utilities have an absolute sum of 1, or of 0 if all
    are equal.

    Args:
        fitness: [population_size]; children 2 i and 2 i + 1 are pair i, which belongs to litter i modulo `num_litters`.
        num_litters: number of litters.
        ranking: "litter" or "pair".
    """
    values = np.asarray(fitness, np.float64)
    values = np.where(np.isfinite(values), values, -np.inf)
    if ranking == "pair":
        weights = _signed_ranks(values)
        total = np.abs(weights).sum()
    else:
        utilities = np.empty(len(values))
        litter_of = np.arange(len(values)) // 2 % num_litters
        for litter in range(num_litters):
            members = litter_of == litter
            ranks = shared_ranks(values[members])
            utilities[members] = ranks / max(1, len(ranks) - 1) - 0.5
        weights, total = utilities[::2] - utilities[1::2], np.abs(utilities).sum()
    return weights / total if total > 0 else np.zeros(len(weights))


def advance(
    before: tuple[Float32Array, Float32Array],
    after: Float32Array,
    shift: Float32Array,
    generation: int,
    scale: Float32Array | None,
) -> None:
    """Write the centre and the mean of the centres, rows 0 and 1 of `after`, float32[size] each.

    Args:
        before: the centre and the mean before.
        after: float32[at least 2, size].
        shift: the weighted noise, float32[size].
        generation: the generation of `after`, at least 1.
        scale: float32[size], or None for 1 everywhere.
    """
    centre, mean = before
    np.add(centre, shift if scale is None else shift * scale, out=after[CENTRE])
    share = np.float32((_AVERAGING + 1) / (generation + _AVERAGING))
    np.add(mean, share * (after[CENTRE] - mean), out=after[MEAN])


def mean_shares(num_generations: int) -> Iterator[float]:
    """Yield, for generation 1 to the last, the share of its shift that is in the mean of the centres."""
    kept = [1 - (_AVERAGING + 1) / (generation + _AVERAGING) for generation in range(1, num_generations + 1)]
    later = np.cumprod(kept[::-1])[::-1]
    yield from (1 - later).tolist()


def _signed_ranks(values: Float64Array) -> Float64Array:
    """Return the signed rank of each pair's difference; two failures differ by 0."""
    first, second = values[::2], values[1::2]
    with np.errstate(invalid="ignore"):
        differences = np.where(first == second, 0.0, first - second)
    return np.sign(differences) * (shared_ranks(np.abs(differences)) + 1)


def _effective_number(state: State) -> float | None:
    """Return 1 over the sum of squared weights of a state's pairs; None if all are 0."""
    entries = state.entries
    square = float(np.sum((entries["factor"].astype(np.float64) / entries["step"]) ** 2))
    return 1 / square if square > 0 else None


def _decay(effective: float, num_params: int) -> float:
    return (effective + 2) / (num_params + effective + 5)


def _moved_path(state: State, path: Float32Array, shift: Float32Array) -> Float32Array:
    """Return a range of the path after a shift; without weights it stays."""
    effective = _effective_number(state)
    if effective is None:
        return path.copy()
    decay, step = _decay(effective, state.space.num_params), float(state.entries["step"][0])
    factor = np.float32(math.sqrt(decay * (2 - decay) * effective) / step)
    return np.add(np.float32(1 - decay) * path, factor * shift).astype(np.float32, copy=False)


@functools.cache
def _sizes(config: MultifactorialConfig) -> Sizes:
    adapts = config.step_control == "csa"
    return Sizes(
        population_size=config.population_size,
        num_vectors=3 if adapts else 2,
        num_entries=config.population_size // 2,
        num_contenders=1,
        num_episodes=config.episodes,
        columns=(STD, ("step", "<f8", ())) if adapts else (STD,),
        plain=True,
        linear=True,
    )
