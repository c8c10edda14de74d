"""One committed generation, the finished part of an open one, and their bytes in the journal."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from gamaml.evolution.entries import Entries
from gamaml.evolution.rebuild import Snapshot
from gamaml.types import Records

if TYPE_CHECKING:
    from gamaml.runlog.summary import Summary

_COMMIT = struct.Struct("<QIIIIiddd")
NO_CONTENDER = -1
"""The stored value of None."""
_PARTIAL = struct.Struct("<QII")
_SNAPSHOT = struct.Struct("<QII")


@dataclass(frozen=True)
class Generation:
    """One committed generation.

    Attributes:
        generation: its index, from 0.
        records: [population_size], the children's records in index order.
        contenders: [at most num_contenders], the re-evaluated candidates; their bases are rows of the generation's
            vectors.
        reevaluations: [num_contenders * num_episodes], index = contender * num_episodes + episode.
        entries: [at most num_entries], how the next vectors follow from the generation's vectors.
        contender: index of the contender that became the incumbent, or whose re-evaluations are reported for it; None
            for the best child.
        std: the std with which the children were made.
        incumbent_fitness: the incumbent's mean fitness over its re-evaluations (without them, its single fitness).
        seconds: wall-clock seconds.
    """

    generation: int
    records: Records
    contenders: Entries
    reevaluations: Records
    entries: Entries
    contender: int | None
    std: float
    incumbent_fitness: float
    seconds: float

    @property
    def steps(self) -> int:
        """Environment steps of the generation, re-evaluations included."""
        return int(self.records["steps"].sum()) + int(self.reevaluations["steps"].sum())

    @cached_property
    def summary(self) -> Summary:
        """The summary, computed once for the caller of `train` and for the HDF5 file."""
        from gamaml.runlog.summary import summarise  # imported here, since that module imports this one

        return summarise(self)


@dataclass(frozen=True)
class Partial:
    """Finished records of a generation that is not committed.

    Attributes:
        generation: the generation's index.
        children: records of finished children, any order.
        reevaluations: records of finished re-evaluations, any order.
    """

    generation: int
    children: Records
    reevaluations: Records


def encode_generation(generation: Generation) -> bytes:
    """Return the payload of a COMMIT frame."""
    arrays = (generation.contenders, generation.entries, generation.records, generation.reevaluations)
    head = _COMMIT.pack(
        generation.generation,
        *(len(array) for array in arrays),
        NO_CONTENDER if generation.contender is None else generation.contender,
        generation.std,
        generation.incumbent_fitness,
        generation.seconds,
    )
    return head + b"".join(array.tobytes() for array in arrays)


def decode_generation(payload: bytes, record_dtype: np.dtype[np.void], entry_dtype: np.dtype[np.void]) -> Generation:
    """Return the Generation of a COMMIT frame; its arrays are read-only views of `payload`."""
    index, *counts, contender, std, incumbent_fitness, seconds = _COMMIT.unpack_from(payload)
    dtypes = (entry_dtype, entry_dtype, record_dtype, record_dtype)
    contenders, entries, records, reevaluations = _split(payload, _COMMIT.size, dtypes, counts)
    return Generation(
        generation=index,
        records=records,
        contenders=contenders,
        reevaluations=reevaluations,
        entries=entries,
        contender=None if contender == NO_CONTENDER else contender,
        std=std,
        incumbent_fitness=incumbent_fitness,
        seconds=seconds,
    )


def encode_partial(partial: Partial) -> bytes:
    """Return the payload of a PARTIAL frame."""
    head = _PARTIAL.pack(partial.generation, len(partial.children), len(partial.reevaluations))
    return head + partial.children.tobytes() + partial.reevaluations.tobytes()


def decode_partial(payload: bytes, record_dtype: np.dtype[np.void]) -> Partial:
    """Return the Partial of a PARTIAL frame."""
    index, *counts = _PARTIAL.unpack_from(payload)
    children, reevaluations = _split(payload, _PARTIAL.size, (record_dtype, record_dtype), counts)
    return Partial(index, children, reevaluations)


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """Return the payload of a SNAPSHOT frame."""
    return _SNAPSHOT.pack(snapshot.generation, *snapshot.vectors.shape) + snapshot.vectors.tobytes()


def decode_snapshot(payload: bytes) -> Snapshot:
    """Return the Snapshot of a SNAPSHOT frame; its array is a read-only view of `payload`."""
    generation, *shape = _SNAPSHOT.unpack_from(payload)
    return Snapshot(generation, np.frombuffer(payload, np.float32, offset=_SNAPSHOT.size).reshape(shape))


def _split(
    payload: bytes, offset: int, dtypes: tuple[np.dtype[np.void], ...], counts: list[int]
) -> list[np.ndarray[tuple[int], np.dtype[np.void]]]:
    arrays: list[np.ndarray[tuple[int], np.dtype[np.void]]] = []
    for dtype, count in zip(dtypes, counts, strict=True):
        arrays.append(np.frombuffer(payload, dtype, count, offset))
        offset += count * dtype.itemsize
    return arrays
