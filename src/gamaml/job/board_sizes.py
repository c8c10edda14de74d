"""The sizes of a population's board in a node's shared memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gamaml.evolution.entries import ENTRY_DTYPE

LINE = 64
"""Bytes of a cache line; words that different ranks write lie on different ones."""

DESCRIPTOR = 3 * LINE
"""Offset of a board's descriptor, after its three atomic words."""

DESCRIPTOR_WORDS = 8


@dataclass(frozen=True)
class BoardSizes:
    """Sizes of one population's boards and commands, the same on every node.

    Attributes:
        capacity: the maximum number of items in a batch, over all nodes.
        num_entries: the maximum number of entries in a batch.
        record_dtype: dtype of a result record.
        entry_dtype: dtype of an entry.
    """

    capacity: int
    num_entries: int
    record_dtype: np.dtype[np.void]
    entry_dtype: np.dtype[np.void] = ENTRY_DTYPE

    @property
    def nbytes(self) -> int:
        """Bytes that a board takes, a multiple of 64."""
        arrays = (
            8 * DESCRIPTOR_WORDS,
            self.entry_dtype.itemsize * self.num_entries,
            4 * self.capacity,
            8 * self.capacity,
            self.record_dtype.itemsize * self.capacity,
        )
        return DESCRIPTOR + sum(map(aligned, arrays))


def aligned(position: int) -> int:
    """Return the position rounded up to a multiple of a cache line."""
    return -(-position // LINE) * LINE
