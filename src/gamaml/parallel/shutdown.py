"""The stop of a job: the duties of each rank by the time since it learnt of the stop, and the spread of the news.

A stop reaches the ranks of a node by words in the node's window, and the other nodes by notes between the leaders.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any, Protocol

SOFT_SECONDS = 1.5
"""After a stop, evaluations in flight may continue for this time before they are broken off."""

GRACE_SECONDS = 3.5
"""After a stop, leaders gather the finished records; an evaluation that cannot be broken off (one XLA call) is given
up."""

LEAVE_SECONDS = 5.5
"""After an urgent stop, rank 0 stops waiting for ranks that have not left, and ends the job."""

OTHERS_LEAVE_SECONDS = 6.5
"""After an urgent stop, the other ranks end themselves too: Hydra answers an abort on one node with SIGTERM on the
others, which they take for another request to checkpoint."""


class Stop(enum.IntEnum):
    """The reason why a job stops; a later member replaces an earlier one."""

    NONE = 0
    """The job does not stop."""

    LEAVING = 1
    """The caller left its loop, or a population failed: the job waits for every rank."""

    URGENT = 2
    """A signal asks for the stop or a node is silent: the job must end within seconds."""


class Stage(enum.IntEnum):
    """The progress of a stop on a rank. Each stage includes the earlier ones."""

    RUNNING = 0
    """No stop is known."""

    CLOSING = 1
    """No more work is claimed; evaluations in flight go on."""

    BREAKING_OFF = 2
    """Evaluations in flight are broken off."""

    OVERDUE = 3
    """Leaders gather the finished records and wait for no others."""

    ENDING = 4
    """This rank ends the job."""


def stage(stop: Stop, seconds: float, *, is_root: bool) -> Stage:
    """Return the stage of a stop.

    Args:
        stop: the stop that this rank knows of.
        seconds: seconds since it learnt of the stop.
        is_root: whether this is rank 0.
    """
    if stop is Stop.NONE:
        return Stage.RUNNING
    if stop is Stop.URGENT and seconds > (LEAVE_SECONDS if is_root else OTHERS_LEAVE_SECONDS):
        return Stage.ENDING
    if seconds > GRACE_SECONDS:
        return Stage.OVERDUE
    if seconds > SOFT_SECONDS:
        return Stage.BREAKING_OFF
    return Stage.CLOSING


def peers(node: int, num_nodes: int) -> list[int]:
    """Return the nodes that a leader exchanges notes and beats with: rank 0 with all, the others with rank 0."""
    return list(range(1, num_nodes)) if node == 0 else [0]


def num_pending(node: int, sent: Sequence[int], received: int) -> int:
    """Return how many notes are still on their way to a leader.

    Args:
        node: the leader's node.
        sent: how many notes each node sent to each of its peers.
        received: how many this leader has received.
    """
    return sum(sent[peer] for peer in peers(node, len(sent))) - received


class Control(Protocol):
    """The part of MPI's communicator that notes need."""

    @property
    def rank(self) -> int:
        """This node's index."""
        ...

    @property
    def size(self) -> int:
        """Number of nodes."""
        ...

    def Iprobe(self) -> bool:
        """Return whether a note can be received."""
        ...

    def recv(self) -> Any:  # any object, as mpi4py types it
        """Receive a note."""
        ...

    def isend(self, obj: Any, dest: int) -> Any:  # MPI's request, of no type that both could share
        """Begin to send a note."""
        ...

    def allgather(self, sendobj: Any) -> Any:  # one object per rank, as mpi4py types it
        """Return the objects of all ranks."""
        ...


class StopNotes:
    """Notes between the leaders that the job stops: rank 0 sends one to each leader, each leader one to rank 0.

    Args:
        comm: a communicator of the leaders, for nothing else.
    """

    def __init__(self, comm: Control) -> None:
        self._comm = comm
        self._num_sent = self._num_received = 0

    def receive(self) -> Stop:
        """Return the greatest stop among the notes that have arrived."""
        found = Stop.NONE
        while self._comm.size > 1 and self._comm.Iprobe():
            found = max(found, Stop(self._comm.recv()))
            self._num_received += 1
        return found

    def send(self, stop: Stop) -> None:
        """Send a note to every peer."""
        for peer in peers(self._comm.rank, self._comm.size):
            # A few bytes, sent eagerly: the request completes at once.
            self._comm.isend(int(stop), peer).wait()
        self._num_sent += 1

    def drain(self) -> None:
        """Receive the notes that are still on their way. Collective over `comm`."""
        sent = self._comm.allgather(self._num_sent)
        for _ in range(num_pending(self._comm.rank, sent, self._num_received)):
            self._comm.recv()
