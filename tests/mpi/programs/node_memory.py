"""Fill a noise table on every node; rank 0 prints the topology, the tables and the memory they took as JSON."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from types import TracebackType

import numpy as np

from gamaml.evolution import noise_table as noise
from gamaml.parallel import noise_window as table
from gamaml.parallel.topology import Topology
from gamaml.parallel.windows import SharedWindow

SEED = 42


def memory() -> int:
    """Return this process's proportional share of anonymous and shared memory, in bytes.

    Pages of files are left out: their share rises and falls with whatever else of the machine runs the same libraries.
    """
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    fields = dict(line.split()[:2] for line in lines)
    return 1024 * (int(fields["Pss_Anon:"]) + int(fields["Pss_Shmem:"]))


class PeakMemory:
    """Context manager that samples `memory()` while its body runs; afterwards `nbytes` is the highest."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self.nbytes = 0

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self.nbytes = max(self.nbytes, memory())

    def _sample(self) -> None:
        while not self._over.wait(2e-3):
            self.nbytes = max(self.nbytes, memory())


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


def node_memory(topology: Topology) -> int:
    """Add up the ranks of this node while all of them are idle. Collective over the world."""
    topology.world.Barrier()
    mine = memory()
    topology.world.Barrier()
    return topology.node.allreduce(mine)


def main() -> None:
    """Report on a table of as many entries as the first argument says."""
    size = int(sys.argv[1])
    with Topology() as topology:
        # Loads what filling needs, so that the baseline holds all of the interpreter and its libraries.
        chunk = np.empty(noise.CHUNK, np.float32)
        noise.fill_chunk(chunk, SEED, 0)
        noise.chunk_checksum(chunk)
        baseline = node_memory(topology)
        with SharedWindow(topology.node, 4 * size) as window:
            with PeakMemory() as peak:
                filled = table.fill(topology, window, size, SEED)
            total = float(np.sum(filled.entries, dtype=np.float64))
            mine = {
                "node": topology.node_index,
                "leader": topology.is_leader,
                "aligned": filled.entries.ctypes.data % 64 == 0,
                "digest": filled.digest,
                "sum": total,
                "read_only": writing_fails(filled.entries),
                # A rank touches only its own chunks while it fills, so the sum of the peaks is the node's at most.
                "peak_nbytes": topology.node.allreduce(peak.nbytes) - baseline,
                "nbytes": node_memory(topology) - baseline,
            }
            ranks = topology.world.gather(mine)
            if topology.is_root:
                print(json.dumps({"node_sizes": topology.node_sizes, "ranks": ranks}))


main()
