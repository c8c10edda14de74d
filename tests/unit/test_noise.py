from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamaml import noise
from gamaml.noise import CHUNK, LazyNoise, NoiseTable
from gamaml.types import Float32Array

PINNED = [0.7585039734840393, -0.456634521484375, -0.6605778932571411, -1.0468865633010864]

SIZE = 2 * CHUNK + 1000
"""Two whole chunks and a short one."""


def filled(size: int, seed: int, order: list[int] | None = None) -> Float32Array:
    entries = np.empty(size, np.float32)
    for chunk in range(noise.num_chunks(size)) if order is None else order:
        noise.fill_chunk(entries[chunk * CHUNK : (chunk + 1) * CHUNK], seed, chunk)
    return entries


@pytest.fixture(scope="module")
def table() -> NoiseTable:
    return NoiseTable(noise.read_only(filled(SIZE, seed=42).data), digest="")


@pytest.mark.parametrize(("size", "chunks"), [(1, 1), (CHUNK, 1), (CHUNK + 1, 2), (3 * CHUNK, 3)])
def test_the_last_chunk_may_be_short(size: int, chunks: int) -> None:
    assert noise.num_chunks(size) == chunks


def test_the_content_does_not_depend_on_who_fills_what_first() -> None:
    assert np.array_equal(filled(SIZE, 42), filled(SIZE, 42, order=[2, 0, 1]))


def test_a_smaller_table_is_the_beginning_of_a_larger_one() -> None:
    assert np.array_equal(filled(1000, 42), filled(SIZE, 42)[:1000])


def test_seeds_and_chunks_have_streams_of_their_own() -> None:
    one, other = filled(2 * CHUNK, 42), filled(2 * CHUNK, 43)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.01
    assert abs(np.corrcoef(one[:CHUNK], one[CHUNK:])[0, 1]) < 0.01


def test_the_entries_are_standard_normal(table: NoiseTable) -> None:
    values = table.entries.astype(np.float64)
    # Standard errors at 525k entries: mean 0.0014, std 0.001, kurtosis 0.007.
    assert abs(values.mean()) < 0.007
    assert abs(values.std() - 1) < 0.005
    assert abs((values**4).mean() - 3) < 0.04


def test_the_content_is_the_same_as_ever(table: NoiseTable) -> None:
    # A new value here means that no run file written so far can be decoded any more.
    assert table.entries[[0, 1, CHUNK, SIZE - 1]].tolist() == pytest.approx(PINNED, abs=0)


def test_a_block_is_a_read_only_view_of_the_table(table: NoiseTable) -> None:
    block = table.block(CHUNK - 2, 5)
    assert np.shares_memory(block, table.entries)
    assert np.array_equal(block, table.entries[CHUNK - 2 : CHUNK + 3])
    with pytest.raises(ValueError, match="read-only"):
        block[0] = 1


def test_nobody_can_make_the_table_writeable_again(table: NoiseTable) -> None:
    for array in (table.entries, table.block(0, 3)):
        with pytest.raises(ValueError, match="cannot set WRITEABLE flag"):
            array.flags.writeable = True


def test_a_writeable_array_is_no_table() -> None:
    with pytest.raises(ValueError, match="^entries: expected a read-only array, got a writeable one"):
        NoiseTable(np.zeros(3, np.float32), digest="")


@pytest.mark.parametrize("offset", [-1, SIZE - 4])
def test_a_block_beyond_the_table_is_refused(table: NoiseTable, offset: int) -> None:
    for source in (table, LazyNoise(size=SIZE, seed=42)):
        with pytest.raises(ValueError, match=rf"^offset={offset}: expected 0 to {SIZE - 5} for 5 entries"):
            source.block(offset, 5)


LAZY = LazyNoise(size=SIZE, seed=42, cached_chunks=1)


@given(st.integers(0, SIZE), st.integers(1, CHUNK + 10))
def test_lazy_noise_equals_the_table(table: NoiseTable, offset: int, num_params: int) -> None:
    offset = min(offset, SIZE - num_params)
    assert np.array_equal(LAZY.block(offset, num_params), table.block(offset, num_params))


def test_a_block_of_lazy_noise_is_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        LazyNoise(size=10, seed=1).block(0, 3)[0] = 1


def test_the_digest_is_that_of_the_chunks_checksums() -> None:
    # CRC-32 of eight zero bytes, as every implementation gives it.
    assert noise.chunk_checksum(np.zeros(2, np.float32)) == 0x6522DF69
    words = bytes.fromhex("69df2265 01000000")
    assert noise.table_digest(np.array([0x6522DF69, 1], np.uint32)) == hashlib.sha256(words).hexdigest()
