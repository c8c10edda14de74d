"""Fill a noise table on every node; rank 0 prints the topology, the tables and the memory they took as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from gamaml import noise
from gamaml.parallel import table
from gamaml.parallel.topology import Topology
from gamaml.parallel.windows import SharedWindow

SEED = 42


def pss() -> int:
    """Return this process's proportional set size in bytes: shared pages count by their share."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("Pss:")).split()[1])


def writing_fails(entries: np.ndarray) -> bool:
    """Return whether neither a store nor a change of the flags gets through."""
    try:
        entries[0] = 0.0
    except ValueError:
        pass
    else:
        return False
    try:
        entries.flags.writeable = True
    except ValueError:
        return True
    return False


def node_pss(topology: Topology) -> int:
    """Add up the ranks of this node while all of them are idle. Collective over the world."""
    topology.world.Barrier()
    mine = pss()
    topology.world.Barrier()
    return topology.node.allreduce(mine)


def main() -> None:
    """Report on a table of as many entries as the first argument says."""
    size = int(sys.argv[1])
    with Topology() as topology:
        # Loads what filling needs, so that the baseline holds all of the interpreter and its libraries.
        chunk = np.empty(noise.CHUNK, np.float32)
        noise.fill_chunk(chunk, SEED, 0)
        noise.chunk_digest(chunk)
        baseline = node_pss(topology)
        with SharedWindow(topology.node, 4 * size) as window:
            filled = table.fill(topology, window, size, SEED)
            total = float(np.sum(filled.entries, dtype=np.float64))
            mine = {
                "node": topology.node_index,
                "leader": topology.is_leader,
                "aligned": filled.entries.ctypes.data % 64 == 0,
                "digest": filled.digest,
                "sum": total,
                "read_only": writing_fails(filled.entries),
                "nbytes": node_pss(topology) - baseline,
            }
            ranks = topology.world.gather(mine)
            if topology.is_root:
                print(json.dumps({"node_sizes": topology.node_sizes, "ranks": ranks}))


main()
