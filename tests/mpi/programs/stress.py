"""All ranks claim blocks of random size with random pauses, and abandon a few; every result is delivered exactly once.

Every third batch is closed early.
"""

from __future__ import annotations

import time

import numpy as np
from mpi4py import MPI

from gamaml.evolution.entries import new_entries
from gamaml.evolution.records import DONE, record_dtype
from gamaml.job.board_sizes import BoardSizes
from gamaml.parallel.board import Batch, Board, Claim, Kind
from gamaml.parallel.guard import Guard
from gamaml.parallel.topology import Topology
from gamaml.parallel.windows import SharedWindow

BATCHES, CAPACITY, DTYPE = 60, 37, record_dtype(2)
SIZES = BoardSizes(CAPACITY, 1, DTYPE)


def main() -> None:
    with Topology() as topology:
        random = np.random.default_rng(topology.rank)
        handed_over = np.zeros(BATCHES, np.int64)
        collected = np.zeros(BATCHES, np.int64)
        with SharedWindow(topology.node, SIZES.nbytes, clear=True) as window, Guard(topology):
            board, opened = Board(window, 0, SIZES), 0
            awaited, closed = 0, False
            while not board.ended():
                if topology.is_leader and board.num_finished() == awaited:
                    if opened:
                        records = board.collect()
                        assert len(set(records["index"])) == len(records), records
                        assert set(records["index"]) <= set(range(100, 100 + size_of(opened - 1))), records
                        assert set(records["steps"]) <= {opened - 1}
                        collected[opened - 1] = len(records)
                    if opened == BATCHES:
                        board.end()
                        break
                    awaited, closed = size_of(opened), False
                    items = np.arange(100, 100 + awaited, dtype=np.int32)
                    board.publish(Batch(Kind.CHILDREN, opened, new_entries(0)), items)
                    opened += 1
                elif topology.is_leader and opened % 3 == 0 and not closed and random.random() < 0.05:
                    awaited, closed = board.close(), True
                claim = board.claim(int(random.integers(1, 5)))
                if claim is not None:
                    carry_out(board, claim, random, handed_over)
            topology.node.Allreduce(MPI.IN_PLACE, handed_over)
            topology.node.Allreduce(MPI.IN_PLACE, collected)
            assert np.array_equal(handed_over, collected), (handed_over, collected)
            topology.world.Barrier()
            if topology.is_root:
                print("delivered everything once")


def size_of(batch: int) -> int:
    return batch % CAPACITY + 1


def carry_out(board: Board, claim: Claim, random: np.random.Generator, handed_over: np.ndarray) -> None:
    if random.random() < 0.1:
        time.sleep(1e-3)
    if random.random() < 0.1:
        board.hand_over(claim, None)
        return
    records = np.zeros(len(claim.items), DTYPE)
    records["index"], records["flags"], records["steps"] = claim.items, DONE, claim.batch.generation
    handed_over[claim.batch.generation] += len(records)
    board.hand_over(claim, records)


if __name__ == "__main__":
    main()
