"""Between the nodes: commands from rank 0 to the leaders, result records from the leaders to rank 0.

Each population has a relay of its own, on its own duplicate of the leaders' communicator, with one collective in
flight: broadcast of a command, gather of its results, broadcast of the next, and so on up to the command that ends it.
Nothing is therefore pending when MPI is finalised. A relay never blocks; `progress` advances it.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from mpi4py import MPI

from gamaml.evolution.entries import ENTRY_DTYPE, Entries
from gamaml.parallel.board import Batch, Board, Kind
from gamaml.types import Records

END = -1
"""Kind of the command that ends a population."""


@dataclass(frozen=True)
class Command:
    """What rank 0 tells the leaders.

    Attributes:
        kind: CHILDREN, REEVALUATIONS, or END.
        generation: generation of the work.
        buffer: the parent buffer that holds the generation's parents.
        num_parts: parts in which the vectors that `table` describes are computed from the other buffer into `buffer`
            first; 0: they are there.
        num_items: items of the batch, over all nodes.
        skip: int32[...], items that are already known and not evaluated.
        shares: items per node, in relay order.
        table: the parents or the candidates.
    """

    kind: int
    generation: int
    buffer: int
    table: Entries
    num_parts: int = 0
    num_items: int = 0
    skip: npt.NDArray[np.int32] | None = None
    shares: Sequence[int] = ()


class _State(enum.Enum):
    IDLE = enum.auto()
    RECEIVING = enum.auto()
    DECODING = enum.auto()
    WORKING = enum.auto()
    GATHERING = enum.auto()
    ENDED = enum.auto()


class Relay:
    """One population's relay on one leader.

    Args:
        comm: this population's duplicate of the leaders' communicator; rank 0 gives the commands.
        board: the node's board of the population.
        capacity: the most items of a batch, over all nodes.
        table_size: the most entries of a table.
        dtype: dtype of a result record.
        table_dtype: dtype of a table's entry.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        board: Board,
        capacity: int,
        table_size: int,
        dtype: np.dtype[np.void],
        table_dtype: np.dtype[np.void] = ENTRY_DTYPE,
    ) -> None:
        self._comm = comm
        self._board = board
        self._dtype = dtype
        header = [(name, "<i4") for name in ("kind", "generation", "buffer", "parts", "items", "entries")]
        self._buffer = np.zeros(
            1,
            np.dtype(
                [
                    *header,
                    ("shares", "<i4", (comm.size,)),
                    ("skip", "u1", (-(-capacity // 8),)),
                    ("table", table_dtype, (table_size,)),
                ]
            ),
        )
        self._message = self._buffer[0]
        self._state = _State.IDLE
        self._request = MPI.REQUEST_NULL
        self._expected = 0
        self._todo = np.empty(0, np.int32)
        self._batch: Batch | None = None
        self._received: Records = np.empty(0, dtype)
        self._has_results = False
        if comm.rank != 0:
            self._receive()

    @property
    def ended(self) -> bool:
        """Whether the command END has been carried out."""
        return self._state is _State.ENDED

    @property
    def idle(self) -> bool:
        """On rank 0: whether a command may be posted."""
        return self._state is _State.IDLE

    def post(self, command: Command) -> None:
        """Send a command to all leaders, this one included. On rank 0, when idle."""
        message = self._message
        message["kind"], message["generation"], message["buffer"] = (
            command.kind,
            command.generation,
            command.buffer,
        )
        message["parts"] = command.num_parts
        message["items"], message["entries"] = command.num_items, len(command.table)
        message["shares"] = command.shares if command.kind != END else 0
        bits = np.zeros(8 * message["skip"].size, np.uint8)
        if command.skip is not None:
            bits[command.skip] = 1
        message["skip"] = np.packbits(bits)
        message["table"][: len(command.table)] = command.table
        self._receive()

    def take_results(self) -> Records | None:
        """On rank 0: the finished records of the last command, once, when they have arrived."""
        if not self._has_results:
            return None
        self._has_results = False
        return self._received[self._received["flags"] != 0]

    def progress(self, *, closing: bool, overdue: bool) -> bool:
        """Advance as far as possible without waiting.

        Args:
            closing: no more items may be claimed; what is in flight is awaited.
            overdue: what is in flight is not awaited any longer.

        Returns:
            Whether anything happened.
        """
        before = self._state
        if self._state is _State.RECEIVING and self._request.Test():
            self._carry_out()
        elif self._state in (_State.DECODING, _State.WORKING):
            self._watch_batch(closing, overdue)
        elif self._state is _State.GATHERING and self._request.Test():
            if self._comm.rank == 0:
                self._has_results = True
                self._state = _State.IDLE
            else:
                self._receive()
        return self._state is not before

    def _receive(self) -> None:
        self._request = self._comm.Ibcast([self._buffer.view(np.uint8), MPI.BYTE], root=0)
        self._state = _State.RECEIVING

    def _carry_out(self) -> None:
        message = self._message
        kind, table = int(message["kind"]), message["table"][: int(message["entries"])].copy()
        generation, buffer = int(message["generation"]), int(message["buffer"])
        if kind != END:
            shares = message["shares"]
            pending = np.flatnonzero(np.unpackbits(message["skip"])[: int(message["items"])] == 0).astype(np.int32)
            start = int(shares[: self._comm.rank].sum())
            self._todo = pending[start : start + int(shares[self._comm.rank])]
            self._batch = Batch(Kind(kind), generation, buffer, table)
        else:
            self._batch = None
        if message["parts"]:
            parts = np.arange(int(message["parts"]), dtype=np.int32)
            self._publish(_State.DECODING, Batch(Kind.UPDATE, generation, buffer, table), parts)
        else:
            self._work()

    def _work(self) -> None:
        if self._batch is None:
            self._finish()
        else:
            self._publish(_State.WORKING, self._batch, self._todo)

    def _publish(self, state: _State, batch: Batch, items: npt.NDArray[np.int32]) -> None:
        self._board.publish(batch, items)
        self._expected = len(items)
        self._state = state

    def _watch_batch(self, closing: bool, overdue: bool) -> None:
        finished = self._board.num_finished()
        # The last parents, decoded before the end, are the run's result: they are soon there, and awaited.
        if closing and finished < self._expected and self._batch is not None:
            claimed = self._board.close()
            if finished < claimed and not overdue:
                return
            self._gather(self._board.collect() if self._state is _State.WORKING else np.empty(0, self._dtype))
        elif finished == self._expected:
            if self._state is _State.DECODING:
                self._work()
            else:
                self._gather(self._board.collect_complete())

    def _gather(self, records: Records) -> None:
        shares = self._message["shares"]
        mine = np.zeros(int(shares[self._comm.rank]), self._dtype)
        mine[: len(records)] = records
        self._sent = mine
        nbytes = [int(share) * self._dtype.itemsize for share in shares]
        self._received = np.zeros(int(shares.sum()) if self._comm.rank == 0 else 0, self._dtype)
        self._request = self._comm.Igatherv(
            [mine.view(np.uint8), MPI.BYTE], [self._received.view(np.uint8), (nbytes, None), MPI.BYTE], root=0
        )
        self._state = _State.GATHERING

    def _finish(self) -> None:
        self._board.end()
        self._state = _State.ENDED


def split(num_items: int, weights: Sequence[float]) -> list[int]:
    """Split items over nodes in proportion to their weights, by largest remainder.

    Returns:
        One share per node; they add up to `num_items`.
    """
    exact = [num_items * weight / sum(weights) for weight in weights]
    shares = [int(value) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda node: shares[node] - exact[node])
    for node in by_remainder[: num_items - sum(shares)]:
        shares[node] += 1
    return shares
