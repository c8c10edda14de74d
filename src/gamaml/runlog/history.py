"""The content of a journal: a run's header, and the history that a resumed run needs."""

from __future__ import annotations

import dataclasses
import json
import math
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gamaml.errors import RunFileError
from gamaml.evolution.entries import Entries
from gamaml.evolution.rebuild import Snapshot
from gamaml.runlog.generation import Generation, Partial, decode_generation, decode_partial, decode_snapshot
from gamaml.runlog.header import SCHEMA_VERSION, Header, from_json, to_json
from gamaml.runlog.journal import FrameType, read_frames
from gamaml.types import Records


@dataclass(frozen=True)
class History:
    """The work of a run so far.

    Attributes:
        entries: the entries of the states before generations 1, 2, ...
        num_generations: committed generations.
        total_steps: environment steps in committed generations, re-evaluations included.
        incumbent_fitness: the last committed generation's; NaN before the first commit.
        children: finished records of the open generation, in index order; may be empty.
        reevaluations: finished re-evaluations of the open generation; valid only when all its children are finished.
        snapshot: the vectors stored last, if any.
        finished: whether the run ended by its stop criteria (which may have changed since).
        fruitless_restarts: number of consecutive latest starts, without this one, that journalled no new record.
    """

    entries: list[Entries]
    num_generations: int
    total_steps: int
    incumbent_fitness: float
    children: Records
    reevaluations: Records
    snapshot: Snapshot | None
    finished: bool
    fruitless_restarts: int


@dataclass(frozen=True)
class Past:
    """A journal read to its end.

    Attributes:
        created: when the run began, in seconds since 1970.
        header: the run's first header, with config, versions and machine of the latest start.
        version_history: (committed generations, versions) at the first start and for every change of the versions.
        history: everything else.
    """

    created: float
    header: Header
    version_history: list[tuple[int, dict[str, str]]]
    history: History


def encode_header(header: Header) -> bytes:
    """Return the payload of a HEADER frame."""
    return _json({"schema_version": SCHEMA_VERSION, "created": time.time(), **to_json(header)})


def encode_start(header: Header, job_id: str | None) -> bytes:
    """Return the payload of a START frame for a start that happens now."""
    return _json({"time": time.time(), "host": platform.node(), "job_id": job_id, **to_json(header)})


def encode_finished(num_generations: int) -> bytes:
    """Return the payload of a FINISHED frame."""
    return _json({"time": time.time(), "num_generations": num_generations})


def read_header(path: Path) -> tuple[float, Header]:
    """Return the time when a run began, in seconds since 1970, and its first header.

    Raises:
        RunFileError: the file is not a journal, has another layout, or has no header.
    """
    for frame_type, payload, _ in read_frames(path):
        if frame_type is FrameType.HEADER:
            mapping = json.loads(payload)
            return mapping["created"], from_json(mapping)
        break
    raise RunFileError(f"{path}: expected a journal that begins with a header, got none; start a new run")


def read_past(path: Path) -> Past:
    """Read a journal to its end, without keeping committed records.

    Raises:
        RunFileError: the file is not a journal, has another layout, or is damaged.
    """
    created, header = read_header(path)
    scan = _Scan(header)
    for frame_type, payload, _ in read_frames(path):
        scan.add(frame_type, payload)
    return Past(created, scan.header, scan.version_history, scan.history())


def read_generations(path: Path) -> Iterator[Generation]:
    """Yield the committed generations of a journal, one at a time."""
    header = read_header(path)[1]
    for frame_type, payload, _ in read_frames(path):
        if frame_type is FrameType.COMMIT:
            yield decode_generation(payload, header.record_dtype, header.entry_dtype)


def read_snapshots(path: Path) -> Iterator[Snapshot]:
    """Yield the snapshots of a journal, one at a time."""
    for frame_type, payload, _ in read_frames(path):
        if frame_type is FrameType.SNAPSHOT:
            yield decode_snapshot(payload)


