"""All ranks claim blocks of random size with random pauses; every item of every batch is delivered exactly once."""

from __future__ import annotations

import time

import numpy as np

from gamaml.parallel.board import Batch, Board, Kind
from gamaml.parallel.guard import Guard
from gamaml.parallel.topology import Topology
from gamaml.parallel.windows import SharedWindow
from gamaml.population import DONE, lineage_of, record_dtype

BATCHES, CAPACITY, DTYPE = 60, 37, record_dtype(2)


def main() -> None:
    with Topology() as topology:
        random = np.random.default_rng(topology.rank)
        nbytes = Board.nbytes(CAPACITY, 1, DTYPE)
        with SharedWindow(topology.node, nbytes, clear=True) as window, Guard(topology):
            board, opened, total = Board(window, 0, CAPACITY, 1, DTYPE), 0, 0
            count = 0
            while not board.ended():
                if topology.is_leader and board.num_finished() == count:
                    if opened:
                        records = board.collect_complete()
                        assert sorted(records["index"]) == list(range(100, 100 + count)), records
                        assert set(records["steps"]) <= {opened - 1}
                        total += count
                    if opened == BATCHES:
                        board.end()
                        break
                    count = opened % CAPACITY + 1
                    board.publish(
                        Batch(Kind.CHILDREN, opened, 0, lineage_of([])), np.arange(100, 100 + count, dtype=np.int32)
                    )
                    opened += 1
                claim = board.claim(int(random.integers(1, 5)))
                if claim is not None:
                    if random.random() < 0.1:
                        time.sleep(1e-3)
                    records = np.zeros(len(claim.items), DTYPE)
                    records["index"], records["flags"], records["steps"] = claim.items, DONE, claim.batch.generation
                    board.hand_over(claim, records)
            topology.world.Barrier()
            if topology.is_root:
                print(f"delivered {total}")


if __name__ == "__main__":
    main()
