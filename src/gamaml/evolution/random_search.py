"""Random search: every child comes from the root, and the best one found so far is kept as the elite."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from gamaml.evolution.entries import INITIAL_STD, Entries
from gamaml.evolution.genetic_algorithm import GeneticAlgorithm, proposals
from gamaml.evolution.strategy import State


@dataclass(frozen=True)
class RandomSearch(GeneticAlgorithm):
    """The GA with one parent, the elite, which has no descendants."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "config", dataclasses.replace(self.config, num_parents=1, recombine=1))

    def children(self, state: State) -> Entries:
        """Return the generation's children, all from the root."""
        return proposals(self.config, state.seed, state.generation, 0, INITIAL_STD, state.space)

    def std(self, state: State) -> float:
        """Return the std of the noise from which initial parameters are made."""
        return INITIAL_STD

    def describe(self) -> dict[str, str]:
        """Return the settings in words."""
        size = self.config.population_size
        return {"random search": f"{size} children, all from the root", **self.describe_elite()}
