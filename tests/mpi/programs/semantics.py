"""What gamaml needs of an MPI, tried with mpi4py alone; rank 0 prints what it saw as JSON."""

import json
import socket
import time
from collections.abc import Sequence

import numpy as np
from mpi4py import MPI

ROUNDS = 200


def atomics_are_exact(node: MPI.Intracomm) -> bool:
    """Count with fetch-and-add and with compare-and-swap in the second of three shared windows."""
    windows = [MPI.Win.Allocate_shared(128 if node.rank == 0 else 0, 8, comm=node) for _ in range(3)]
    window = windows[1]
    words = np.asarray(window.Shared_query(0)[0]).view(np.int64)
    for each in windows:
        each.Lock_all()
    if node.rank == 0:
        words[:] = 0
    window.Sync()
    node.Barrier()
    window.Sync()
    one, was = np.ones(1, np.int64), np.zeros(1, np.int64)
    tickets: list[int] = []
    for _ in range(ROUNDS):
        window.Fetch_and_op(one, was, 0, 0, MPI.SUM)
        window.Flush(0)
        tickets.append(int(was[0]))
    swaps = 0
    while swaps < ROUNDS:
        expected = np.zeros(1, np.int64)
        window.Fetch_and_op(one, expected, 0, 8, MPI.NO_OP)
        window.Flush(0)
        window.Compare_and_swap(expected + 1, expected, was, 0, 8)
        window.Flush(0)
        swaps += int(was[0] == expected[0])
    all_tickets = sorted(ticket for part in node.allgather(tickets) for ticket in part)
    window.Sync()
    total = ROUNDS * node.size
    exact = all_tickets == list(range(total)) and words[0] == total and words[8] == total
    node.Barrier()
    for each in windows:
        each.Unlock_all()
        each.Free()
    return bool(exact)


def wait(request: MPI.Request) -> None:
    """Poll with a sleep, as gamaml does."""
    while not request.Test():
        time.sleep(0.0001)


def collectives_keep_apart(relay: MPI.Intracomm) -> bool:
    """Start collectives on three duplicates in an order that differs by rank."""
    duplicates = [relay.Dup() for _ in range(3)]
    order: Sequence[int] = (0, 1, 2) if relay.rank % 2 == 0 else (2, 1, 0)
    words = [np.array([100 + number if relay.rank == 0 else 0]) for number in range(3)]
    requests = {number: duplicates[number].Ibcast(words[number], 0) for number in order}
    for number in order:
        wait(requests[number])
    counts = list(range(1, relay.size + 1))
    received = [np.zeros(sum(counts), np.int32) for _ in range(3)]
    mine = [np.full(relay.rank + 1, 10 * number + relay.rank, np.int32) for number in range(3)]
    for number in order:
        target = (received[number], counts) if relay.rank == 0 else None
        requests[number] = duplicates[number].Igatherv(mine[number], target, 0)
    for number in order:
        wait(requests[number])
    for duplicate in duplicates:
        duplicate.Free()
    broadcast = all(words[number][0] == 100 + number for number in range(3))
    expected = [[10 * number + rank for rank in range(relay.size) for _ in range(rank + 1)] for number in range(3)]
    return broadcast and (relay.rank != 0 or [part.tolist() for part in received] == expected)


def main() -> None:
    """Report the nodes, the atomics and the collectives."""
    world = MPI.COMM_WORLD
    node = MPI.Intracomm(world.Split_type(MPI.COMM_TYPE_SHARED, key=world.rank))
    relay = MPI.Intracomm(world.Split(0 if node.rank == 0 else MPI.UNDEFINED, key=world.rank))
    exact = atomics_are_exact(node)
    apart = collectives_keep_apart(relay) if relay != MPI.COMM_NULL else None
    leader = node.bcast(world.rank)
    seen = world.gather((socket.gethostname(), leader, node.size, exact, apart))
    if world.rank == 0 and seen is not None:
        hosts, leaders, sizes, exacts, aparts = zip(*seen, strict=True)
        report = {
            "hosts": hosts,
            "node_sizes": [size for leader, size in dict(zip(leaders, sizes, strict=True)).items()],
            "atomics_exact": all(exacts),
            "collectives_apart": all(each is not False for each in aparts),
            "thread_level": MPI.Query_thread() == MPI.THREAD_MULTIPLE,
        }
        print(json.dumps(report))


main()
