"""Clusters for the tests: a real slurmctld and slurmd's on this machine."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from jobs import ENVIRONMENT, ROOT, Jobs, digest, gamaml

import cluster as clusters


def manage(*words: str | Path) -> None:
    """Run mpi/cluster."""
    done = subprocess.run([ROOT / "mpi" / "cluster", *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def started(folder: Path, nodes: int, network: bool) -> Iterator[clusters.Cluster]:
    """Start a cluster and stop it again; skip where none can be started."""
    if not (ENVIRONMENT / "bin" / "mpiexec").exists():
        pytest.skip(f"needs MPICH in {ENVIRONMENT}; `make test` sets it up, or set GAMAML_TEST_MPICH")
    reason = clusters.obstacle(network)
    if reason is not None:
        pytest.skip(reason)
    manage("start", folder, "--nodes", str(nodes), *(["--network"] if network else []))
    try:
        yield clusters.Cluster(folder, nodes, network)
    finally:
        manage("stop", folder)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[clusters.Cluster]:
    """Four nodes that share address, hostname and /dev/shm."""
    yield from started(tmp_path_factory.mktemp("slurm") / "cluster", nodes=4, network=False)


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[clusters.Cluster]:
    """Three nodes with TCP between them."""
    yield from started(tmp_path_factory.mktemp("network") / "cluster", nodes=3, network=True)


@pytest.fixture
def jobs(cluster: clusters.Cluster, tmp_path: Path) -> Jobs:
    """The queue of the four nodes."""
    return Jobs(cluster, tmp_path)


@pytest.fixture(scope="session")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Digests of the slow runs of seeds 0 to 5, from one rank that does not sleep."""
    out = tmp_path_factory.mktemp("expected")
    gamaml("run", "slow.toml", "--seeds", "0-5", "--out", out)
    return [digest(out / f"slow-seed{seed}.h5") for seed in range(6)]
