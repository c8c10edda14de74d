"""`gamaml submit` to a real SLURM: from the command to finished files, and what SLURM refuses."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from jobs import ENVIRONMENT, PROGRAMS, ROOT, Jobs, digest

SUBMIT = ["submit", "slow.toml", "--site", "local", "--nodes", "2", "--ranks-per-node", "2", "--time", "3"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder: a config, its task, and the sites of a checkout."""
    for source in (PROGRAMS / "slow.py", PROGRAMS / "slow.toml", ROOT / "jobscripts"):
        (tmp_path / source.name).symlink_to(source)
    return tmp_path


def on_login_node(jobs: Jobs, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run gamaml as a user of the cluster would."""
    environment = {**os.environ, **jobs.cluster.variables}
    command = [ENVIRONMENT / "bin" / "gamaml", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def test_submitted_sweep_ends_in_the_files_of_one_rank(jobs: Jobs, folder: Path, expected: list[str]) -> None:
    out = folder / "runs"
    submitted = on_login_node(jobs, folder, *SUBMIT, "--seeds", "0-1", "--populations-per-job", "1")
    assert submitted.returncode == 0, submitted.stderr
    assert "slow: 2 runs in an array of 2 jobs" in submitted.stdout
    number = re.search(r"submitted as job (\d+)", submitted.stdout)
    assert number is not None
    queue = Jobs(jobs.cluster, out)
    for task in range(2):
        queue.wait(f"{number[1]}_{task}", seconds=150)
        assert "4 ranks on 2 nodes" in queue.log(f"{number[1]}_{task}")
    assert [digest(out / f"slow-seed{seed}.h5") for seed in range(2)] == expected[:2]
    rows = on_login_node(jobs, folder, "status", "runs").stdout.splitlines()[1:]
    assert [row.split()[:2] for row in rows] == [["slow-seed0", "40/40"], ["slow-seed1", "40/40"]]
    assert all("finished" in row for row in rows)


def test_slurms_reason_for_a_refusal_is_one_line(jobs: Jobs, folder: Path) -> None:
    refused = on_login_node(jobs, folder, *SUBMIT, "--partition", "nowhere")
    assert refused.returncode == 1
    assert refused.stderr.startswith("gamaml: error: sbatch: expected runs/slow.sbatch to be accepted, got: ")
    assert "invalid partition specified: nowhere" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert "submitted" not in refused.stdout