@dataclass(frozen=True)
class Start:
    """One start of a run.

    Attributes:
        time: in seconds since 1970.
        job_id: the batch job's id, or None.
    """

    time: float
    job_id: str | None


def read_starts(path: Path) -> list[Start]:
    """Return a journal's starts, the first one first.

    Raises:
        RunFileError: the file is not a journal, has another layout, or is damaged.
    """
    frames = read_frames(path, payloads=(FrameType.START,))
    starts = (json.loads(payload) for frame_type, payload, _ in frames if frame_type is FrameType.START)
    return [Start(start["time"], start["job_id"]) for start in starts]


def is_finished(path: Path) -> bool:
    """Return whether a journal ends with the mark of met stop criteria; payloads are not read."""
    finished = False
    for frame_type, _, _ in read_frames(path, payloads=()):
        if frame_type is not FrameType.START:
            finished = frame_type is FrameType.FINISHED
    return finished


@dataclass
class _Scan:
    """Reads frame by frame; a commit discards the records of the open generation."""

    header: Header
    version_history: list[tuple[int, dict[str, str]]] = field(default_factory=list[tuple[int, dict[str, str]]])
    entries: list[Entries] = field(default_factory=list[Entries])
    partials: list[Partial] = field(default_factory=list[Partial])
    snapshot: Snapshot | None = None
    total_steps: int = 0
    incumbent_fitness: float = math.nan
    finished: bool = False
    fruitless: int = 0

    def add(self, frame_type: FrameType, payload: bytes) -> None:
        if frame_type is FrameType.START:
            self._start(json.loads(payload))
        elif frame_type is FrameType.COMMIT:
            self._commit(decode_generation(payload, self.header.record_dtype, self.header.entry_dtype))
        elif frame_type is FrameType.PARTIAL:
            self.partials.append(decode_partial(payload, self.header.record_dtype))
            self._progress(finished=False)
        elif frame_type is FrameType.SNAPSHOT:
            self.snapshot = decode_snapshot(payload)
        elif frame_type is FrameType.FINISHED:
            self._progress(finished=True)

    def history(self) -> History:
        nothing = np.empty(0, self.header.record_dtype)
        return History(
            entries=self.entries,
            num_generations=len(self.entries),
            total_steps=self.total_steps,
            incumbent_fitness=self.incumbent_fitness,
            children=_union([partial.children for partial in self.partials], nothing),
            reevaluations=_union([partial.reevaluations for partial in self.partials], nothing),
            snapshot=self.snapshot,
            finished=self.finished,
            fruitless_restarts=self.fruitless,
        )

    def _start(self, mapping: dict[str, Any]) -> None:
        latest = from_json(mapping)
        self.header = dataclasses.replace(
            self.header, config=latest.config, versions=latest.versions, machine=latest.machine
        )
        if not self.version_history or self.version_history[-1][1] != latest.versions:
            self.version_history.append((len(self.entries), latest.versions))
        self.fruitless += 1

    def _commit(self, generation: Generation) -> None:
        if generation.generation != len(self.entries):
            raise RunFileError(
                f"journal of {self.header.name}: expected generation {len(self.entries)}, got "
                f"{generation.generation}; restore the file from a copy, or start a new run"
            )
        self.entries.append(generation.entries.copy())
        self.total_steps += generation.steps
        self.incumbent_fitness = generation.incumbent_fitness
        self.partials.clear()
        self._progress(finished=False)

    def _progress(self, *, finished: bool) -> None:
        self.finished = finished
        self.fruitless = 0


def _union(parts: list[Records], nothing: Records) -> Records:
    """Return the records of all parts in index order, each index once."""
    records = np.concatenate([nothing, *parts])
    return records[np.unique(records["index"], return_index=True)[1]]


def _json(mapping: dict[str, Any]) -> bytes:
    return json.dumps(mapping, sort_keys=True).encode()
