"""The relay: its decisions as a table, and two or three relays that exchange commands and records in one process."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from doubles import FakeWindow, fake_leaders

from gamaml.evolution.entries import new_entries
from gamaml.evolution.records import DONE, record_dtype
from gamaml.job.board_sizes import BoardSizes
from gamaml.parallel.board import Board, Claim, Kind
from gamaml.parallel.command import END, Command, CommandBuffer
from gamaml.parallel.relay import Facts, Relay, State, next_state, split
from gamaml.types import Records

SIZES = BoardSizes(capacity=12, num_entries=2, record_dtype=record_dtype(0))
ENTRIES = new_entries(2)
ENTRIES["offset"] = 17, 23

TABLE = [
    # state, facts that hold, next state
    (State.IDLE, "", State.IDLE),
    (State.IDLE, "overdue", State.IDLE),
    (State.RECEIVING, "", State.RECEIVING),
    (State.RECEIVING, "overdue", State.RECEIVING),
    (State.RECEIVING, "arrived", State.WORKING),
    (State.RECEIVING, "arrived update", State.UPDATING),
    (State.RECEIVING, "arrived update end", State.UPDATING),
    (State.RECEIVING, "arrived end", State.ENDED),
    (State.UPDATING, "update", State.UPDATING),
    (State.UPDATING, "update complete", State.WORKING),
    (State.UPDATING, "update quiet", State.GATHERING),
    (State.UPDATING, "update overdue", State.GATHERING),
    (State.UPDATING, "update end", State.UPDATING),
    (State.UPDATING, "update end overdue", State.UPDATING),
    (State.UPDATING, "update end complete", State.ENDED),
    (State.WORKING, "", State.WORKING),
    (State.WORKING, "complete", State.GATHERING),
    (State.WORKING, "quiet", State.GATHERING),
    (State.WORKING, "overdue", State.GATHERING),
    (State.GATHERING, "", State.GATHERING),
    (State.GATHERING, "overdue", State.GATHERING),
    (State.GATHERING, "arrived", State.RECEIVING),
    (State.GATHERING, "arrived is_root", State.IDLE),
    (State.ENDED, "arrived end", State.ENDED),
]


@pytest.mark.parametrize(("state", "facts", "expected"), TABLE)
def test_next_state_follows_the_table(state: State, facts: str, expected: State) -> None:
    assert next_state(state, Facts(**dict.fromkeys(facts.split(), True))) is expected


def test_an_end_that_arrived_is_left_by_no_fact() -> None:
    names = list(Facts.__dataclass_fields__)
    for values in itertools.product([False, True], repeat=len(names)):
        assert next_state(State.ENDED, Facts(**dict(zip(names, values, strict=True)))) is State.ENDED


class Nodes:
    """Relays of one population, a node each, and the hands that do the nodes' work."""

    def __init__(self, number: int) -> None:
        self.boards = [Board(FakeWindow(SIZES.nbytes), 0, SIZES) for _ in range(number)]
        comms = fake_leaders(number)
        self.relays = [Relay(comm, board, SIZES) for comm, board in zip(comms, self.boards, strict=True)]
        self.root = self.relays[0]
        self.updates: list[list[int]] = [[] for _ in range(number)]
        self.done: list[list[int]] = [[] for _ in range(number)]

    def progress(self, *nodes: int, closing: bool = False, overdue: bool = False) -> None:
        """Advance the relays of some nodes (all of them by default) until nothing happens any more."""
        while any(
            [self.relays[node].progress(closing=closing, overdue=overdue) for node in nodes or range(len(self.relays))]
        ):
            pass

    def claim(self, node: int) -> Claim:
        claim = self.boards[node].claim()
        assert claim is not None
        return claim

    def carry_out(self, node: int, claim: Claim) -> None:
        update = claim.batch.kind is Kind.UPDATE
        (self.updates if update else self.done)[node].extend(claim.items.tolist())
        self.boards[node].hand_over(claim, None if update else records_of(claim))

    def work(self, node: int) -> None:
        """Do all that a node has to do now."""
        while (claim := self.boards[node].claim()) is not None:
            self.carry_out(node, claim)

    def finish(self) -> None:
        """Advance and work until nothing is left to do."""
        for _ in range(4):
            self.progress()
            for node in range(len(self.boards)):
                self.work(node)


