"""Each node holds the noise table once, and too little memory is an error in words before anything is allocated."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from harness import SHARED_MEMORY, Layout, Mpi, memory_limit, run_mpi, small_shared_memory

from gamaml.evolution import noise_table as noise

PROGRAMS = Path(__file__).parent / "programs"
MIB = 1 << 20
SIZE = 3 * noise.CHUNK + 1000
"""Entries: more chunks than one, a ragged last one, and not a multiple of the ranks."""


def small_run(folder: Path, entries: int) -> list[str]:
    return ["python", "-m", "mpi4py", str(PROGRAMS / "small_run.py"), str(folder), str(entries)]


@pytest.fixture(scope="module")
def expected_digest() -> str:
    checksums = np.zeros(noise.num_chunks(SIZE), np.uint32)
    for chunk in range(len(checksums)):
        entries = np.empty(min(noise.CHUNK, SIZE - chunk * noise.CHUNK), np.float32)
        noise.fill_chunk(entries, 42, chunk)
        checksums[chunk] = noise.chunk_checksum(entries)
    return noise.table_digest(checksums)


def test_every_rank_of_every_layout_sees_the_same_read_only_table(
    mpi: Mpi, layout: Layout, expected_digest: str
) -> None:
    words = ["python", "-m", "mpi4py", PROGRAMS / "node_memory.py", str(SIZE)]
    report = json.loads(run_mpi(words, ranks=layout.ranks, nodes=layout.nodes, mpi=mpi).stdout)
    ranks = report["ranks"]
    assert report["node_sizes"] == list(layout.node_sizes)
    assert [rank["node"] for rank in ranks] == [k for k, size in enumerate(layout.node_sizes) for _ in range(size)]
    assert sum(rank["leader"] for rank in ranks) == len(layout.node_sizes)
    assert {rank["digest"] for rank in ranks} == {expected_digest}
    assert len({rank["sum"] for rank in ranks}) == 1
    assert all(rank["aligned"] and rank["read_only"] for rank in ranks)


def test_table_costs_a_node_at_most_its_size_and_a_tenth(mpi: Mpi) -> None:
    # Large enough that the 2 MiB or so per rank that MPICH takes for its first window do not decide.
    nbytes = 256 * MIB
    if shutil.disk_usage(SHARED_MEMORY).free < 1.5 * nbytes:
        pytest.skip(f"needs {1.5 * nbytes / MIB:.0f} MiB free in {SHARED_MEMORY}")
    words = ["python", "-m", "mpi4py", PROGRAMS / "node_memory.py", str(nbytes // 4)]
    first = json.loads(run_mpi(words, ranks=3, mpi=mpi).stdout)["ranks"][0]
    assert nbytes <= first["nbytes"] <= 1.1 * nbytes
    assert nbytes <= first["peak_nbytes"] <= 1.1 * nbytes


def test_table_larger_than_shared_memory_is_refused_in_words(mpi: Mpi, tmp_path: Path) -> None:
    prefix = small_shared_memory(64 * MIB)
    finished = run_mpi(small_run(tmp_path, 80 * MIB // 4), ranks=2, mpi=mpi, prefix=prefix, exit_code=1)
    assert "shared memory on" in finished.stderr
    assert "MiB free in /dev/shm for the windows of 1 node, got" in finished.stderr
    assert not list(tmp_path.iterdir())


def test_emulated_nodes_that_fit_alone_but_not_together_are_refused(mpi: Mpi, tmp_path: Path) -> None:
    prefix = small_shared_memory(64 * MIB)
    run_mpi(small_run(tmp_path / "one", 40 * MIB // 4), ranks=2, mpi=mpi, prefix=prefix)
    program = small_run(tmp_path / "two", 40 * MIB // 4)
    refused = run_mpi(program, ranks=2, nodes=(1, 1), mpi=mpi, prefix=prefix, exit_code=1)
    assert "for the windows of 2 (emulated) nodes that share it, got" in refused.stderr


def test_table_larger_than_the_cgroup_allows_is_refused_in_words(mpi: Mpi, tmp_path: Path) -> None:
    with memory_limit(400 * MIB) as prefix:
        finished = run_mpi(small_run(tmp_path, 500 * MIB // 4), ranks=2, mpi=mpi, prefix=prefix, exit_code=1)
    assert "memory on" in finished.stderr
    assert "under the memory limit of the host or its cgroup" in finished.stderr
