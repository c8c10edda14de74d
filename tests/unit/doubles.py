"""Stand-ins: for MPI in one process a shared window and the leaders' communicators; for a run, its progress."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gamaml.evolution.decode import Sources
from gamaml.evolution.noise_table import LazyNoise
from gamaml.evolution.strategy import Progress
from gamaml.types import Float32Array

Bytes = npt.NDArray[np.uint8]


@dataclass
class Toy:
    """The part of a problem that decoding needs: it starts as a tenth of its noise."""

    num_params: int = 1
    scale: Float32Array | None = None

    def initial(self, noise: Float32Array) -> Float32Array:
        return noise * np.float32(0.1)


def progress(share: float) -> Progress:
    """Return the progress of a run of which this share is done."""
    noise = LazyNoise(size=1000, seed=5)
    return Progress(share, Sources.whole(noise, Toy(), np.zeros((1, 1), np.float32)))


AT_START = progress(0.0)


class FakeWindow:
    """Memory whose atomic words are plain ones, since one thread works on it."""

    def __init__(self, nbytes: int) -> None:
        self._memory = bytearray(nbytes)

    def memory(self) -> memoryview:
        return memoryview(self._memory)

    def sync(self) -> None:
        pass

    def load(self, position: int) -> int:
        return int(self._words()[position // 8])

    def peek(self, position: int) -> int:
        return self.load(position)

    def store(self, position: int, value: int) -> int:
        old = self.load(position)
        self._words()[position // 8] = value
        return old

    def add(self, position: int, value: int) -> int:
        return self.store(position, self.load(position) + value)

    def compare_and_swap(self, position: int, expected: int, value: int) -> bool:
        if self.load(position) != expected:
            return False
        self.store(position, value)
        return True

    def _words(self) -> npt.NDArray[np.int64]:
        return np.frombuffer(self._memory, np.int64)


@dataclass
class Collective:
    """One collective, as far as the ranks have called it."""

    name: str
    sent: dict[int, Bytes] = field(default_factory=dict[int, Bytes])


class FakeRequest:
    """One rank's part of a collective: complete as soon as what it needs from others was sent."""

    def __init__(self, collective: Collective, needs: Sequence[int], received: Bytes | None) -> None:
        self._collective, self._needs, self._received = collective, needs, received

    def Test(self) -> bool:
        if not all(rank in self._collective.sent for rank in self._needs):
            return False
        if self._received is not None:
            self._received[:] = np.concatenate([self._collective.sent[rank] for rank in self._needs])
            self._received = None
        return True


class FakeLeaders:
    """One rank of an in-memory communicator; the n-th call of a rank belongs to the n-th call of every other."""

    def __init__(self, rank: int, size: int, calls: list[Collective]) -> None:
        self.rank, self.size = rank, size
        self._calls, self._num_calls = calls, 0

    def Ibcast(self, buf: Bytes, root: int = 0) -> FakeRequest:
        call = self._call("broadcast")
        if self.rank == root:
            call.sent[root] = buf.copy()
        return FakeRequest(call, [root], None if self.rank == root else buf)

    def Igatherv(self, sendbuf: Bytes, recvbuf: tuple[Bytes, Sequence[int]], root: int = 0) -> FakeRequest:
        call = self._call("gather")
        received, nbytes = recvbuf
        assert nbytes[self.rank] == len(sendbuf)
        call.sent[self.rank] = sendbuf.copy()
        return FakeRequest(call, range(self.size), received) if self.rank == root else FakeRequest(call, [], None)

    def _call(self, name: str) -> Collective:
        if self._num_calls == len(self._calls):
            self._calls.append(Collective(name))
        call = self._calls[self._num_calls]
        self._num_calls += 1
        assert call.name == name, f"rank {self.rank} begins a {name} where others began a {call.name}"
        return call


class SentRequest:
    """A send that is complete at once."""

    def wait(self) -> None:
        pass


class FakeControl:
    """One rank of an in-memory communicator for notes."""

    def __init__(self, rank: int, inboxes: list[list[int]], sent: list[int]) -> None:
        self.rank, self.size = rank, len(inboxes)
        self._inboxes, self._sent = inboxes, sent

    def Iprobe(self) -> bool:
        return bool(self._inboxes[self.rank])

    def recv(self) -> int:
        return self._inboxes[self.rank].pop(0)

    def isend(self, obj: int, dest: int) -> SentRequest:
        self._inboxes[dest].append(obj)
        return SentRequest()

    def allgather(self, sendobj: int) -> list[int]:
        self._sent[self.rank] = sendobj
        return self._sent


def fake_controls(size: int) -> list[FakeControl]:
    """Return the ranks of a communicator for notes."""
    inboxes: list[list[int]] = [[] for _ in range(size)]
    sent = [0] * size
    return [FakeControl(rank, inboxes, sent) for rank in range(size)]


def fake_leaders(size: int) -> list[FakeLeaders]:
    """Return the ranks of a communicator."""
    calls: list[Collective] = []
    return [FakeLeaders(rank, size, calls) for rank in range(size)]