def records_of(claim: Claim) -> Records:
    records = np.zeros(len(claim.items), SIZES.record_dtype)
    records["index"], records["flags"], records["steps"] = claim.items, DONE, 100 + claim.items
    return records


def children(*shares: int, skip: list[int] | None = None, num_parts: int = 0) -> Command:
    return Command(
        kind=Kind.CHILDREN,
        generation=5,
        entries=ENTRIES,
        num_parts=num_parts,
        num_items=sum(shares) + len(skip or []),
        skip=np.array(skip, np.int32) if skip is not None else None,
        shares=shares,
    )


def end(num_parts: int = 0) -> Command:
    return Command(kind=END, generation=6, entries=ENTRIES, num_parts=num_parts)


def taken(relay: Relay) -> list[int]:
    results = relay.take_results()
    assert results is not None
    assert (results["steps"] == 100 + results["index"]).all()
    return sorted(results["index"].tolist())


@pytest.mark.parametrize("shares", [(6,), (3, 3), (5, 1), (1, 4, 2), (0, 6, 0)])
def test_every_item_is_done_once_by_the_node_whose_share_it_is(shares: tuple[int, ...]) -> None:
    nodes = Nodes(len(shares))
    nodes.root.post(children(*shares))
    nodes.finish()
    assert [len(done) for done in nodes.done] == list(shares)
    assert sum(nodes.done, []) == list(range(sum(shares)))
    assert taken(nodes.root) == list(range(sum(shares)))
    assert nodes.root.take_results() is None


def test_items_that_are_known_are_done_by_nobody() -> None:
    nodes = Nodes(2)
    nodes.root.post(children(2, 3, skip=[0, 4, 6]))
    nodes.finish()
    assert nodes.done == [[1, 2], [3, 5, 7]]
    assert taken(nodes.root) == [1, 2, 3, 5, 7]


def test_command_of_which_everything_is_known_returns_no_records() -> None:
    nodes = Nodes(2)
    nodes.root.post(children(0, 0, skip=[0, 1]))
    nodes.finish()
    assert taken(nodes.root) == []


def test_ranks_get_the_entries_of_the_command() -> None:
    nodes = Nodes(2)
    nodes.root.post(children(1, 1))
    nodes.progress()
    batch = nodes.claim(1).batch
    assert (batch.kind, batch.generation) == (Kind.CHILDREN, 5)
    assert batch.entries.tolist() == ENTRIES.tolist()


def test_every_node_updates_its_vectors_before_its_items() -> None:
    nodes = Nodes(2)
    nodes.root.post(children(2, 1, num_parts=3))
    nodes.progress()
    assert nodes.claim(0).batch.kind is Kind.UPDATE
    nodes = Nodes(2)
    nodes.root.post(children(2, 1, num_parts=3))
    nodes.finish()
    assert nodes.updates == [[0, 1, 2], [0, 1, 2]]
    assert taken(nodes.root) == [0, 1, 2]


def test_results_wait_for_the_slowest_node() -> None:
    nodes = Nodes(3)
    nodes.root.post(children(1, 1, 1))
    nodes.progress()
    for node in (0, 2):
        nodes.work(node)
        nodes.progress()
    assert nodes.root.take_results() is None
    assert not nodes.root.idle
    nodes.work(1)
    nodes.progress()
    assert taken(nodes.root) == [0, 1, 2]
    assert nodes.root.idle


def test_leader_that_comes_late_to_its_command_holds_nobody_else_up() -> None:
    nodes = Nodes(2)
    nodes.root.post(children(1, 1))
    nodes.progress(0)
    nodes.work(0)
    nodes.progress(0)
    nodes.finish()
    assert taken(nodes.root) == [0, 1]


