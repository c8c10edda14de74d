"""Decoding: the one sum that makes parameters from an entry, vectors and noise, and the sources it needs."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gamaml.evolution.entries import NOBODY, PARTNERS, ROOT, UNCHANGED, Entries, bases_of
from gamaml.types import Float32Array

_BLOCK = 1 << 18
"""Parameters decoded at a time, 1 MiB: enough that calls cost little, few enough that the product stays in the cache.
With 2**15 a child of 4 million parameters takes 1.4 times as long as in a C loop, with 2**18 1.1 times
(`benchmarks/decode.py`)."""


class NoiseSource(Protocol):
    """An object that gives blocks of the noise table."""

    def block(self, offset: int, num_params: int) -> Float32Array:
        """Return read-only noise, float32[num_params], from `offset` on."""
        ...


class Decodable(Protocol):
    """The part of a Problem that decoding needs."""

    num_params: int
    scale: Float32Array | None

    def initial(self, noise: Float32Array) -> Float32Array:
        """Turn noise into initial parameters."""
        ...


class Vectors(Protocol):
    """Vectors by row: an array, float32[num_vectors, size], or a mapping that holds some of the rows."""

    def __getitem__(self, row: int, /) -> Float32Array:
        """Return one vector, float32[size]."""
        ...


@dataclass(frozen=True)
class Sources:
    """The sources that parameters are made from, cut to a range of the parameters.

    Attributes:
        noise: the noise table.
        problem: gives num_params, scale and the initial parameters.
        vectors: float32[size] each; the current vectors for `Strategy.decode`, the previous ones for `Strategy.update`.
        start: first parameter of the range.
        size: number of parameters in it.
    """

    noise: NoiseSource
    problem: Decodable
    vectors: Vectors
    start: int
    size: int

    @classmethod
    def whole(cls, noise: NoiseSource, problem: Decodable, vectors: Vectors) -> Sources:
        """Return sources of all parameters."""
        return cls(noise, problem, vectors, 0, problem.num_params)

    @property
    def scale(self) -> Float32Array | None:
        """The problem's scale on the range, float32[size], or None for 1 everywhere."""
        scale = self.problem.scale
        return None if scale is None else scale[self.start : self.start + self.size]

    def block(self, offset: int) -> Float32Array:
        """Return the noise at `offset` for the parameters of the range, float32[size]."""
        return self.noise.block(offset + self.start, self.size)

    def initial(self, offset: int) -> Float32Array:
        """Return initial parameters on the range, float32[size], made from the noise at `offset`."""
        whole = self.problem.initial(self.noise.block(offset, self.problem.num_params))
        return whole[self.start : self.start + self.size]


def decode(entry: np.void, sources: Sources, out: Float32Array) -> None:
    """Write the parameters of an entry into `out`: its base, or the mean of its bases, plus scaled noise.

    Args:
        entry: an entry with the columns of `ENTRY_DTYPE`.
        sources: noise, problem, and the vectors whose rows the entry's bases name.
        out: float32[sources.size].
    """
    # One call for all columns: a column of a single entry takes a microsecond.
    _, offset, factor, *_ = entry.tolist()
    bases = bases_of(entry)
    if not bases:
        out[:] = sources.initial(offset)
    elif offset == UNCHANGED:
        out[:] = sources.vectors[bases[0]]
    else:
        rows = [sources.vectors[base] for base in bases]
        start = rows[0] if len(rows) == 1 else mean(rows, out)
        mutate(start, sources.block(offset), factor, sources.scale, out)


def decode_rows(entries: Entries, sources: Sources, out: Float32Array) -> None:
    """Write the parameters of several entries into the rows of `out`, with the bits of `decode`.

    The second child of a mirrored pair takes the product of the first, which is the same but for its sign.

    Args:
        entries: entries with the columns of `ENTRY_DTYPE`.
        sources: noise, problem, and the vectors whose rows the entries' bases name.
        out: float32[len(entries), sources.size].
    """
    if sources.size > _BLOCK:
        for entry, row in zip(entries, out, strict=True):
            decode(entry, sources, row)
        return
    names, vectors, scale = entries.dtype.names or (), sources.vectors, sources.scale
    partners = names.index(PARTNERS) if PARTNERS in names else None
    product, before = np.empty(sources.size, np.float32), (UNCHANGED, 0.0)
    # One call for all entries: a column of a single entry takes a microsecond.
    for values, row in zip(entries.tolist(), out, strict=True):
        base, offset, factor = values[:3]
        if base == ROOT:
            row[:] = sources.initial(offset)
            continue
        start = vectors[base]
        if offset == UNCHANGED:
            row[:] = start
            continue
        others = [] if partners is None else [slot for slot in values[partners].tolist() if slot != NOBODY]
        if others:
            start = mean([start, *(vectors[slot] for slot in others)], row)
        if before == (offset, -factor):
            np.subtract(start, product, out=row)
            continue
        _scaled(sources.block(offset), np.float32(factor), scale, product)
        np.add(start, product, out=row)
        before = offset, factor


def mutate(
    base: Float32Array, noise: Float32Array, factor: float, scale: Float32Array | None, out: Float32Array
) -> Float32Array:
    """Write `base + factor * scale * noise` into `out` and return it.

    This sum and that of `decode_rows`, which has the same bits, are the only ones in gamaml.

    NumPy computes it everywhere, since a jitted sum rounds differently in the last bit.

    Args:
        base: float32[num_params].
        noise: float32[num_params].
        factor: a number, rounded to float32 first.
        scale: float32[num_params], or None for 1 everywhere.
        out: float32[num_params]; may be `base` itself, not `noise`.
    """
    factor32 = np.float32(factor)
    product = np.empty(min(_BLOCK, out.size), np.float32)
    for part in _blocks(out.size):
        scaled = product[: out.size - part.start]
        _scaled(noise[part], factor32, None if scale is None else scale[part], scaled)
        np.add(base[part], scaled, out=out[part])
    return out


def _scaled(noise: Float32Array, factor: np.float32, scale: Float32Array | None, out: Float32Array) -> None:
    np.multiply(noise, factor, out=out)
    if scale is not None:
        np.multiply(out, scale, out=out)


def mean(rows: Sequence[Float32Array], out: Float32Array) -> Float32Array:
    """Write the mean of `rows`, each float32[num_params], into `out` and return it.

    The rows are added one after the other in float32, so the bits depend only on their order.
    """
    number = np.float32(len(rows))
    first, *others = rows
    for part in _blocks(out.size):
        total, so_far = out[part], first[part]
        for row in others:
            so_far = np.add(so_far, row[part], out=total)
        np.divide(so_far, number, out=total)
    return out


@functools.lru_cache(maxsize=64)
def _blocks(size: int) -> tuple[slice, ...]:
    return tuple(slice(start, start + _BLOCK) for start in range(0, size, _BLOCK))
