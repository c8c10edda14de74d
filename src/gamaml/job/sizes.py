"""What a population takes on every node, from its config alone. Imports no MPI, so that a login node can ask too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gamaml.config import Config
from gamaml.evolution import chosen_strategy
from gamaml.evolution.entries import ENTRY_DTYPE
from gamaml.evolution.records import record_dtype
from gamaml.job.job_info import JobInfo
from gamaml.types import Problem

LINE = 64
"""Bytes of a cache line; words that different ranks write lie on different ones."""

DESCRIPTOR = 3 * LINE
"""Where a board's descriptor begins, after its three atomic words."""

DESCRIPTOR_WORDS = 8


class Layout:
    """Sizes and shapes that follow from one population's config and problem."""

    def __init__(self, config: Config, problem: Problem) -> None:
        self.strategy = chosen_strategy.make(config)
        sizes, num_params = self.strategy.sizes, problem.num_params
        self.initial = self.strategy.start(config.seed, chosen_strategy.space_of(config, num_params))
        self.dtype = record_dtype(problem.num_rounds, problem.scalars)
        self.table_size = max(sizes.num_entries, sizes.num_contenders)
        self.table_dtype = sizes.entry_dtype
        num_parts = sizes.num_parts(num_params, sizes.num_entries)
        self.capacity = max(sizes.population_size, sizes.num_reevaluations, num_parts)
        self.board_nbytes = board_nbytes(self.capacity, self.table_size, self.dtype, self.table_dtype)
        self.vectors_shape = (2, sizes.num_vectors, num_params)
        self.vectors_nbytes = 4 * int(np.prod(self.vectors_shape))


def board_nbytes(
    capacity: int, table_size: int, dtype: np.dtype[np.void], table_dtype: np.dtype[np.void] = ENTRY_DTYPE
) -> int:
    """Return the bytes that a board takes, a multiple of 64; the arguments are those of `Board`."""
    parts = (8 * DESCRIPTOR_WORDS, table_dtype.itemsize * table_size, 4 * capacity, 8 * capacity)
    return DESCRIPTOR + sum(map(aligned, parts)) + aligned(dtype.itemsize * capacity)


def aligned(position: int) -> int:
    """Return the next multiple of a cache line."""
    return -(-position // LINE) * LINE


def job_info(noise_size: int, layouts: Sequence[Layout], *, num_ranks: int, num_nodes: int) -> JobInfo:
    """Return what a job takes.

    Args:
        noise_size: float32 entries of the noise table.
        layouts: one per population.
        num_ranks: MPI ranks.
        num_nodes: nodes.
    """
    return JobInfo(
        num_ranks=num_ranks,
        num_nodes=num_nodes,
        table_nbytes=4 * noise_size,
        population_nbytes=tuple(layout.vectors_nbytes + layout.board_nbytes for layout in layouts),
    )
