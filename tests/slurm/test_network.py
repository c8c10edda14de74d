"""Nodes with addresses, hostnames and memory of their own, and TCP between them, of which one can be cut off."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from jobs import ENVIRONMENT, PROGRAMS, ROOT, SHORT_ADDRESS, Jobs, digest, job_id, journalled, login_node, wait_until

from cluster import Cluster

START_NBYTES = 3000
LIMIT = 4.0
REACTION = 15.0
"""What the end takes after the limit: the others leave, and the launcher is killed 9 s later at the most."""
SCRIPT_REACTION = 30.0
"""What it takes where the job script has to kill the launcher, some 15 s after the limit."""


@contextlib.contextmanager
def started(
    network: Cluster, sizes: tuple[int, ...], *words: str | Path, **variables: str
) -> Iterator[subprocess.Popen[str]]:
    """Start gamaml under MPICH's mpiexec on the network's nodes; all that is left is killed on leaving."""
    hosts = ",".join(f"{network.address(number)}:{size}" for number, size in enumerate(sizes, start=1))
    launch = ["-launcher", "ssh", "-launcher-exec", ROOT / "mpi" / "network-node", "-hosts", hosts]
    command = [ENVIRONMENT / "bin" / "mpiexec", *launch, "-n", str(sum(sizes)), ENVIRONMENT / "bin" / "gamaml", *words]
    with subprocess.Popen(
        [str(word) for word in command],
        cwd=PROGRAMS,
        env={**os.environ, **network.variables, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def manage_link(network: Cluster, node: str, state: str) -> None:
    subprocess.run([ROOT / "mpi" / "cluster", "link", network.folder, node, state], check=True, timeout=30)


def test_uneven_nodes_across_a_network_give_the_digest_of_one_rank(
    network: Cluster, tmp_path: Path, expected: list[str]
) -> None:
    with started(network, (2, 1, 3), "run", "slow.toml", "--out", tmp_path) as process:
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert "6 ranks on 3 nodes" in said
    assert digest(tmp_path / "slow-seed0.h5") == expected[0]


def test_preflight_names_the_hosts_of_a_network(network: Cluster, tmp_path: Path) -> None:
    with started(network, (2, 1, 3), "preflight", "slow.toml", "--out", tmp_path) as process:
        said, _ = process.communicate(timeout=120)
    assert "node 0 on n1: 2 (0-1); node 1 on n2: 1 (2); node 2 on n3: 3 (3-5)" in said
    assert "between 3 nodes" in said
    assert process.returncode == 0, said


@pytest.mark.parametrize("node", ["n1", "n3"], ids=["of rank 0", "of another"])
def test_dead_link_ends_the_job_within_the_limit_and_the_run_resumes_exactly(
    network: Cluster, tmp_path: Path, expected: list[str], node: str
) -> None:
    run = tmp_path / "slow-seed0.h5"
    pace = {"SLOW_SECONDS": "0.1", "GAMAML_HEARTBEAT_SECONDS": str(LIMIT)}
    with started(network, (2, 1, 2), "run", "slow.toml", "--out", tmp_path, **pace) as process:
        try:
            wait_until(lambda: journalled(run) > START_NBYTES, "the first generations")
            manage_link(network, node, "down")
            cut = time.monotonic()
            said, _ = process.communicate(timeout=60)
            assert time.monotonic() - cut < LIMIT + REACTION
            assert process.returncode != 0
            assert "expected a sign of life within 4 s" in said
            wait_until(lambda: not survivors(network), "the end of the ranks that were cut off", LIMIT + REACTION)
        finally:
            manage_link(network, node, "up")
    with started(network, (2, 1, 2), "run", "slow.toml", "--out", tmp_path, "--resume") as process:
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert digest(run) == expected[0]


def test_uneven_nodes_of_slurm_give_the_digest_of_one_rank(
    network: Cluster, tmp_path: Path, expected: list[str]
) -> None:
    jobs = Jobs(network, tmp_path)
    job = jobs.submit(f"mpiexec gamaml run slow.toml --out {tmp_path}", "--nodes=3", "--ntasks=5")
    jobs.wait(job)
    assert "5 ranks on 3 nodes" in jobs.log(job)
    assert digest(tmp_path / "slow-seed0.h5") == expected[0]


@pytest.mark.parametrize(
    ("launch", "node"),
    [("mpiexec", "n3"), ("srun --mpi=pmi2", "n3"), ("mpiexec", "n1")],
    ids=["mpiexec", "srun", "mpiexec, of rank 0"],
)
def test_job_with_a_dead_link_requeues_itself_and_ends_in_the_same_file(
    network: Cluster, tmp_path: Path, expected: list[str], launch: str, node: str
) -> None:
    facts = [f'SITE_LAUNCH="{launch}"', "SITE_PARTITION=local", "SITE_SIGNAL_SECONDS=30"]
    facts += [f"GAMAML_HEARTBEAT_SECONDS={LIMIT}", "SLOW_SECONDS=0.06"]
    facts += [SHORT_ADDRESS] if launch.startswith("srun") else []
    (tmp_path / "cut.env").write_text("\n".join(facts))
    where = ["--site", "./cut.env", "--nodes", "3", "--ranks-per-node", "2", "--time", "5"]
    jobs, run = Jobs(network, tmp_path / "runs"), tmp_path / "runs" / "slow-seed0.h5"

    def submit() -> str:
        return job_id(login_node(network, tmp_path, "submit", "slow.toml", *where))

    job = jobs.start(submit, lambda: journalled(run) > START_NBYTES)
    try:
        manage_link(network, node, "down")
        wait_until(lambda: not survivors(network), "the end of the job", LIMIT + SCRIPT_REACTION)
    except BaseException:
        network.command("scancel", job)
        raise
    finally:
        manage_link(network, node, "up")
    assert jobs.wait(job, seconds=240)["Restarts"] == "1", jobs.log(job)
    assert "expected a sign of life within 4 s" in jobs.log(job)
    assert "checkpointed and requeued" in jobs.log(job)
    assert digest(run) == expected[0]


def survivors(network: Cluster) -> list[str]:
    """Return the ranks that live in the network's namespaces."""
    found: list[str] = []
    for node in network.nodes:
        listing = ["ip", "netns", "pids", f"{network.name}-{node}"]
        for pid in subprocess.run(listing, capture_output=True, text=True, check=True).stdout.split():
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
                # By whole words: proxies of the launcher live on, and the folder of the tests may have any name.
                if "run" in words and "gamaml" in [Path(word).name for word in words]:
                    found.append(" ".join(words))
    return found
