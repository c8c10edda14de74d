"""A centre, the one point that a strategy moves: its start, and the children around it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gamaml.evolution import streams
from gamaml.evolution.decode import NoiseSource
from gamaml.evolution.entries import ENTRY_DTYPE, INITIAL_STD, ROOT, Entries, new_entries
from gamaml.evolution.strategy import Space, State
from gamaml.types import Float32Array


def std_of(state: State) -> float:
    """Return the std with which the children of a state are made, from its column."""
    return float(state.entries["std"][0])


def mirrored_children(state: State, number: int, dtype: np.dtype[np.void]) -> Entries:
    """Return children around vector 0; 2 i and 2 i + 1 are a mirrored pair, with the same noise added and subtracted.

    Args:
        state: the state of the generation, whose entries have the column `STD`.
        number: an even number of children.
        dtype: of an entry.

    Source: mirrored sampling, Brockhoff et al. 2010, PPSN XI; Salimans et al. 2017, section 2.1.
    """
    offsets = np.repeat(drawn_offsets(state, number // 2), 2)
    children = children_around(state, offsets, std_of(state), dtype)
    children["factor"][1::2] *= -1
    return children


def weighted_noise(entries: Entries, noise: NoiseSource, start: int, size: int) -> Float32Array:
    """Return the sum of factor times noise over all entries on a range of parameters, float32[size], in their order."""
    total, product = np.zeros(size, np.float32), np.empty(size, np.float32)
    for offset, factor in zip(entries["offset"].tolist(), entries["factor"], strict=True):
        np.multiply(noise.block(offset + start, size), factor, out=product)
        np.add(total, product, out=total)
    return total


def root_state(seed: int, space: Space, dtype: np.dtype[np.void] = ENTRY_DTYPE) -> State:
    """Return the state before generation 0 of a centre that comes from the root: its only entry, of this dtype."""
    words = streams.states(seed, streams.Purpose.PROPOSE, 0, 1, num_words=4).astype(np.uint64)
    root = new_entries(1, dtype)
    root["base"], root["factor"] = ROOT, INITIAL_STD
    root["offset"] = streams.scaled(words[:, 2], words[:, 3], space.num_offsets)
    return State(seed, space, 0, root)


def drawn_offsets(state: State, count: int) -> npt.NDArray[np.uint64]:
    """Return noise offsets of a generation, uint64[count], a function of (seed, generation, index)."""
    purpose = streams.Purpose.PROPOSE
    words = streams.states(state.seed, purpose, state.generation, count, num_words=2).astype(np.uint64)
    return streams.scaled(words[:, 0], words[:, 1], state.space.num_offsets)


def children_around(
    state: State, offsets: npt.NDArray[np.uint64], factor: float, dtype: np.dtype[np.void] = ENTRY_DTYPE
) -> Entries:
    """Return children around vector 0. Each has its own action noise; `state.space` says whether they share tasks.

    Args:
        state: the state of the generation.
        offsets: one noise offset per child.
        factor: multiplies the noise.
        dtype: of an entry.
    """
    children = new_entries(len(offsets), dtype)
    children["offset"], children["factor"] = offsets, factor
    children["episode"] = np.arange(len(offsets))
    children["task"] = 0 if state.space.share_tasks else np.arange(len(offsets))
    return children
