"""The measurements of `gamaml preflight` on the ranks of a job."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

from gamaml.evolution import noise_table as noise
from gamaml.job import launcher
from gamaml.job.host_facts import boot_id
from gamaml.job.versions import library_versions, machine_description
from gamaml.parallel.topology import Topology
from gamaml.parallel.windows import SharedWindow

_REPEATS = 20


@dataclass(frozen=True)
class RankFacts:
    """The place and the software of one rank.

    Attributes:
        rank: world rank.
        node: index of its node, as MPI sees it.
        host: hostname.
        machine: the machine's boot id, shared by all its ranks.
        launched_with: ranks that the launcher put on this rank's node, itself included; None if unknown.
        launched_on: SLURM's number of the node, None outside SLURM.
        cores: cores that it may run on.
        num_cores: cores of the machine.
        software: versions of the libraries that the numbers depend on, of Python and MPI, and the type of the CPU.
        threads: whether MPI allows calls from several threads.
        noise: checksum of a piece of the noise table.
        clock: Unix time, just after a barrier.
        sees_node: whether it reads, in a shared window, the values that the other ranks of its node wrote.
    """

    rank: int
    node: int
    host: str
    machine: str
    launched_with: int | None
    launched_on: int | None
    cores: tuple[int, ...]
    num_cores: int
    software: dict[str, str]
    threads: bool
    noise: int
    clock: float
    sees_node: bool


def gather_facts(topology: Topology, libraries: Iterable[str], noise_seed: int) -> list[RankFacts]:
    """Return the facts of all ranks, on every rank. Collective over `topology.world`.

    Args:
        topology: the job.
        libraries: distributions on which the numbers depend, besides the usual ones.
        noise_seed: seed of the noise table.
    """
    piece = np.empty(noise.CHUNK, np.float32)
    noise.fill_chunk(piece, noise_seed, 0)
    machine = machine_description()
    software = {name: machine[name] for name in ("python", "cpu")} | library_versions(libraries)
    software["mpi"] = MPI.Get_library_version().splitlines()[0].strip(" ,\0")
    sees_node = _sees_node(topology)
    topology.wait_for_all()
    clock = time.time()
    facts = RankFacts(
        rank=topology.rank,
        node=topology.node_index,
        host=topology.host,
        machine=boot_id(),
        launched_with=launcher.local_size_from_environment(),
        launched_on=launcher.node_from_environment(),
        cores=tuple(sorted(os.sched_getaffinity(0))),
        num_cores=os.cpu_count() or 1,
        software=software,
        threads=topology.threaded,
        noise=noise.chunk_checksum(piece),
        clock=clock,
        sees_node=sees_node,
    )
    return topology.world.allgather(facts)


def relay_seconds(topology: Topology, broadcast_nbytes: int, gather_nbytes: int) -> tuple[float, float] | None:
    """Return the median seconds of a broadcast to the leaders and of a gather from them, None on other ranks.

    Collective over the leaders.

    Args:
        topology: the job.
        broadcast_nbytes: bytes of a generation's entries.
        gather_nbytes: bytes of a node's share of the results.
    """
    if not topology.is_leader:
        return None
    relay = topology.relay
    sent, found = np.zeros(broadcast_nbytes, np.uint8), np.zeros(gather_nbytes, np.uint8)
    whole = np.empty(relay.size * gather_nbytes, np.uint8) if relay.rank == 0 else None
    return _median(relay, lambda: relay.Bcast(sent)), _median(relay, lambda: relay.Gather(found, whole))


def _median(relay: MPI.Comm, action: Callable[[], object]) -> float:
    seconds: list[float] = []
    for _ in range(_REPEATS):
        relay.Barrier()
        start = time.perf_counter()
        action()
        # A broadcast leaves rank 0 before it has arrived.
        relay.Barrier()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _sees_node(topology: Topology) -> bool:
    node = topology.node
    with SharedWindow(node, 8 * node.size, clear=True) as window:
        window.store(8 * node.rank, topology.rank + 1)
        window.sync()
        node.Barrier()
        window.sync()
        found = window.bytes().view(np.int64).tolist()
        node.Barrier()
    return found == [rank + 1 for rank in node.allgather(topology.rank)]
