"""One population of a job before anything is allocated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gamaml.config import Config
from gamaml.evolution.strategy import Strategy
from gamaml.job.sizes import Layout
from gamaml.problems import CompleteProblem


@dataclass(frozen=True)
class Plan:
    """One population's config, problem, run file and sizes.

    Attributes:
        index: its index in the job.
        config: its config.
        problem: its fitness function.
        path: its run file.
        layout: the sizes that follow from config and problem.
    """

    index: int
    config: Config
    problem: CompleteProblem
    path: Path
    layout: Layout

    @property
    def strategy(self) -> Strategy:
        """The strategy of the config."""
        return self.layout.strategy

    @property
    def generation_nbytes(self) -> int:
        """The maximum number of bytes that a generation adds to the journal, without its vectors."""
        sizes, board = self.strategy.sizes, self.layout.board
        num_records = sizes.population_size + sizes.num_reevaluations
        return num_records * board.record_dtype.itemsize + sizes.num_entries * board.entry_dtype.itemsize


def plans(configs: Sequence[Config], problems: Sequence[CompleteProblem], paths: Sequence[Path]) -> list[Plan]:
    """Return one plan per population."""
    return [
        Plan(index, config, problem, path, Layout(config, problem))
        for index, (config, problem, path) in enumerate(zip(configs, problems, paths, strict=True))
    ]
