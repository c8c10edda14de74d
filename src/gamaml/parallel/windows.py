"""Memory shared by the ranks of a node, and atomic words in it."""

from __future__ import annotations

from types import TracebackType

import numpy as np
from mpi4py import MPI

_ALIGNMENT = 64


class SharedWindow:
    """`nbytes` of memory shared by a node, 64-byte aligned. Collective over `node`.

    Hand-over between ranks: store, `sync`, atomic update; then atomic read, `sync`, load. A plain load gives a hint, to
    be confirmed by an atomic operation.

    Args:
        node: communicator of the ranks that share memory.
        nbytes: size; rank 0 of `node` allocates all of it, so that it lies in one piece.
        clear: whether to fill it with zeros.
    """

    def __init__(self, node: MPI.Intracomm, nbytes: int, *, clear: bool = False) -> None:
        # The base may be aligned to 8 bytes only, so room for the alignment is allocated too.
        own = nbytes + _ALIGNMENT if node.rank == 0 else 0
        self._window: MPI.Win | None = MPI.Win.Allocate_shared(own, 1, comm=node)
        whole, _ = self._window.Shared_query(0)
        self._shift: int = node.bcast(-whole.address % _ALIGNMENT)
        self._memory = whole.cast("B")[self._shift : self._shift + nbytes]
        self._words = np.frombuffer(self._memory, np.int64, nbytes // 8)
        self.nbytes = nbytes
        self._window.Lock_all()
        if clear and node.rank == 0:
            self.bytes()[:] = 0
        self.sync()
        node.Barrier()
        self.sync()

    def bytes(self) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        """Return the memory as a writeable array, uint8[nbytes]."""
        return np.frombuffer(self._live()[1], np.uint8)

    def memory(self) -> memoryview:
        """Return the memory as a writeable memoryview."""
        return self._live()[1]

    def sync(self) -> None:
        """Order this rank's loads and stores with those of the others."""
        self._live()[0].Sync()

    def load(self, position: int) -> int:
        """Read the int64 at byte `position` atomically."""
        return self._fetch_and_op(0, position, MPI.NO_OP)

    def peek(self, position: int) -> int:
        """Read the int64 at byte `position` by a plain load: a hint, which may be a moment old.

        A call of MPI takes 10 microseconds, and several times that beside other load, this one a tenth.
        """
        self.sync()
        return int(self._words[position // 8])

    def add(self, position: int, value: int) -> int:
        """Add to the int64 at byte `position` atomically; return the old one."""
        return self._fetch_and_op(value, position, MPI.SUM)

    def store(self, position: int, value: int) -> int:
        """Replace the int64 at byte `position` atomically; return the old one."""
        return self._fetch_and_op(value, position, MPI.REPLACE)

    def compare_and_swap(self, position: int, expected: int, value: int) -> bool:
        """Replace the int64 at byte `position` if it equals `expected`; return whether it did."""
        window, _ = self._live()
        found = np.empty(1, np.int64)
        window.Compare_and_swap(
            np.array([value], np.int64), np.array([expected], np.int64), found, 0, self._shift + position
        )
        window.Flush(0)
        return int(found[0]) == expected

    def free(self) -> None:
        """Give the memory back; arrays made from it must not be used any more. Collective over `node`."""
        if self._window is not None:
            self._window.Unlock_all()
            self._window.Free()
            self._window = None

    def _fetch_and_op(self, value: int, position: int, operation: MPI.Op) -> int:
        window, _ = self._live()
        found = np.empty(1, np.int64)
        window.Fetch_and_op(np.array([value], np.int64), found, 0, self._shift + position, operation)
        window.Flush(0)
        return int(found[0])

    def _live(self) -> tuple[MPI.Win, memoryview]:
        if self._window is None:
            raise RuntimeError("the shared window was freed; keep it open while its arrays are used")
        return self._window, self._memory

    def __enter__(self) -> SharedWindow:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.free()
