"""Signs of life between rank 0 and the leaders of the other nodes.

MPI keeps waiting for a dead node and wastes the allocation. The service threads therefore send each other empty
messages, also while the main thread is inside a long evaluation. A call that holds Python's interpreter stops the
messages too, so the limit has to be longer than any such call.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from mpi4py import MPI

from gamaml.parallel.shutdown import peers

_BEATS_PER_LIMIT = 6
_LONGEST_INTERVAL = 10.0


class Heartbeat:
    """The beats of one leader. Collective over `relay`.

    Rank 0 exchanges them with all leaders, each leader with rank 0. A process that was itself suspended (by a debugger
    or a scheduler) accuses no node: it starts to listen anew.

    Args:
        relay: communicator of the leaders, which is duplicated.
        host: this host's name.
        limit: seconds of silence after which a node is given up, 0 for never; rank 0's value counts.
        clock: gives seconds.
    """

    def __init__(self, relay: MPI.Comm, host: str, limit: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._comm = relay.Dup()
        self.limit: float = self._comm.bcast(limit)
        self.hosts: list[str] = self._comm.allgather(host)
        self._clock = clock
        self._peers = peers(self._comm.rank, self._comm.size)
        self._interval = min(self.limit / _BEATS_PER_LIMIT, _LONGEST_INTERVAL)
        self._last_tick = self._last_beat = clock()
        self._heard = dict.fromkeys(self._peers, self._last_tick)
        self._requests = dict.fromkeys(self._peers, MPI.REQUEST_NULL)
        self._sent = np.zeros(self._comm.size, np.int64)
        self._received = np.zeros(self._comm.size, np.int64)

    def tick(self) -> list[int]:
        """Send a beat if one is due, receive those that have come, and return the nodes that are silent too long."""
        now = self._clock()
        # A tenth of a beat is often enough; a leader's thread calls this every millisecond.
        if self.limit == 0 or now - self._last_tick < self._interval / 10:
            return []
        if now - self._last_tick > self.limit / 2:
            self._heard = dict.fromkeys(self._peers, now)
        self._last_tick = now
        if now - self._last_beat >= self._interval:
            self._last_beat = now
            for peer in self._peers:
                # While a beat is stuck no other follows, or they would pile up.
                if self._requests[peer].Test():
                    self._requests[peer] = self._comm.Isend([b"", MPI.BYTE], peer)
                    self._sent[peer] += 1
        status = MPI.Status()
        while self._comm.Iprobe(status=status):
            self._receive(status.source)
            self._heard[status.source] = now
        return [peer for peer in self._peers if now - self._heard[peer] > self.limit]

    def free(self) -> None:
        """Receive the beats that are still under way, and free the communicator. Collective over `relay`."""
        expected = np.empty_like(self._sent)
        self._comm.Alltoall(self._sent, expected)
        for peer in self._peers:
            for _ in range(int(expected[peer] - self._received[peer])):
                self._receive(peer)
            self._requests[peer].Wait()
        self._comm.Free()

    def _receive(self, peer: int) -> None:
        self._comm.Recv([bytearray(), MPI.BYTE], peer)
        self._received[peer] += 1
