"""Two populations on every leader: each completes its shares in an order of its own; nothing may be mixed or lost."""

from __future__ import annotations

import numpy as np

from gamaml.evolution.entries import new_entries
from gamaml.evolution.records import DONE, record_dtype
from gamaml.job.board_sizes import BoardSizes
from gamaml.parallel.board import Board, Kind
from gamaml.parallel.command import END, Command
from gamaml.parallel.guard import Guard
from gamaml.parallel.relay import Relay, split
from gamaml.parallel.topology import Topology
from gamaml.parallel.windows import SharedWindow

BATCHES, ITEMS = 50, 12
DTYPE = record_dtype(0)
SIZES = BoardSizes(ITEMS, 1, DTYPE)


def tag(population: int, generation: int, item: int) -> int:
    return (population * BATCHES + generation) * ITEMS + item


def main() -> None:
    with Topology() as topology:
        assert topology.node.size == 1
        with SharedWindow(topology.node, 2 * SIZES.nbytes, clear=True) as window, Guard(topology):
            boards = [Board(window, population * SIZES.nbytes, SIZES) for population in range(2)]
            comms = [topology.relay.Dup() for _ in boards]
            relays = [Relay(comm, board, SIZES) for comm, board in zip(comms, boards, strict=True)]
            generations = [-1, -1]
            while not all(relay.ended for relay in relays):
                if topology.is_root:
                    for population, relay in enumerate(relays):
                        drive(population, relay, generations, topology)
                # Even leaders finish what is open of population 0 first, odd ones of population 1.
                order = (0, 1) if topology.node_index % 2 == 0 else (1, 0)
                for population in order:
                    work(population, boards[population])
                    relays[population].progress(closing=False, overdue=False)
            for comm in comms:
                comm.Free()
        if topology.is_root:
            print(f"complete {generations}")


def work(population: int, board: Board) -> None:
    while (claim := board.claim()) is not None:
        records = np.zeros(len(claim.items), DTYPE)
        records["index"] = claim.items
        records["flags"] = DONE
        records["steps"] = [tag(population, claim.batch.generation, int(item)) for item in claim.items]
        board.hand_over(claim, records)


def drive(population: int, relay: Relay, generations: list[int], topology: Topology) -> None:
    if not relay.idle:
        return
    results = relay.take_results()
    generation = generations[population]
    if results is not None:
        assert sorted(results["index"]) == list(range(ITEMS)), results
        expected = [tag(population, generation, int(index)) for index in results["index"]]
        assert list(results["steps"]) == expected, (population, generation, results)
    if generation + 1 == BATCHES:
        relay.post(Command(END, generation, new_entries(0)))
        return
    generations[population] += 1
    relay.post(
        Command(
            Kind.CHILDREN,
            generations[population],
            new_entries(0),
            num_items=ITEMS,
            shares=split(ITEMS, [population + 1 + node for node in range(topology.num_nodes)]),
        )
    )


if __name__ == "__main__":
    main()
