"""The traffic between nodes: commands from rank 0 to the leaders, result records from the leaders to rank 0.

Each population has its own relay, on its own duplicate of the leaders' communicator, with one collective in flight:
broadcast of a command, gather of its results, broadcast of the next, and so on up to the command that ends it. Nothing
is therefore pending when MPI is finalised. A relay never blocks; `progress` advances it.

`next_state` decides; entering a state does the state's work.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from gamaml.job.board_sizes import BoardSizes
from gamaml.parallel.board import Batch, Board, Kind
from gamaml.parallel.command import END, Command, CommandBuffer
from gamaml.types import Records


class Request(Protocol):
    """A collective in flight."""

    def Test(self) -> bool:
        """Return whether it is complete."""
        ...


class Leaders(Protocol):
    """The part of MPI's communicator that a relay uses."""

    @property
    def rank(self) -> int:
        """This node's index."""
        ...

    @property
    def size(self) -> int:
        """Number of nodes."""
        ...

    def Ibcast(self, buf: npt.NDArray[np.uint8], root: int = 0) -> Request:
        """Begin a broadcast."""
        ...

    def Igatherv(
        self,
        sendbuf: npt.NDArray[np.uint8],
        recvbuf: tuple[npt.NDArray[np.uint8], Sequence[int]],
        root: int = 0,
    ) -> Request:
        """Begin a gather; `recvbuf` holds the bytes of rank 0's buffer and the number of bytes from each rank."""
        ...


class State(enum.Enum):
    """A relay's state; on entering a state the relay starts its work."""

    IDLE = enum.auto()
    """Rank 0 may post a command."""

    RECEIVING = enum.auto()
    """A command is being broadcast."""

    UPDATING = enum.auto()
    """The node computes the vectors of the command's generation."""

    WORKING = enum.auto()
    """The node carries out its share of the command's items."""

    GATHERING = enum.auto()
    """The node's records are on their way to rank 0."""

    ENDED = enum.auto()
    """The population is over."""


@dataclass(frozen=True)
class Facts:
    """The facts that decide a relay's next state.

    Attributes:
        arrived: the collective in flight is complete.
        complete: every item of the published batch was handed over.
        quiet: claims are closed, and every claimed item was handed over.
        overdue: claimed items are not awaited any longer.
        end: the last command is END.
        update: the last command begins with an update.
        is_root: this is rank 0's relay.
    """

    arrived: bool = False
    complete: bool = False
    quiet: bool = False
    overdue: bool = False
    end: bool = False
    update: bool = False
    is_root: bool = False


def next_state(state: State, facts: Facts) -> State:
    """Return the next state; the same state means to wait."""
    after_update = State.ENDED if facts.end else State.WORKING
    if state is State.RECEIVING and facts.arrived:
        return State.UPDATING if facts.update else after_update
    if state is State.UPDATING and facts.complete:
        return after_update
    # The vectors of the END command are the run's result; they take little time, and even a stopping job waits for
    # them.
    if state is State.UPDATING and not facts.end and (facts.quiet or facts.overdue):
        return State.GATHERING
    if state is State.WORKING and (facts.complete or facts.quiet or facts.overdue):
        return State.GATHERING
    if state is State.GATHERING and facts.arrived:
        return State.IDLE if facts.is_root else State.RECEIVING
    return state


class Relay:
    """One population's relay on one leader.

    Args:
        comm: this population's duplicate of the leaders' communicator; rank 0 gives the commands.
        board: the node's board of the population.
        sizes: sizes of the population's boards.
    """

    def __init__(self, comm: Leaders, board: Board, sizes: BoardSizes) -> None:
        self._comm = comm
        self._board = board
        self._dtype = sizes.record_dtype
        self._buffer = CommandBuffer(sizes, comm.size)
        self._command = self._buffer.read()
        self._state = State.IDLE
        self._request: Request | None = None
        self._expected = 0
        self._sent = self._received = np.empty(0, self._dtype)
        self._has_results = False
        if comm.rank != 0:
            self._enter(State.RECEIVING)

    @property
    def ended(self) -> bool:
        """Whether the command END has been carried out."""
        return self._state is State.ENDED

    @property
    def idle(self) -> bool:
        """On rank 0: whether a command may be posted."""
        return self._state is State.IDLE

    def post(self, command: Command) -> None:
        """Send a command to all leaders, this one included. On rank 0, when idle."""
        self._buffer.write(command)
        self._enter(State.RECEIVING)

    def take_results(self) -> Records | None:
        """On rank 0: the finished records of the last command, once, when they have arrived."""
        if not self._has_results:
            return None
        self._has_results = False
        return self._received[self._received["flags"] != 0]

    def progress(self, *, closing: bool, overdue: bool) -> bool:
        """Advance as far as possible without waiting.

        Args:
            closing: no more items may be claimed; those in flight are awaited.
            overdue: in a closing job, items in flight are not awaited any longer.

        Returns:
            Whether anything happened.
        """
        facts = self._look(closing=closing, overdue=overdue)
        state = next_state(self._state, facts)
        if state is self._state:
            return False
        self._enter(state, complete=facts.complete)
        return True

    def _look(self, *, closing: bool, overdue: bool) -> Facts:
        arrived = self._request is not None and self._request.Test()
        if arrived and self._state is State.RECEIVING:
            self._command = self._buffer.read()
        end = self._command.kind == END
        complete = quiet = False
        if self._state in (State.UPDATING, State.WORKING):
            finished = self._board.num_finished()
            complete = finished == self._expected
            if closing and not complete and not end:
                quiet = finished == self._board.close()
        return Facts(
            arrived=arrived,
            complete=complete,
            quiet=quiet,
            overdue=closing and overdue,
            end=end,
            update=self._command.num_parts > 0,
            is_root=self._comm.rank == 0,
        )

    def _enter(self, state: State, *, complete: bool = False) -> None:
        before, self._state = self._state, state
        command = self._command
        if state is State.RECEIVING:
            self._request = self._comm.Ibcast(self._buffer.bytes, root=0)
        elif state is State.UPDATING:
            self._publish(Kind.UPDATE, np.arange(command.num_parts, dtype=np.int32))
        elif state is State.WORKING:
            self._publish(Kind(command.kind), command.items(self._comm.rank))
        elif state is State.GATHERING and before is State.UPDATING:
            self._gather(np.empty(0, self._dtype))
        elif state is State.GATHERING:
            self._gather(self._board.collect_complete() if complete else self._board.collect())
        elif state is State.IDLE:
            self._has_results = True
        else:
            self._board.end()

    def _publish(self, kind: Kind, items: npt.NDArray[np.int32]) -> None:
        command = self._command
        self._board.publish(Batch(kind, command.generation, command.entries), items)
        self._expected = len(items)

    def _gather(self, records: Records) -> None:
        shares = self._command.shares
        # Both buffers must live until the gather is complete.
        self._sent = np.zeros(shares[self._comm.rank], self._dtype)
        self._sent[: len(records)] = records
        self._received = np.zeros(sum(shares) if self._comm.rank == 0 else 0, self._dtype)
        nbytes = [share * self._dtype.itemsize for share in shares]
        self._request = self._comm.Igatherv(self._sent.view(np.uint8), (self._received.view(np.uint8), nbytes), root=0)


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
