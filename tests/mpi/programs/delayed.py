"""Rank 1 is held between reading the claim word and swapping it until rank 0 has done the batch and opened another."""

from __future__ import annotations

import time

import numpy as np

from gamaml.evolution.entries import new_entries
from gamaml.evolution.records import DONE, record_dtype
from gamaml.job.board_sizes import BoardSizes
from gamaml.parallel.board import Batch, Board, Claim, Kind
from gamaml.parallel.guard import Guard
from gamaml.parallel.topology import Topology
from gamaml.parallel.windows import SharedWindow

ITEMS, DTYPE = 8, record_dtype(0)
SIZES = BoardSizes(ITEMS, 1, DTYPE)
READ, REOPENED = 0, 8


class HeldWindow(SharedWindow):
    """A window whose first swap is held back until another batch is open."""

    held = False

    def compare_and_swap(self, position: int, expected: int, value: int) -> bool:
        if not self.held:
            self.held = True
            self.store(READ, 1)
            while self.load(REOPENED) == 0:
                time.sleep(1e-4)
        return super().compare_and_swap(position, expected, value)


def main() -> None:
    with Topology() as topology:
        kind = HeldWindow if topology.rank == 1 else SharedWindow
        with kind(topology.node, 64 + SIZES.nbytes, clear=True) as window, Guard(topology):
            board = Board(window, 64, SIZES)
            if topology.rank == 0:
                lead(window, board)
            else:
                assert wait_for_claim(board) is None, "a claim of a batch that is over succeeded"
            topology.world.Barrier()
            drain(board)
            topology.world.Barrier()
            if topology.rank == 0:
                records = board.collect_complete()
                assert sorted(records["index"]) == list(range(ITEMS)), records
                assert set(records["steps"]) == {1}, records
                assert board.num_finished() == ITEMS
                print("nothing mixed, nothing lost")


def lead(window: SharedWindow, board: Board) -> None:
    items = np.arange(ITEMS, dtype=np.int32)
    board.publish(Batch(Kind.CHILDREN, 0, new_entries(0)), items)
    while window.load(READ) == 0:
        time.sleep(1e-4)
    drain(board)
    assert board.num_finished() == ITEMS
    board.publish(Batch(Kind.CHILDREN, 1, new_entries(0)), items)
    window.store(REOPENED, 1)


def wait_for_claim(board: Board) -> Claim | None:
    while board.generation == 0 and not getattr(board, "_window").held:  # noqa: B009 (the test looks inside)
        claim = board.claim()
        if claim is not None:
            return claim
    return None


def drain(board: Board) -> None:
    while (claim := board.claim()) is not None:
        records = np.zeros(len(claim.items), DTYPE)
        records["index"], records["flags"], records["steps"] = claim.items, DONE, claim.batch.generation
        board.hand_over(claim, records)


if __name__ == "__main__":
    main()
