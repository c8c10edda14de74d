"""The board, the relay and the windows, driven directly under every MPI."""

from pathlib import Path

import pytest
from harness import Layout, Mpi, run_mpi

PROGRAMS = Path(__file__).parent / "programs"


@pytest.mark.parametrize("nodes", [(1, 1), (1, 1, 1)])
def test_populations_that_finish_in_opposite_order_on_the_leaders_are_not_mixed(
    mpi: Mpi, nodes: tuple[int, ...]
) -> None:
    finished = run_mpi(PROGRAMS / "orders.py", ranks=len(nodes), nodes=nodes, mpi=mpi)
    assert finished.stdout == "complete [49, 49]\n"


def test_rank_delayed_across_a_batch_boundary_takes_nothing_and_loses_nothing(mpi: Mpi) -> None:
    finished = run_mpi(PROGRAMS / "delayed.py", ranks=2, mpi=mpi)
    assert finished.stdout == "nothing mixed, nothing lost\n"


@pytest.mark.parametrize("layout", [Layout((1,)), Layout((5,)), Layout((3, 2))], ids=str)
def test_every_result_is_delivered_exactly_once(mpi: Mpi, layout: Layout) -> None:
    finished = run_mpi(PROGRAMS / "stress.py", ranks=layout.ranks, nodes=layout.nodes, mpi=mpi)
    assert finished.stdout == "delivered everything once\n"
