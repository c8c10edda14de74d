"""The noise table of a node: one shared window, filled by all its ranks."""

from __future__ import annotations

import numpy as np
from mpi4py import MPI

from gamaml.errors import ResourceError
from gamaml.evolution import noise_table as noise
from gamaml.evolution.noise_table import NoiseTable
from gamaml.parallel.topology import Topology
from gamaml.parallel.windows import SharedWindow


def fill(topology: Topology, window: SharedWindow, size: int, seed: int) -> NoiseTable:
    """Fill the table in its window and make it read-only. Collective over `topology.world`.

    The ranks of a node fill the chunks round-robin; the content of a chunk does not depend on its rank.

    Args:
        topology: the job.
        window: at least `4 * size` bytes.
        size: float32 entries.
        seed: seed of the content.

    Raises:
        ResourceError: two nodes computed different tables (different CPUs or libraries); on every rank.
    """
    memory = window.memory()[: 4 * size]
    entries = np.frombuffer(memory, np.float32)
    checksums = np.zeros(noise.num_chunks(size), np.uint32)
    for chunk in range(topology.node.rank, len(checksums), topology.node.size):
        part = entries[chunk * noise.CHUNK : (chunk + 1) * noise.CHUNK]
        noise.fill_chunk(part, seed, chunk)
        checksums[chunk] = noise.chunk_checksum(part)
    window.sync()
    topology.node.Allreduce(MPI.IN_PLACE, checksums, op=MPI.BOR)
    window.sync()
    digest = noise.table_digest(checksums)
    topology.agree(_difference(topology, digest))
    return NoiseTable(noise.read_only(memory), digest)


def _difference(topology: Topology, digest: str) -> ResourceError | None:
    if not topology.is_leader:
        return None
    pairs = topology.relay.allgather((topology.host, digest))
    if len({found for _, found in pairs}) == 1:
        return None
    listed = ", ".join(f"{host} {found[:12]}" for host, found in pairs)
    return ResourceError(
        f"noise table: expected one digest on all nodes, got {listed}; run on one CPU type with one version of numpy"
    )
