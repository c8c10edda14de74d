"""The table of Gaussian noise: fixed by (seed, size) alone, filled in chunks, read-only afterwards."""

from __future__ import annotations

import functools
import hashlib
import math
import zlib
from collections import OrderedDict
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from gamaml.evolution import streams
from gamaml.types import Float32Array

CHUNK = 1 << 18
"""Entries per chunk, 1 MiB. Each chunk has its own stream, so any rank may fill any chunk."""

_BLOCK = 1 << 13
"""Entries filled at a time: the temporaries stay in the cache, and below malloc's limit for fresh pages."""


def num_chunks(size: int) -> int:
    """Return the number of chunks of a table of `size` entries."""
    return -(-size // CHUNK)


def fill_chunk(out: Float32Array, seed: int, chunk: int) -> None:
    """Fill one chunk with standard normals.

    An entry is the sum of two independent normals of variance 1/2, each looked up by 16 random bits. That takes 0.45 of
    the time of NumPy's `standard_normal`, which calls the C library's exp and log now and then, and whose stream may
    change with NumPy's version; raw bits, looked up and added, give the same values everywhere.

    Args:
        out: float32[<= CHUNK]; a shorter last chunk holds the beginning of its stream.
        seed: the table's seed.
        chunk: index of the chunk.
    """
    bits = np.random.SFC64(streams.sequence(seed, streams.Purpose.NOISE, index=chunk))
    quantiles = half_normals()
    for start in range(0, out.size, _BLOCK):
        part = out[start : start + _BLOCK]
        # An odd end leaves half of the last 64 bits unused.
        indices = bits.random_raw((part.size + 1) // 2).astype("<u8", copy=False).view("<u2")[: 2 * part.size]
        terms = np.take(quantiles, indices, mode="wrap")
        np.add(terms[::2], terms[1::2], out=part)


@functools.cache
def half_normals() -> Float32Array:
    """Return 65,536 equally likely values, float32, symmetric and ascending, that stand for a normal of variance 1/2.

    They are the normal's quantiles at the middles of 65,536 equal shares, scaled to that variance. The sum of two has a
    kurtosis of 2.9996 and a distribution function within 2.5e-6 of the normal's, except at 0: two look-ups cancel once
    in 65,536 times, so P(entry == 0) = 2^-16 and the function is off by 7.6e-6 there. Beyond 4 (5) standard deviations
    lie 2 % (17 %) too few, and nothing beyond 6.1. Sums and roundings do not depend on the CPU: no value lies so close
    to a rounding boundary that a last bit in the C library's logarithm could move it.
    """
    count = 1 << 16
    quantile = NormalDist().inv_cdf
    upper = [quantile((k + 0.5) / count) for k in range(count // 2, count)]
    variance = 2 * math.fsum(value * value for value in upper) / count
    half = np.array([value / math.sqrt(2 * variance) for value in upper], np.float32)
    values = np.concatenate([-half[::-1], half])
    values.flags.writeable = False
    return values


def chunk_checksum(chunk: Float32Array) -> int:
    """Return the CRC-32 of a chunk's content: 0.25 CPU-seconds per GiB where SHA-256 takes 0.6 and the fill 2.0."""
    return zlib.crc32(chunk.data.cast("B"))


def table_digest(checksums: npt.NDArray[np.uint32]) -> str:
    """Combine the chunks' checksums, uint32[num_chunks], into the table's digest, in hexadecimal.

    Tables that differ by accident differ in many chunks; a CRC misses the difference of one chunk once in 2**32 times.
    """
    return hashlib.sha256(checksums.astype("<u4").tobytes()).hexdigest()


def read_only(buffer: memoryview) -> Float32Array:
    """Return a float32 view of a buffer that cannot be made writeable again."""
    return np.frombuffer(buffer.toreadonly(), np.float32)


class NoiseTable:
    """A filled table, read-only.

    Args:
        entries: float32[size], not writeable.
        digest: the table's digest in hexadecimal.
    """

    def __init__(self, entries: Float32Array, digest: str) -> None:
        if entries.flags.writeable:
            raise ValueError("entries: expected a read-only array, got a writeable one; make it with noise.read_only")
        self.entries = entries
        self.digest = digest

    def block(self, offset: int, num_params: int) -> Float32Array:
        """Return a view of the noise, float32[num_params], from `offset` on."""
        if not 0 <= offset <= self.entries.size - num_params:
            raise ValueError(
                f"offset={offset}: expected 0 to {self.entries.size - num_params} for {num_params} entries"
            )
        return self.entries[offset : offset + num_params]


class LazyNoise:
    """The same table, computed chunk by chunk on demand, for readers of a run file without a table.

    Args:
        size: entries of the table.
        seed: its seed.
        cached_chunks: chunks of 1 MiB kept in memory.
    """

    def __init__(self, size: int, seed: int, cached_chunks: int = 64) -> None:
        self.size = size
        self.seed = seed
        self._cached_chunks = cached_chunks
        self._chunks: OrderedDict[int, Float32Array] = OrderedDict()

    def block(self, offset: int, num_params: int) -> Float32Array:
        """Return a read-only copy of the noise, float32[num_params], from `offset` on."""
        if not 0 <= offset <= self.size - num_params:
            raise ValueError(f"offset={offset}: expected 0 to {self.size - num_params} for {num_params} entries")
        out = np.empty(num_params, np.float32)
        position = offset
        while position < offset + num_params:
            index, inside = divmod(position, CHUNK)
            part = self._chunk(index)[inside : inside + offset + num_params - position]
            out[position - offset : position - offset + part.size] = part
            position += part.size
        out.flags.writeable = False
        return out

    def _chunk(self, index: int) -> Float32Array:
        if index in self._chunks:
            self._chunks.move_to_end(index)
        else:
            chunk = np.empty(min(CHUNK, self.size - index * CHUNK), np.float32)
            fill_chunk(chunk, self.seed, index)
            self._chunks[index] = chunk
            if len(self._chunks) > self._cached_chunks:
                self._chunks.popitem(last=False)
        return self._chunks[index]
