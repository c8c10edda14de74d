"""Claims and hand-overs on a board, by ranks that are plain objects on one window."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from doubles import FakeWindow

from gamaml.evolution.entries import new_entries
from gamaml.evolution.records import DONE, record_dtype
from gamaml.job.board_sizes import BoardSizes
from gamaml.parallel.board import Batch, Board, Claim, Kind
from gamaml.types import Records

SIZES = BoardSizes(capacity=10, num_entries=2, record_dtype=record_dtype(0))
POSITION = 64
ENTRIES = new_entries(1)
ENTRIES["offset"] = 17


@pytest.fixture
def window() -> FakeWindow:
    return FakeWindow(POSITION + SIZES.nbytes)


@pytest.fixture
def leader(window: FakeWindow) -> Board:
    return Board(window, POSITION, SIZES)


@pytest.fixture
def worker(window: FakeWindow) -> Board:
    """Another rank's view of the same board."""
    return Board(window, POSITION, SIZES)


def publish(board: Board, *items: int, generation: int = 3) -> None:
    board.publish(Batch(Kind.CHILDREN, generation, ENTRIES), np.array(items, np.int32))


def claimed(board: Board, max_items: int = 1) -> Claim:
    claim = board.claim(max_items)
    assert claim is not None
    return claim


def records_of(claim: Claim) -> Records:
    records = np.zeros(len(claim.items), SIZES.record_dtype)
    records["index"], records["flags"], records["steps"] = claim.items, DONE, claim.batch.generation
    return records


def test_nothing_can_be_claimed_before_the_first_batch(worker: Board) -> None:
    assert worker.claim() is None
    assert worker.num_left() == 0
    assert not worker.ended()


def test_items_are_claimed_in_the_published_order_in_blocks_of_at_most_the_number_asked_for(
    leader: Board, worker: Board
) -> None:
    publish(leader, 7, 1, 9, 4, 2)
    first, second, third = claimed(worker, 2), claimed(leader, 2), claimed(worker, 2)
    assert [claim.items.tolist() for claim in (first, second, third)] == [[7, 1], [9, 4], [2]]
    assert worker.claim() is None


def test_claim_describes_its_batch(leader: Board, worker: Board) -> None:
    publish(leader, 5, generation=8)
    batch = claimed(worker).batch
    assert (batch.kind, batch.generation) == (Kind.CHILDREN, 8)
    assert batch.entries.tolist() == ENTRIES.tolist()
    assert worker.generation == 8


def test_records_arrive_whole_whatever_the_order_of_the_hand_overs(leader: Board, worker: Board) -> None:
    publish(leader, 7, 1, 9)
    first, second = claimed(worker, 2), claimed(leader)
    leader.hand_over(second, records_of(second))
    assert leader.num_finished() == 1
    worker.hand_over(first, records_of(first))
    assert leader.num_finished() == 3
    assert sorted(leader.collect_complete()["index"]) == [1, 7, 9]
    assert sorted(leader.collect()["index"]) == [1, 7, 9]


def test_closed_batch_gives_no_more_claims_and_keeps_the_records_that_are_there(leader: Board, worker: Board) -> None:
    publish(leader, 0, 1, 2, 3, 4)
    done, in_flight = claimed(worker, 2), claimed(worker, 1)
    worker.hand_over(done, records_of(done))
    assert leader.close() == 3
    assert worker.claim() is None
    assert leader.num_finished() == 2
    assert leader.collect()["index"].tolist() == [1, 0]
    worker.hand_over(in_flight, records_of(in_flight))
    assert leader.num_finished() == leader.close() == 3
    assert sorted(leader.collect()["index"]) == [0, 1, 2]


def test_abandoned_claim_counts_as_finished_and_leaves_no_record(leader: Board, worker: Board) -> None:
    publish(leader, 0, 1)
    first, second = claimed(worker), claimed(worker)
    worker.hand_over(first, None)
    worker.hand_over(second, records_of(second))
    assert leader.num_finished() == 2
    assert leader.collect()["index"].tolist() == [1]
    complete = leader.collect_complete()
    assert complete[complete["flags"] != 0]["index"].tolist() == [1]


def test_records_of_an_earlier_batch_are_not_collected_again(leader: Board, worker: Board) -> None:
    publish(leader, 0, 1, generation=0)
    for _ in range(2):
        claim = claimed(worker)
        worker.hand_over(claim, records_of(claim))
    publish(leader, 5, 6, generation=1)
    assert leader.num_finished() == 0
    assert leader.collect().tolist() == []
    late = claimed(worker)
    worker.hand_over(late, records_of(late))
    assert leader.collect()[["index", "steps"]].tolist() == [(5, 1)]


class LateWindow(FakeWindow):
    """A window on which something happens between the reading of the claim word and its swap."""

    meanwhile: Callable[[], object] | None = None

    def compare_and_swap(self, position: int, expected: int, value: int) -> bool:
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        return super().compare_and_swap(position, expected, value)


def test_rank_delayed_into_the_next_batch_claims_nothing_of_it() -> None:
    window = LateWindow(POSITION + SIZES.nbytes)
    leader, late = Board(window, POSITION, SIZES), Board(window, POSITION, SIZES)
    publish(leader, 0, generation=0)

    def finish_and_publish_another() -> None:
        claim = claimed(leader)
        leader.hand_over(claim, records_of(claim))
        publish(leader, 1, generation=1)  # the same number of items left as before

    window.meanwhile = finish_and_publish_another
    assert late.claim() is None
    assert claimed(late).batch.generation == 1


def test_close_awaits_no_claim_that_comes_between(leader: Board) -> None:
    window = LateWindow(POSITION + SIZES.nbytes)
    leader, worker = Board(window, POSITION, SIZES), Board(window, POSITION, SIZES)
    publish(leader, 0, 1, 2)
    window.meanwhile = lambda: claimed(worker)
    assert leader.close() == 1


def test_end_is_seen_by_every_rank(leader: Board, worker: Board) -> None:
    leader.end()
    assert worker.ended()


def test_two_boards_on_one_window_do_not_touch_each_other() -> None:
    window = FakeWindow(2 * SIZES.nbytes)
    first, second = Board(window, 0, SIZES), Board(window, SIZES.nbytes, SIZES)
    publish(first, *range(SIZES.capacity))
    publish(second, 3)
    for board in (first, second):
        while (claim := board.claim()) is not None:
            board.hand_over(claim, records_of(claim))
    assert sorted(first.collect_complete()["index"]) == list(range(SIZES.capacity))
    assert second.collect_complete()["index"].tolist() == [3]
