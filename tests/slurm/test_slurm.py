"""Jobs under a real slurmctld: where the ranks are, and what requeueing, cancelling and time limits leave."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from jobs import SHORT_ADDRESS, Jobs, digest, journalled, wait_until

from cluster import Cluster

START_NBYTES = 3000
"""More than the journal of a run that has not yet finished a generation."""

CHECKPOINTING = """
ask() { kill -USR1 "$step" 2>/dev/null; }
trap ask USR1 TERM
srun --mpi=pmi2 --kill-on-bad-exit=1 gamaml run slow.toml --out OUT --resume ARGUMENTS &
step=$!
while :; do wait "$step"; status=$?; kill -0 "$step" 2>/dev/null || break; done
job=$SLURM_JOB_ID
[[ -z ${SLURM_ARRAY_JOB_ID:-} ]] || job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
echo "start ${SLURM_RESTART_COUNT:-0} ends with $status"
[[ $status != 75 || $(squeue -h -j "$job" -o %T) != RUNNING ]] || scontrol requeue "$job"
exit "$status"
"""
"""What a job script has to do: pass the signal on, and have itself requeued."""


def script(out: Path, arguments: str = "") -> str:
    return f"export {SHORT_ADDRESS}" + CHECKPOINTING.replace("OUT", str(out)).replace("ARGUMENTS", arguments)


@pytest.fixture(scope="module", autouse=True)
def limited(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Jobs, str, Path]]:
    """A job that reaches its time limit again and again, beside the other tests, since that takes minutes."""
    folder = tmp_path_factory.mktemp("limited")
    jobs = Jobs(cluster, folder)
    # SLURM looks at time limits every 30 s, so the signal comes 20 to 50 s after the start: long before the end, at
    # the pace of the first three starts.
    options = ["--nodes=1", "--ntasks-per-node=2", "--time=1", "--signal=B:USR1@40", "--requeue", "--job-name=limited"]
    pace = '[[ "${SLURM_RESTART_COUNT:-0}" -ge 3 ]] || export SLOW_SECONDS=0.4\n'
    job = jobs.submit(pace + script(folder), *options)
    yield jobs, job, folder / "slow-seed0.h5"


@pytest.mark.parametrize("launch", [f"{SHORT_ADDRESS} srun --mpi=pmi2", "mpiexec"], ids=["srun", "mpiexec"])
def test_two_nodes_of_slurm_are_two_nodes_of_gamaml(
    jobs: Jobs, tmp_path: Path, expected: list[str], launch: str
) -> None:
    body = f"{launch} gamaml run slow.toml --out {tmp_path} --resume"
    options = ["--nodes=2", "--ntasks-per-node=2"]
    job = jobs.start(lambda: jobs.submit(body, *options), lambda: journalled(tmp_path / "slow-seed0.h5") > 0)
    jobs.wait(job)
    assert "4 ranks on 2 nodes" in jobs.log(job)
    assert digest(tmp_path / "slow-seed0.h5") == expected[0]


def test_requeued_task_of_an_array_leaves_the_others_alone(jobs: Jobs, tmp_path: Path, expected: list[str]) -> None:
    body = "export SLOW_SECONDS=0.005\n" + script(tmp_path, '--seeds "$SLURM_ARRAY_TASK_ID"')
    array = jobs.submit(body, "--array=0-5", "--ntasks=2", "--requeue")
    wait_until(lambda: journalled(tmp_path / "slow-seed3.h5") > START_NBYTES, "the first generations of task 3")
    assert jobs.cluster.command("scontrol", "requeue", f"{array}_3").returncode == 0
    records = [jobs.wait(f"{array}_{task}", seconds=120) for task in range(6)]
    assert [record["Restarts"] for record in records] == ["0", "0", "0", "1", "0", "0"]
    assert [digest(tmp_path / f"slow-seed{seed}.h5") for seed in range(6)] == expected


def test_cancelled_job_leaves_a_run_to_go_on_with_and_no_process(
    jobs: Jobs, tmp_path: Path, expected: list[str]
) -> None:
    options = ["--nodes=2", "--ntasks-per-node=2", "--requeue"]
    body, run = "export SLOW_SECONDS=0.05\n" + script(tmp_path), tmp_path / "slow-seed0.h5"
    job = jobs.start(lambda: jobs.submit(body, *options), lambda: journalled(run) > START_NBYTES)
    assert jobs.processes(job)
    assert jobs.cluster.command("scancel", job).returncode == 0
    jobs.wait(job, "CANCELLED")
    wait_until(lambda: not jobs.processes(job), "the end of all processes", 20)
    time.sleep(2)
    assert jobs.show(job)["JobState"] == "CANCELLED"
    left = journalled(run)
    jobs.wait(jobs.start(lambda: jobs.submit(script(tmp_path), *options), lambda: journalled(run) > left))
    assert digest(run) == expected[0]


def test_job_that_reaches_its_time_limit_goes_on_until_it_is_done(
    limited: tuple[Jobs, str, Path], expected: list[str]
) -> None:
    jobs, job, run = limited
    assert jobs.wait(job, seconds=420)["Restarts"] == "3"
    endings = [line for line in jobs.log(job).splitlines() if " ends with " in line]
    assert endings == [f"start {start} ends with {75 if start < 3 else 0}" for start in range(4)]
    assert digest(run) == expected[0]
