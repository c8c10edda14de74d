"""One committed generation, the finished part of an open one, and their bytes in the journal."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from gamaml.evolution.candidates import Lineage, Snapshot
from gamaml.types import Records

_COMMIT = struct.Struct("<QIIIIddd")
_PARTIAL = struct.Struct("<QII")
_SNAPSHOT = struct.Struct("<QII")


@dataclass(frozen=True)
class Generation:
    """One committed generation.

    Attributes:
        generation: its index, from 0.
        records: [population_size], the children's records in index order.
        candidates: [num_candidates], who was re-evaluated; slots refer to the previous generation's parents.
        reevaluations: [num_candidates * episodes], index = candidate * episodes + episode.
        parents: [at most num_parents], who was selected, the elite first; slots as in `candidates`.
        mutation_std: std with which the children were made.
        elite_fitness: the elite's mean fitness over its re-evaluations (without them, its single fitness).
        seconds: wall-clock seconds.
    """

    generation: int
    records: Records
    candidates: Lineage
    reevaluations: Records
    parents: Lineage
    mutation_std: float
    elite_fitness: float
    seconds: float

    @property
    def steps(self) -> int:
        """Environment steps of the generation, re-evaluations included."""
        return int(self.records["steps"].sum()) + int(self.reevaluations["steps"].sum())


@dataclass(frozen=True)
class Partial:
    """Finished records of a generation that is not committed.

    Attributes:
        generation: its index.
        children: records of finished children, any order.
        reevaluations: records of finished re-evaluations, any order.
    """

    generation: int
    children: Records
    reevaluations: Records


def encode_generation(generation: Generation) -> bytes:
    """Return the payload of a COMMIT frame."""
    arrays = (generation.candidates, generation.parents, generation.records, generation.reevaluations)
    head = _COMMIT.pack(
        generation.generation,
        *(len(array) for array in arrays),
        generation.mutation_std,
        generation.elite_fitness,
        generation.seconds,
    )
    return head + b"".join(array.tobytes() for array in arrays)


def decode_generation(payload: bytes, record_dtype: np.dtype[np.void], lineage_dtype: np.dtype[np.void]) -> Generation:
    """Return the Generation of a COMMIT frame; its arrays are read-only views of `payload`."""
    index, *counts, mutation_std, elite_fitness, seconds = _COMMIT.unpack_from(payload)
    dtypes = (lineage_dtype, lineage_dtype, record_dtype, record_dtype)
    candidates, parents, records, reevaluations = _split(payload, _COMMIT.size, dtypes, counts)
    return Generation(
        generation=index,
        records=records,
        candidates=candidates,
        reevaluations=reevaluations,
        parents=parents,
        mutation_std=mutation_std,
        elite_fitness=elite_fitness,
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
