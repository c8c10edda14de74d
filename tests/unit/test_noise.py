from __future__ import annotations

import hashlib
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamaml.evolution import noise_table as noise
from gamaml.evolution.noise_table import CHUNK, LazyNoise, NoiseTable
from gamaml.types import Float32Array

PINNED = [0.4784458577632904, -0.18028411269187927, -1.7588534355163574, 1.108698844909668]

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


@pytest.mark.parametrize("size", [1, 2, 1000, 9999, CHUNK + 1])
def test_a_smaller_table_is_the_beginning_of_a_larger_one(size: int) -> None:
    assert np.array_equal(filled(size, 42), filled(SIZE, 42)[:size])


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
    for limit in (0.5, 1, 2, 3):
        share = 2 * NormalDist().cdf(-limit)
        assert abs(np.mean(np.abs(values) > limit) - share) < 5 * (share / values.size) ** 0.5


def test_two_looked_up_normals_add_up_to_a_standard_normal() -> None:
    half = noise.half_normals().astype(np.float64)
    variance, fourth = np.mean(half**2), np.mean(half**4)
    assert half.mean() == 0
    assert 2 * variance == pytest.approx(1, abs=1e-8)
    assert (2 * fourth + 6 * variance**2) / (2 * variance) ** 2 == pytest.approx(3, abs=4e-4)
    for value in (-3.0, -1.0, 0.5, 2.0):
        below = np.searchsorted(half, value - half, side="right").mean() / half.size
        assert below == pytest.approx(NormalDist().cdf(value), abs=2.5e-6)


def test_two_looked_up_normals_cancel_once_in_65536_times() -> None:
    half = noise.half_normals()
    assert np.array_equal(half, -half[::-1]) and np.unique(half).size == half.size == 2**16
    at_most, below = (np.searchsorted(half, -half, side=side).mean() / half.size for side in ("right", "left"))
    assert (at_most, below) == (0.5 + 2**-17, 0.5 - 2**-17)


def test_the_looked_up_normals_are_the_same_as_ever() -> None:
    # As with the content below.
    found = hashlib.sha256(noise.half_normals().astype("<f4").tobytes()).hexdigest()
    assert found == "dfdb399543b1ac6e4d1d912ee78c6c4a887fba09462a409b98081dfbc7543be3"


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
