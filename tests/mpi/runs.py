"""Runs of `gamaml run` for tests: the command under mpiexec, and what its file says."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness import Job, Layout, Mpi, mpi_job, run_mpi

from gamaml import runlog

PROGRAMS = Path(__file__).parent / "programs"
SINGLE = Layout((1,))


def words(config: str, out: Path, *more: str) -> list[str | Path]:
    """Return the command of a run named "run" in `out`."""
    return ["gamaml", "run", PROGRAMS / config, "--out", out, "--name", "run", *more]


def run(
    mpi: Mpi, layout: Layout, config: str, out: Path, *more: str, exit_code: int | None = 0, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run to the end; `toys` can be imported."""
    return run_mpi(
        words(config, out, *more),
        ranks=layout.ranks,
        nodes=layout.nodes,
        mpi=mpi,
        cwd=PROGRAMS,
        exit_code=exit_code,
        timeout=timeout,
    )


@contextmanager
def started(mpi: Mpi, layout: Layout, config: str, out: Path, *more: str) -> Iterator[Job]:
    """Start a run; what is left of it is killed with SIGKILL on leaving."""
    arguments = words(config, out, *more)
    with mpi_job(arguments, ranks=layout.ranks, nodes=layout.nodes, mpi=mpi, cwd=PROGRAMS) as job:
        yield job


def digest(out: Path) -> str:
    """Return the digest of a finished run."""
    loaded = runlog.load(out / "run.h5")
    assert loaded.finished
    return loaded.digest()


def journalled(out: Path) -> int:
    """Return the bytes in the journal, 0 before it exists."""
    journal = out / "run.run" / "journal"
    return journal.stat().st_size if journal.exists() else 0


def settings(values: Sequence[str]) -> list[str]:
    """Return values as --set arguments."""
    return [word for value in values for word in ("--set", value)]
