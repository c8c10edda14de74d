"""The memory of a population on every node, from its config alone. It imports no MPI, so login nodes can ask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gamaml.config import Config
from gamaml.evolution import chosen_strategy
from gamaml.evolution.records import record_dtype
from gamaml.job.board_sizes import BoardSizes
from gamaml.job.job_info import JobInfo
from gamaml.types import Problem


class Layout:
    """Sizes and shapes that follow from one population's config and problem.

    Attributes:
        strategy: the config's strategy.
        initial: its state before generation 0.
        board: sizes of the population's boards.
        vectors_shape: shape of a node's two buffers of vectors.
        vectors_nbytes: bytes of both.

    Args:
        config: the config.
        problem: the config's fitness function.
    """

    def __init__(self, config: Config, problem: Problem) -> None:
        self.strategy = chosen_strategy.make(config)
        sizes, num_params = self.strategy.sizes, problem.num_params
        self.initial = self.strategy.start(config.seed, chosen_strategy.space_of(config, num_params))
        num_parts = sizes.num_parts(num_params, sizes.num_entries)
        self.board = BoardSizes(
            capacity=max(sizes.population_size, sizes.num_reevaluations, num_parts),
            num_entries=max(sizes.num_entries, sizes.num_contenders),
            record_dtype=record_dtype(problem.num_rounds, problem.scalars),
            entry_dtype=sizes.entry_dtype,
        )
        self.vectors_shape = (2, sizes.num_vectors, num_params)
        self.vectors_nbytes = 4 * int(np.prod(self.vectors_shape))


def job_info(noise_size: int, layouts: Sequence[Layout], *, num_ranks: int, num_nodes: int) -> JobInfo:
    """Return the memory that a job takes.

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
        population_nbytes=tuple(layout.vectors_nbytes + layout.board.nbytes for layout in layouts),
    )
