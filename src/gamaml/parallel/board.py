"""The work of one population on one node: claims, results and their hand-over in shared memory.

The leader publishes a batch; every rank of the node claims items of it and writes each result into the item's own
slot. A claim is one compare-and-swap on a word that holds (batch number, items left), so a rank that was delayed
across a batch boundary fails the swap instead of taking work of another batch. Counters are never reset.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from gamaml.evolution.entries import Entries
from gamaml.job.board_sizes import DESCRIPTOR, DESCRIPTOR_WORDS, LINE, BoardSizes, aligned
from gamaml.types import Records

S = TypeVar("S", bound=np.generic)

_COUNT_BITS = 32
_COUNT_MASK = (1 << _COUNT_BITS) - 1

_CLAIM, _FINISHED, _END = 0, LINE, 2 * LINE


class Window(Protocol):
    """Memory that the ranks of a node share, with atomic int64 words: a `SharedWindow`, or a double in tests."""

    def memory(self) -> memoryview:
        """Return the memory, writeable."""
        ...

    def sync(self) -> None:
        """Order this rank's loads and stores with those of the others."""
        ...

    def load(self, position: int) -> int:
        """Read the word at byte `position` atomically."""
        ...

    def peek(self, position: int) -> int:
        """Read the word at byte `position` quickly: a hint, which may be a moment old."""
        ...

    def store(self, position: int, value: int) -> int:
        """Replace the word at byte `position` atomically; return the old one."""
        ...

    def add(self, position: int, value: int) -> int:
        """Add to the word at byte `position` atomically; return the old one."""
        ...

    def compare_and_swap(self, position: int, expected: int, value: int) -> bool:
        """Replace the word at byte `position` if it equals `expected`; return whether it did."""
        ...


class Kind(enum.IntEnum):
    """The kind of a batch's items."""

    UPDATE = 0
    """Parts of the generation's vectors, computed from the previous generation's."""

    CHILDREN = 1
    REEVALUATIONS = 2


@dataclass(frozen=True)
class Batch:
    """A batch of work, as the leader publishes it.

    Attributes:
        kind: the kind of its items.
        generation: generation that the work belongs to.
        entries: the entries that made the generation's vectors, or the candidates of REEVALUATIONS.
    """

    kind: Kind
    generation: int
    entries: Entries


@dataclass(frozen=True)
class Claim:
    """Items that this rank has taken: positions [start, stop) of the batch, and their indices.

    Attributes:
        number: the batch's number on this node.
        batch: its description.
        start, stop: positions, which are also the result slots.
        items: int32[stop - start], children's indices, contender * num_episodes + episode, or parts of an update.
    """

    number: int
    batch: Batch
    start: int
    stop: int
    items: npt.NDArray[np.int32]


