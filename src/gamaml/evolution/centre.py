"""A centre, the one point that a strategy moves: its start, and the children around it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gamaml.evolution import streams
from gamaml.evolution.entries import ENTRY_DTYPE, INITIAL_STD, ROOT, Entries, new_entries
from gamaml.evolution.strategy import Space, State


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