def test_commands_follow_each_other_until_the_end() -> None:
    nodes = Nodes(2)
    for shares in [(3, 1), (1, 3), (2, 2)]:
        nodes.root.post(children(*shares))
        nodes.finish()
        assert taken(nodes.root) == [0, 1, 2, 3]
    nodes.root.post(end())
    nodes.finish()
    assert all(relay.ended for relay in nodes.relays)
    assert all(board.ended() for board in nodes.boards)


def test_closing_awaits_what_is_in_flight_and_gives_nothing_new() -> None:
    nodes = Nodes(2)
    nodes.root.post(children(3, 2))
    nodes.progress()
    in_flight = nodes.claim(1)
    nodes.carry_out(0, nodes.claim(0))
    nodes.progress(closing=True)
    assert nodes.boards[0].claim() is None
    assert nodes.boards[1].claim() is None
    assert nodes.root.take_results() is None
    nodes.carry_out(1, in_flight)
    nodes.progress(closing=True)
    assert taken(nodes.root) == [0, 3]


def test_overdue_items_are_given_up() -> None:
    nodes = Nodes(2)
    nodes.root.post(children(2, 2))
    nodes.progress()
    deaf = nodes.claim(1)
    nodes.carry_out(0, nodes.claim(0))
    nodes.progress(closing=True)
    assert not nodes.root.idle
    nodes.progress(closing=True, overdue=True)
    assert taken(nodes.root) == [0]
    # The rank that was given up hands over in the end; its board is not confused.
    nodes.carry_out(1, deaf)
    nodes.root.post(end())
    nodes.progress(closing=True, overdue=True)
    assert all(relay.ended for relay in nodes.relays)


def test_closing_before_the_update_is_done_brings_no_records_and_the_next_command_is_obeyed() -> None:
    nodes = Nodes(2)
    nodes.root.post(children(2, 2, num_parts=2))
    nodes.progress()
    nodes.progress(closing=True)
    assert taken(nodes.root) == []
    assert sum(nodes.updates, []) == []
    nodes.root.post(end(num_parts=2))
    nodes.progress(closing=True)
    assert not nodes.root.ended
    for node in (0, 1):
        nodes.work(node)
    nodes.progress(closing=True, overdue=True)
    assert nodes.updates == [[0, 1], [0, 1]]
    assert all(relay.ended for relay in nodes.relays)


def test_the_last_update_is_awaited_even_when_overdue() -> None:
    nodes = Nodes(2)
    nodes.root.post(end(num_parts=2))
    nodes.progress(closing=True, overdue=True)
    assert not any(relay.ended for relay in nodes.relays)
    nodes.finish()
    assert nodes.updates == [[0, 1], [0, 1]]
    assert all(relay.ended for relay in nodes.relays)


@pytest.mark.parametrize(
    "command",
    [children(3, 1, skip=[0, 4]), children(4, 0, num_parts=7), end(), end(num_parts=2)],
    ids=["children", "with an update", "end", "end with an update"],
)
def test_command_survives_its_way_through_bytes(command: Command) -> None:
    sender, receiver = CommandBuffer(SIZES, 2), CommandBuffer(SIZES, 2)
    sender.write(children(2, 2, skip=[1]))  # whose leftovers must not show
    sender.write(command)
    receiver.bytes[:] = sender.bytes
    found = receiver.read()
    assert (found.kind, found.generation) == (command.kind, command.generation)
    assert (found.num_parts, found.num_items) == (command.num_parts, command.num_items)
    assert found.entries.tolist() == command.entries.tolist()
    assert found.skip is not None
    assert found.skip.tolist() == ([] if command.skip is None else command.skip.tolist())
    assert tuple(found.shares) == (tuple(command.shares) or (0, 0))


@pytest.mark.parametrize(
    ("num_items", "weights", "expected"),
    [
        (6, [1, 1], [3, 3]),
        (7, [2, 1], [5, 2]),
        (1, [1, 1, 1], [1, 0, 0]),
        (0, [3, 1], [0, 0]),
        (10, [1, 0], [10, 0]),
        (5, [1, 2, 2], [1, 2, 2]),
    ],
)
def test_shares_follow_the_weights_and_add_up(num_items: int, weights: list[float], expected: list[int]) -> None:
    assert split(num_items, weights) == expected
