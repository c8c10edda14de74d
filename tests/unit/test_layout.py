from __future__ import annotations

import subprocess
import sys

import numpy as np

from gamaml import config as cfg
from gamaml.evolution.entries import ENTRY_DTYPE, STD
from gamaml.evolution.records import record_dtype
from gamaml.job.board_sizes import BoardSizes, aligned
from gamaml.job.sizes import Layout, job_info


class Problem:
    num_params = 1000
    num_rounds = 1
    scalars = ()


def a_config() -> cfg.Config:
    ga = {"population_size": 40, "num_parents": 4, "elite": {"candidates": 2, "episodes": 30}}
    return cfg.from_mapping({"task": {"name": "x"}, "stop": {"generations": 1}, "ga": ga, "noise": {"size": 5000}})


def test_a_population_takes_two_buffers_of_vectors_and_a_board() -> None:
    layout = Layout(a_config(), Problem())  # type: ignore[arg-type]
    assert layout.vectors_nbytes == 2 * 4 * 1000 * 4
    assert layout.board.capacity == 60  # 2 candidates x 30 episodes are more than 40 children
    dtype = record_dtype(1, ())
    three_words_and_descriptor, table, items, ready = (
        3 * 64 + 64,
        aligned(4 * layout.board.entry_dtype.itemsize),
        256,
        512,
    )
    records = aligned(60 * dtype.itemsize)
    assert layout.board.nbytes == three_words_and_descriptor + table + items + ready + records
    assert layout.board == BoardSizes(60, 4, np.dtype(dtype), np.dtype([*ENTRY_DTYPE.descr, STD]))


def test_a_node_holds_one_table_and_every_population() -> None:
    layout = Layout(a_config(), Problem())  # type: ignore[arg-type]
    info = job_info(5000, [layout, layout], num_ranks=6, num_nodes=2)
    assert info.node_nbytes == 4 * 5000 + 2 * (layout.vectors_nbytes + layout.board.nbytes)


def test_sizes_are_known_without_mpi() -> None:
    script = "import sys, gamaml.job.sizes; sys.exit('mpi4py' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
