"""The current evaluation of every rank, in case it dies without a message: one small file per node."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

Phase = Literal["idle", "child", "re-evaluation"]

_PHASES: tuple[Phase, ...] = ("idle", "child", "re-evaluation")
_DTYPE = np.dtype(
    [
        ("pid", "<u4"),
        ("rank", "<u4"),
        ("phase", "<u4"),
        ("generation", "<u4"),
        ("index", "<u4"),
        ("episode", "<u4"),
        ("count", "<u4"),
        ("since", "<f8"),
        ("host", "S28"),
    ]
)
"""64 bytes, so records never share a cache line; an unused entry has pid 0."""


@dataclass(frozen=True)
class Current:
    """The latest note of one rank.

    Attributes:
        rank: world rank.
        host: the rank's host.
        pid: the rank's process.
        generation: the generation of the evaluation.
        phase: "idle", "child" or "re-evaluation".
        index: index of the child, or of the re-evaluated contender.
        episode: which re-evaluation of the candidate; 0 for a child.
        count: number of evaluations done at once, starting with this one.
        since: when the evaluation began, in seconds since 1970.
    """

    rank: int
    host: str
    pid: int
    generation: int
    phase: Phase
    index: int
    episode: int
    count: int
    since: float


class CurrentFile:
    """One rank's place in its node's file.

    Writing costs one system call and no sync: the note has to survive the process, not the machine.

    Args:
        folder: the run's sidecar folder, which has to exist.
        node: index of the node, part of the file's name.
        rank_in_node: the rank's place in the file.
        world_rank: the rank to report.
    """

    def __init__(self, folder: Path, node: int, rank_in_node: int, world_rank: int) -> None:
        self._fd = os.open(folder / f"current-{node}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._position = rank_in_node * _DTYPE.itemsize
        self._pid, self._rank, self._host = os.getpid(), world_rank, platform.node().encode()[:28]

    def write(self, generation: int, phase: Phase, index: int = 0, episode: int = 0, count: int = 1) -> None:
        """Note this rank's current evaluation, the first of `count` done at once."""
        place = _PHASES.index(phase)
        note = (self._pid, self._rank, place, generation, index, episode, count, time.time(), self._host)
        os.pwrite(self._fd, np.array(note, _DTYPE).tobytes(), self._position)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def read_current(folder: Path) -> list[Current]:
    """Return the ranks' latest notes in the order of the ranks; empty after a clean end."""
    found: list[Current] = []
    for path in folder.glob("current-*"):
        content = path.read_bytes()
        whole = len(content) // _DTYPE.itemsize
        for record in np.frombuffer(content, _DTYPE, whole):
            if record["pid"]:
                found.append(_current(record))
    return sorted(found, key=lambda current: current.rank)


def clear_current(folder: Path) -> None:
    """Remove the files of all nodes."""
    for path in folder.glob("current-*"):
        path.unlink(missing_ok=True)


def _current(record: np.void) -> Current:
    return Current(
        rank=int(record["rank"]),
        host=bytes(record["host"]).decode(errors="replace"),
        pid=int(record["pid"]),
        generation=int(record["generation"]),
        phase=_PHASES[int(record["phase"])],
        index=int(record["index"]),
        episode=int(record["episode"]),
        count=int(record["count"]),
        since=float(record["since"]),
    )
