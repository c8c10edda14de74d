"""A node that falls silent ends the job within the limit; one that is only busy does not."""

import os
import signal
import time
from pathlib import Path

import pytest
from harness import Layout, Mpi, mpi_job, run_mpi
from runs import PROGRAMS, digest, run, settings, words

NODES = (2, 1, 1)
LIMIT = 3.0
BEAT = {"GAMAML_HEARTBEAT_SECONDS": str(LIMIT)}
SLOW = settings(["task.seconds=0.05", "stop.generations=5"])


@pytest.fixture(scope="module")
def alone(mpich: Mpi, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Digest of the run that nothing happened to."""
    out = tmp_path_factory.mktemp("alone")
    run(mpich, Layout((4,)), "sphere.toml", out, *SLOW)
    return digest(out)


@pytest.mark.parametrize("victim", [0, 3], ids=["rank 0", "a leader"])
def test_silent_node_ends_the_job_and_the_run_resumes_exactly(
    mpi: Mpi, mpich: Mpi, tmp_path: Path, alone: str, victim: int
) -> None:
    asked = tmp_path / "asked"
    env = {**BEAT, "GAMAML_RESTART_FILE": str(asked)}
    with mpi_job(words("sphere.toml", tmp_path, *SLOW), ranks=4, nodes=NODES, mpi=mpi, cwd=PROGRAMS, env=env) as job:
        job.wait_until(lambda: (tmp_path / "run.h5").exists() and "gen 1/" in job.stdout)
        os.kill(job.ranks()[victim], signal.SIGSTOP)
        stopped = time.monotonic()
        finished = job.wait(60)
        seconds = time.monotonic() - stopped
    assert finished.returncode != 0
    assert seconds < LIMIT + 15
    assert "expected a sign of life within 3 s, got none on" in finished.stderr
    # Rank 0 asks, beside which the job script runs; where that node is lost, SLURM itself requeues.
    assert asked.exists() == (victim != 0)
    run(mpich, Layout((4,)), "sphere.toml", tmp_path, "--resume", *SLOW)
    assert digest(tmp_path) == alone


def test_restart_is_not_asked_for_when_the_last_two_were_in_vain(mpich: Mpi, tmp_path: Path) -> None:
    long = settings(["task.seconds=2"])
    asked = tmp_path / "asked"
    env = {**BEAT, "GAMAML_RESTART_FILE": str(asked)}
    command = words("sphere.toml", tmp_path, "--resume", *long)
    for _ in range(2):
        with mpi_job(command, ranks=2, nodes=(1, 1), mpi=mpich, cwd=PROGRAMS) as job:
            job.wait_until((tmp_path / "run.h5").exists)
            time.sleep(0.5)
        (tmp_path / "run.h5").unlink()
    with mpi_job(command, ranks=2, nodes=(1, 1), mpi=mpich, cwd=PROGRAMS, env=env) as job:
        job.wait_until((tmp_path / "run.h5").exists)
        time.sleep(0.5)
        os.kill(job.ranks()[1], signal.SIGSTOP)
        finished = job.wait(60)
    assert "expected a sign of life within 3 s" in finished.stderr
    assert not asked.exists()


def test_evaluation_longer_than_the_limit_is_no_silence(mpi: Mpi, tmp_path: Path) -> None:
    # One call that leaves the interpreter to the other threads, as those of XLA and NumPy do.
    long = settings(["task.seconds=7", "ga.population_size=2", "ga.num_parents=1"])
    once = settings(["ga.elite.candidates=0", "stop.generations=1"])
    run_mpi(words("sphere.toml", tmp_path, *long, *once), ranks=2, nodes=(1, 1), mpi=mpi, cwd=PROGRAMS, env=BEAT)


def test_limit_that_is_no_number_is_refused_before_anything_starts(mpich: Mpi, tmp_path: Path) -> None:
    bad = {"GAMAML_HEARTBEAT_SECONDS": "soon"}
    finished = run_mpi(words("sphere.toml", tmp_path), ranks=2, mpi=mpich, cwd=PROGRAMS, env=bad, exit_code=2)
    assert "GAMAML_HEARTBEAT_SECONDS='soon': expected seconds of silence" in finished.stderr
    assert not list(tmp_path.iterdir())
