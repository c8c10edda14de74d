"""World, node and relay communicators, and agreement on errors.

The ranks of a node communicator share memory; the relay holds one leader per node, world rank 0 first. Nodes may have
different numbers of ranks, even one; nothing is computed from rank numbers.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from mpi4py import MPI

from gamaml.errors import GamamlError, LaunchError
from gamaml.job import launcher
from gamaml.parallel.segment_names import remove_attached_names

T = TypeVar("T")

_POLL_SECONDS = 1e-3


class Topology:
    """The ranks of a job, grouped by node. Collective over `comm`.

    Attributes:
        world: duplicate of `comm`.
        node: the ranks that share memory with this one, in world order.
        relay: the node leaders in world order, COMM_NULL on the other ranks.
        control: a duplicate of `relay` for notes that the job stops.
        node_index: rank of this node's leader in `relay`.
        node_sizes: ranks per node, in relay order; known on every rank.
        node_of_rank: index of the node of every rank; known on every rank.
        host: this host's name.
        agreed_error: the last error that was raised on every rank.
        abort_comm: the caller's communicator, which outlives this object.
        threaded: whether MPI allows calls from several threads.

    Args:
        comm: communicator to work on; None for COMM_WORLD, whose size is then compared with the number of ranks that
            the launcher started.

    Raises:
        LaunchError: the launcher started several ranks and MPI sees one, or shared windows are impossible.
    """

    def __init__(self, comm: MPI.Intracomm | None = None) -> None:
        if comm is None:
            check_launch(MPI.COMM_WORLD.size, launcher.size_from_environment(), MPI.Get_library_version())
        self.abort_comm = MPI.COMM_WORLD if comm is None else comm
        self.agreed_error: BaseException | None = None
        self.world = self.abort_comm.Dup()
        self.node = MPI.Intracomm(self.world.Split_type(MPI.COMM_TYPE_SHARED, key=self.world.rank))
        colour = 0 if self.node.rank == 0 else MPI.UNDEFINED
        self.relay = self.world.Split(colour, key=self.world.rank)
        self.control = self.relay.Dup() if self.is_leader else MPI.COMM_NULL
        mine = (self.relay.rank, self.relay.allgather(self.node.size)) if self.is_leader else None
        node_index, node_sizes = self.node.bcast(mine)
        self.node_index: int = node_index
        self.node_sizes: list[int] = node_sizes
        self.node_of_rank: list[int] = self.world.allgather(node_index)
        if self.is_leader:
            remove_attached_names()
        self.host = socket.gethostname()
        self.threaded: bool = MPI.Query_thread() == MPI.THREAD_MULTIPLE

    @property
    def rank(self) -> int:
        """Rank in the world."""
        return self.world.rank

    @property
    def size(self) -> int:
        """Number of ranks in the world."""
        return self.world.size

    @property
    def is_root(self) -> bool:
        """Whether this is world rank 0, which selects and writes."""
        return self.world.rank == 0

    @property
    def is_leader(self) -> bool:
        """Whether this rank speaks for its node."""
        return self.node.rank == 0

    @property
    def num_nodes(self) -> int:
        """Number of nodes."""
        return len(self.node_sizes)

    def on_root(self, action: Callable[[], T]) -> T:
        """Run `action` on rank 0 and return its result everywhere. Collective over `world`.

        A GamamlError on rank 0 is raised on every rank. Any other exception is raised on rank 0 alone, where it ends
        the job.
        """
        outcome: tuple[T | None, GamamlError | None] | None = None
        if self.is_root:
            try:
                outcome = (action(), None)
            except GamamlError as error:
                outcome = (None, error)
        self.wait_for_all()
        value, error = self.world.bcast(outcome)
        if error is not None:
            self.agreed_error = error
            raise error
        return value

    def wait_for_all(self) -> None:
        """Barrier whose waiting ranks sleep, so that they leave the cores to those still at work."""
        request = self.world.Ibarrier()
        while not request.Test():
            time.sleep(_POLL_SECONDS)

    def agree(self, error: GamamlError | None) -> None:
        """Raise on every rank the error of the lowest rank that has one. Collective over `world`."""
        for candidate in self.world.allgather(error):
            if candidate is not None:
                self.agreed_error = candidate
                raise candidate

    def exit_if_any(self, wanted: bool, code: int) -> None:
        """Raise SystemExit with `code` on every rank if any rank wants to exit. Collective over `world`."""
        if any(self.world.allgather(wanted)):
            self.agreed_error = SystemExit(code)
            raise self.agreed_error

    def free(self) -> None:
        """Free the communicators. Collective over `world`."""
        for comm in (self.control, self.relay, self.node, self.world):
            if comm != MPI.COMM_NULL:
                comm.Free()

    def __enter__(self) -> Topology:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.free()


def check_launch(world_size: int, launched_size: int, library: str) -> None:
    """Refuse N worlds of one rank each, which the launcher of another MPI starts without an error.

    Args:
        world_size: size of COMM_WORLD.
        launched_size: ranks that the launcher started, by its own account.
        library: the MPI library's version text.

    Raises:
        LaunchError: world_size is 1 and launched_size is not.
    """
    if world_size == 1 and launched_size > 1:
        name = library.splitlines()[0].strip()
        raise LaunchError(
            f"the launcher started {launched_size} ranks, but MPI sees {launched_size} separate worlds of one rank: "
            f"the launcher belongs to another MPI than the library in use ({name}); start with that library's own "
            f"mpiexec (e.g. the one beside this python), or under SLURM with the matching srun --mpi= type"
        )
