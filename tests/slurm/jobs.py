"""Jobs on the test cluster: what they are given, and how they are watched."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster import Cluster

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).parent / "programs"
ENVIRONMENT = Path(os.environ.get("GAMAML_TEST_MPICH", ROOT / ".venv"))

SHORT_ADDRESS = "MPIR_CVAR_CH4_NETMOD=ofi"
"""Without it MPICH under `srun --mpi=pmi2` now and then tells SLURM more than a line holds: docs/slurm.md."""

ENDS = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}


class Jobs:
    """The queue of one cluster.

    Args:
        cluster: where to submit.
        folder: what the jobs print goes here.
    """

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder

    def submit(self, body: str, *options: str) -> str:
        """Submit a script of bash; its programs run in `PROGRAMS`, on the environment's gamaml. Return the job's id."""
        script = self.folder / "job.sbatch"
        path = f"{ENVIRONMENT / 'bin'}:$PATH"
        script.write_text(f"#!/bin/bash\nset -uo pipefail\nexport PATH={path}\n{body}\n")
        fixed = ["--parsable", f"--chdir={PROGRAMS}", f"--output={self.folder}/%x-%A-%a.log", "--open-mode=append"]
        done = self.cluster.command("sbatch", *fixed, *options, str(script))
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def show(self, job: str) -> dict[str, str]:
        """Return SLURM's record of a job."""
        said = self.cluster.command("scontrol", "show", "job", "--oneliner", job).stdout
        return dict(word.split("=", 1) for word in said.split() if "=" in word)

    def wait(self, job: str, state: str = "COMPLETED", seconds: float = 60.0) -> dict[str, str]:
        """Wait until a job has come to a state, and return its record; fail with its log if it comes to another end."""
        deadline = time.monotonic() + seconds
        while (record := self.show(job)).get("JobState") != state:
            if record.get("JobState") in ENDS or time.monotonic() > deadline:
                pytest.fail(
                    f"job {job}: expected {state}, got {record.get('JobState')}: {self.log(job)}", pytrace=False
                )
            time.sleep(0.2)
        return record

    def start(self, submit: Callable[[], str], began: Callable[[], bool], seconds: float = 60.0) -> str:
        """Submit a job, wait until it began, and return its id.

        A start that hangs, as MPICH's under srun does now and then (docs/slurm.md), is given up and repeated twice.
        """
        hung = ""
        for _ in range(3):
            job, deadline = submit(), time.monotonic() + seconds
            while time.monotonic() < deadline:
                if began():
                    return job
                time.sleep(0.1)
            hung = self.log(job)
            self.cluster.command("scancel", job)
            self._wait_for_end(job)
        pytest.fail(f"three jobs did not begin within {seconds} s each; the last: {hung}", pytrace=False)

    def _wait_for_end(self, job: str) -> None:
        deadline = time.monotonic() + 30
        while self.show(job).get("JobState") not in ENDS:
            if time.monotonic() > deadline:
                pytest.fail(f"job {job}: expected its end within 30 s of scancel, got none", pytrace=False)
            time.sleep(0.2)

    def log(self, job: str) -> str:
        """Return what a job, or all tasks of an array, printed so far."""
        paths = sorted(self.folder.glob(f"*-{job.replace('_', '[-_]')}*.log"))
        return "\n".join(path.read_text(errors="replace") for path in paths)

    def processes(self, job: str) -> list[int]:
        """Return the processes of a job on this machine."""
        mark, conf = f"SLURM_JOB_ID={job}", f"SLURM_CONF={self.cluster.configuration}"
        found: list[int] = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    words = (entry / "environ").read_bytes().decode(errors="replace").split("\0")
                    if mark in words and conf in words:
                        found.append(int(entry.name))
        return found


def login_node(cluster: Cluster, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run gamaml as a user of the cluster would, where the slow config and the sites are."""
    for source in (PROGRAMS / "slow.py", PROGRAMS / "slow.toml", ROOT / "jobscripts"):
        if not (folder / source.name).exists():
            (folder / source.name).symlink_to(source)
    command = [ENVIRONMENT / "bin" / "gamaml", *words]
    environment = {**os.environ, **cluster.variables}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def job_id(submitted: subprocess.CompletedProcess[str]) -> str:
    """Return the id of the job that `gamaml submit` tells of."""
    number = re.search(r"submitted as job (\d+)", submitted.stdout)
    assert number is not None, submitted.stderr
    return number[1]


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Wait for a condition; fail the test when it takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: did not come within {seconds} s", pytrace=False)
        time.sleep(0.05)


def gamaml(*words: str | Path) -> str:
    """Run gamaml here, on one rank, and return what it printed."""
    done = subprocess.run(
        [ENVIRONMENT / "bin" / "gamaml", *words], cwd=PROGRAMS, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def digest(run: Path) -> str:
    """Return the digest of a run file."""
    return gamaml("inspect", run, "--digest").strip()


def num_generations(run: Path) -> int:
    """Return how many generations the file of a run holds, 0 while there is none."""
    if not run.with_suffix(".run").exists():
        return 0
    said = re.search(r"(\d+) generations?", gamaml("inspect", run))
    return int(said[1]) if said else 0


def journalled(run: Path) -> int:
    """Return the bytes in a run's journal, 0 before it exists."""
    journal = run.with_suffix(".run") / "journal"
    return journal.stat().st_size if journal.exists() else 0