class Board:
    """One population's part of a node's work window.

    Args:
        window: the node's window.
        position: first byte of this board, a multiple of 64.
        sizes: sizes of the board; it takes `sizes.nbytes` bytes.
    """

    def __init__(self, window: Window, position: int, sizes: BoardSizes) -> None:
        self._window = window
        self._position = position
        memory, start = window.memory(), position + DESCRIPTOR
        self._descriptor, start = _array(memory, start, np.dtype(np.int64), DESCRIPTOR_WORDS)
        self._entries, start = _array(memory, start, sizes.entry_dtype, sizes.num_entries)
        self._items, start = _array(memory, start, np.dtype(np.int32), sizes.capacity)
        self._ready = start
        start = aligned(start + 8 * sizes.capacity)
        self._records, _ = _array(memory, start, sizes.record_dtype, sizes.capacity)
        self._published = 0
        self._finished_before = 0
        self._claimed: int | None = None

    # The leader's side.

    def publish(self, batch: Batch, items: npt.NDArray[np.int32]) -> None:
        """Open a batch for claiming; the one before must be complete or closed.

        Args:
            batch: its description.
            items: int32[<= capacity], claimed in this order.
        """
        self._published += 1
        self._claimed = None
        self._descriptor[:3] = (batch.kind, batch.generation, len(batch.entries))
        self._entries[: len(batch.entries)] = batch.entries
        # Claims count down, so that the claim word alone says whether anything is left.
        self._items[: len(items)] = items[::-1]
        self._records["flags"][: len(items)] = 0
        self._descriptor[3] = len(items)
        self._finished_before = self._window.load(self._position + _FINISHED)
        self._window.sync()
        self._window.store(self._position + _CLAIM, _word(self._published, len(items)))

    def num_finished(self) -> int:
        """Return how many items of the published batch were handed over or abandoned; of a complete batch all."""
        found = self._window.peek(self._position + _FINISHED) - self._finished_before
        if found < int(self._descriptor[3]):
            return found
        return self._window.load(self._position + _FINISHED) - self._finished_before

    def close(self) -> int:
        """Stop claims of the published batch; return how many items were claimed."""
        claim = self._position + _CLAIM
        while self._claimed is None:
            word = self._window.load(claim)
            if self._window.compare_and_swap(claim, word, word & ~_COUNT_MASK):
                self._claimed = int(self._descriptor[3]) - (word & _COUNT_MASK)
        return self._claimed

    def collect(self) -> Records:
        """Return a copy of the published batch's finished records, in any order."""
        ready: list[int] = []
        slot, number = 0, int(self._descriptor[3])
        while slot < number:
            word = self._window.load(self._ready + 8 * slot)
            count = word & _COUNT_MASK if word >> _COUNT_BITS == self._published else 0
            ready.extend(range(slot, slot + count))
            slot += max(count, 1)
        self._window.sync()
        return self._records[ready]

    def collect_complete(self) -> Records:
        """Return a copy of all records of the published batch, which is complete."""
        self._window.sync()
        return self._records[: int(self._descriptor[3])].copy()

    def end(self) -> None:
        """Announce to the node's ranks that this population is over."""
        self._window.store(self._position + _END, 1)

    # Every rank's side.

    @property
    def generation(self) -> int:
        """Generation of the batch published last; a hint, which may be one batch old."""
        return int(self._descriptor[1])

    def ended(self) -> bool:
        """Return whether the population is over."""
        position = self._position + _END
        return self._window.peek(position) == 1 and self._window.load(position) == 1

    def num_left(self) -> int:
        """Return how many items of the open batch are unclaimed; a hint, since others claim too."""
        return self._window.peek(self._position + _CLAIM) & _COUNT_MASK

    def claim(self, max_items: int = 1) -> Claim | None:
        """Take up to `max_items` items of the open batch; None if nothing is left or another rank was faster."""
        position = self._position + _CLAIM
        word = self._window.peek(position)  # the swap refuses one that is too old
        left = word & _COUNT_MASK
        if left == 0:
            return None
        taken = min(left, max_items)
        if not self._window.compare_and_swap(position, word, word - taken):
            return None
        # From here to `hand_over` the batch cannot end, so its description stays.
        self._window.sync()
        kind, generation, num_entries = (int(value) for value in self._descriptor[:3])
        batch = Batch(Kind(kind), generation, self._entries[:num_entries].copy())
        start, stop = left - taken, left
        return Claim(word >> _COUNT_BITS, batch, start, stop, self._items[start:stop][::-1].copy())

    def hand_over(self, claim: Claim, results: Records | None) -> None:
        """Deliver the results of a claim.

        Args:
            claim: the claim.
            results: one record per item in the order of `claim.items`; None for an abandoned claim or an update.
        """
        if results is not None:
            self._records[claim.start : claim.stop] = results[::-1]
            self._window.sync()
            self._window.store(self._ready + 8 * claim.start, _word(claim.number, claim.stop - claim.start))
        self._window.sync()
        self._window.add(self._position + _FINISHED, claim.stop - claim.start)


def _word(number: int, left: int) -> int:
    return (number << _COUNT_BITS) | left


def _array(memory: memoryview, start: int, dtype: np.dtype[S], count: int) -> tuple[npt.NDArray[S], int]:
    array = np.frombuffer(memory[start : start + dtype.itemsize * count], dtype)
    return array, start + aligned(dtype.itemsize * count)
