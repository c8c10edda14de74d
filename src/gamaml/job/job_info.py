"""The size of a job: ranks, nodes and memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class JobInfo:
    """The size of a job, known before anything is allocated.

    Attributes:
        num_ranks: MPI ranks.
        num_nodes: nodes; each holds the memory below once.
        table_nbytes: bytes of the noise table.
        population_nbytes: bytes of vectors and boards, for each population.
    """

    num_ranks: int
    num_nodes: int
    table_nbytes: int
    population_nbytes: tuple[int, ...]

    @property
    def node_nbytes(self) -> int:
        """Bytes that every node holds."""
        return self.table_nbytes + sum(self.population_nbytes)
