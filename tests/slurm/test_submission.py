"""`gamaml submit` to a real SLURM: from the command to finished files, and what SLURM refuses."""

from pathlib import Path

from jobs import Jobs, digest, job_id, login_node

from cluster import CLOSED, PARTITION

SUBMIT = ["submit", "slow.toml", "--site", "local", "--nodes", "2", "--ranks-per-node", "2", "--time", "3"]


def test_submitted_sweep_ends_in_the_files_of_one_rank(jobs: Jobs, tmp_path: Path, expected: list[str]) -> None:
    out = tmp_path / "runs"
    submitted = login_node(jobs.cluster, tmp_path, *SUBMIT, "--seeds", "0-1", "--populations-per-job", "1")
    assert submitted.returncode == 0, submitted.stderr
    assert "slow: 2 runs in an array of 2 jobs" in submitted.stdout
    number = job_id(submitted)
    queue = Jobs(jobs.cluster, out)
    for task in range(2):
        queue.wait(f"{number}_{task}", seconds=150)
        assert "4 ranks on 2 nodes" in queue.log(f"{number}_{task}")
    assert [digest(out / f"slow-seed{seed}.h5") for seed in range(2)] == expected[:2]
    rows = login_node(jobs.cluster, tmp_path, "status", "runs").stdout.splitlines()[1:]
    assert [row.split()[:2] for row in rows] == [["slow-seed0", "40/40"], ["slow-seed1", "40/40"]]
    assert all("finished" in row for row in rows)


def test_slurms_reason_for_a_refusal_is_one_line(jobs: Jobs, tmp_path: Path) -> None:
    refused = login_node(jobs.cluster, tmp_path, *SUBMIT, "--partition", "nowhere")
    assert refused.returncode == 1
    assert refused.stderr.startswith("gamaml: error: sbatch: expected runs/slow.sbatch to be accepted, got: ")
    assert "invalid partition specified: nowhere" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert "submitted" not in refused.stdout


def test_account_that_slurm_refuses_is_told_in_one_line(jobs: Jobs, tmp_path: Path) -> None:
    site = tmp_path / "closed.env"
    site.write_text(f'SITE_LAUNCH="srun --mpi=pmi2"\nSITE_PARTITION={CLOSED}\nSITE_ACCOUNT=nobody\n')
    submit = ["submit", "slow.toml", "--site", str(site), "--nodes", "1", "--ranks-per-node", "2", "--time", "10"]
    refused = login_node(jobs.cluster, tmp_path, *submit)
    assert refused.returncode == 1
    assert "#SBATCH --account=nobody" in (tmp_path / "runs" / "slow.sbatch").read_text().splitlines(), refused.stderr
    assert refused.stderr.startswith("gamaml: error: sbatch: expected runs/slow.sbatch to be accepted, got: ")
    assert "Invalid account or account/partition combination specified" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert "submitted" not in refused.stdout
    # Where SLURM asks for no account, the same one is no obstacle.
    accepted = login_node(jobs.cluster, tmp_path, *submit, "--partition", PARTITION)
    number = job_id(accepted)
    assert jobs.show(number)["Account"] == "nobody"
    jobs.cluster.command("scancel", number)
