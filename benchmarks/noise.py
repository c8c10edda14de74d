"""How much time and memory does it take to fill the noise table?

    python benchmarks/noise.py

The script fills a table of 1 GiB, as a run does it, on one and on two ranks. For comparison it fills one in the
ancestors' way: NumPy's `RandomState(seed).randn` of as many float64 numbers, stored as float32 in shared memory. Their
table had 250 million numbers, as in this comparison. The three take turns. The script prints the CPU seconds of all
processes and of the slowest one, whose share of the work decides how long a fill takes where every rank has a core, and
the peak of the node's anonymous and shared memory above the interpreters' memory before. Memory is measured in separate
runs, because measuring costs time. The ranks' peaks are added up, which can only overestimate.
"""

from __future__ import annotations

import argparse
import json
import mmap
import statistics
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from gamaml.evolution import noise_table as noise
from gamaml.parallel import noise_window as table
from gamaml.parallel.topology import Topology
from gamaml.parallel.windows import SharedWindow
from report import print_machine, print_result, run_ranks

SIZE = 2**28
ANCESTORS_SIZE = 250_000_000
SEED = 42
MIB = 2**20
BAR_CPU, BAR_NBYTES, BAR_RANKS = 4.0, 1.1, 1.8


class Taken(NamedTuple):
    """The cost of a fill.

    Attributes:
        cpu: CPU seconds of all ranks.
        slowest: CPU seconds of the slowest rank.
    """

    cpu: float
    slowest: float


class Clock:
    """Context manager that measures the CPU seconds of this process in its body."""

    def __enter__(self) -> Clock:
        self._start = time.process_time()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.process_time() - self._start


class PeakMemory:
    """Context manager that measures this process's peak memory in its body, above the memory before it."""

    def __enter__(self) -> PeakMemory:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._before = self._peak = own_nbytes()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self.nbytes = max(self._peak, own_nbytes()) - self._before

    def _sample(self) -> None:
        while not self._over.wait(5e-3):
            self._peak = max(self._peak, own_nbytes())


def own_nbytes() -> int:
    """Return this process's proportional share of anonymous and shared memory."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    fields = dict(line.split()[:2] for line in lines)
    return 1024 * (int(fields["Pss_Anon:"]) + int(fields["Pss_Shmem:"]))


def work(arguments: dict[str, Any]) -> None:
    """Fill the table as one of the ranks; rank 0 prints the cost on all ranks."""
    with Topology() as topology:
        chunk = np.empty(noise.CHUNK, np.float32)
        noise.fill_chunk(chunk, SEED, 0)
        topology.world.Barrier()
        with SharedWindow(topology.node, 4 * arguments["size"]) as window:
            if arguments["memory"]:
                with PeakMemory() as peak:
                    table.fill(topology, window, arguments["size"], SEED)
                found = topology.world.allreduce(peak.nbytes)
            else:
                with Clock() as clock:
                    table.fill(topology, window, arguments["size"], SEED)
                everyone = topology.world.allgather(clock.seconds)
                found = Taken(sum(everyone), max(everyone))
        if topology.is_root:
            print(json.dumps(found))


def fill(size: int, ranks: int) -> Taken:
    return Taken(*json.loads(run_ranks(__file__, ["-n", str(ranks)], {"size": size, "memory": False})))


def fill_nbytes(size: int, ranks: int) -> int:
    return json.loads(run_ranks(__file__, ["-n", str(ranks)], {"size": size, "memory": True}))


def ancestors(size: int) -> tuple[float, float]:
    """Fill a shared table in the ancestors' way; return the CPU seconds, and the part for drawing the numbers."""
    with mmap.mmap(-1, 4 * size) as memory:
        entries = np.frombuffer(memory, np.float32)
        with Clock() as whole:
            with Clock() as numbers:
                drawn = np.random.RandomState(SEED).randn(size)  # noqa: NPY002 - their generator is measured
            entries[:] = drawn
        del entries
    return whole.seconds, numbers.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="fills per number of ranks, in turn (5)")
    parser.add_argument("--quick", action="store_true", help="a small table: whether it runs")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        work(json.loads(options.worker))
        return
    size, ancestors_size, repeats = (2**22, 4_000_000, 1) if options.quick else (SIZE, ANCESTORS_SIZE, options.repeats)
    print_machine()
    ours: dict[int, list[Taken]] = {1: [], 2: []}
    theirs: list[tuple[float, float]] = []
    for _ in range(repeats):
        for ranks, found in ours.items():
            found.append(fill(size, ranks))
        theirs.append(ancestors(ancestors_size))
    one, two = median(ours[1]), median(ours[2])
    old, numbers = (statistics.median(part) for part in zip(*theirs, strict=True))
    nbytes = {f"{ranks} rank{'s' * (ranks > 1)}": fill_nbytes(size, ranks) for ranks in ours}
    with PeakMemory() as peak:
        ancestors(ancestors_size)
    nbytes["randn"] = peak.nbytes
    print(f"medians of {repeats}; {4 * size / MIB:.0f} MiB; theirs {4 * ancestors_size / MIB:.0f} MiB")
    rows = {"1 rank": one, "2 ranks": two, "RandomState.randn": (old, old), "  its numbers alone": (numbers, numbers)}
    for name, (cpu, slowest) in rows.items():
        print(f"  {name:<20} {cpu:6.2f} CPU-s, slowest rank {slowest:6.2f} CPU-s")
    print("peak memory: " + ", ".join(f"{name}: {value / MIB:.0f} MiB" for name, value in nbytes.items()))
    ratio = old / ancestors_size / (one.cpu / size)
    ratio_to_numbers = numbers / ancestors_size / (one.cpu / size)
    speed_up = one.slowest / two.slowest
    largest = max(nbytes["1 rank"], nbytes["2 ranks"]) / (4 * size)
    print(f"CPU per number: {ratio:.2f} times less ({ratio_to_numbers:.2f} times less than their numbers alone)")
    print(f"the slowest of 2 ranks takes {speed_up:.2f} times less CPU; peak {largest:.3f} times the table")
    print_result(
        "noise",
        round(one.cpu, 3),
        "CPU-seconds to fill the table on one rank",
        bar=f">= {BAR_CPU} times less than randn, <= {BAR_NBYTES} tables, >= {BAR_RANKS} times less on 2 ranks",
        meets=ratio >= BAR_CPU and largest <= BAR_NBYTES and speed_up >= BAR_RANKS,
        baseline=round(old, 3),
        ratio=round(ratio, 3),
        ratio_to_numbers_alone=round(ratio_to_numbers, 3),
        speed_up=round(speed_up, 3),
        peak_nbytes=nbytes,
    )


def median(found: list[Taken]) -> Taken:
    return Taken(*(statistics.median(values) for values in zip(*found, strict=True)))


if __name__ == "__main__":
    main()
