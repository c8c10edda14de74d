"""The generation that is being evaluated: its records so far, and its contenders."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gamaml.engine.decisions import Phase
from gamaml.evolution.entries import new_entries
from gamaml.evolution.records import DONE
from gamaml.evolution.strategy import State, Strategy
from gamaml.types import Records


class OpenGeneration:
    """The records of one generation on rank 0, as they arrive.

    Attributes:
        state: the strategy's state.
        children: [population_size], the children's records in index order; missing ones have no flags.
        contenders: the candidates to re-evaluate; empty until all children are evaluated.
        reevaluations: [num_contenders * num_episodes], in index order; missing ones have no flags.

    Args:
        strategy: the population's strategy.
        state: its state.
        dtype: dtype of a record.
    """

    def __init__(self, strategy: Strategy, state: State, dtype: np.dtype[np.void]) -> None:
        self._strategy = strategy
        self.state = state
        self.children: Records = np.zeros(strategy.sizes.population_size, dtype)
        self.contenders = new_entries(0, strategy.sizes.entry_dtype)
        self.reevaluations: Records = np.zeros(0, dtype)
        self.phase = Phase.CHILDREN

    @property
    def awaited(self) -> Records:
        """The children's records or the re-evaluations, whichever are incomplete."""
        return self.children if self.phase is Phase.CHILDREN else self.reevaluations

    @property
    def known(self) -> npt.NDArray[np.int32]:
        """Indices of the awaited records that have arrived."""
        return np.flatnonzero(self.awaited["flags"] & DONE).astype(np.int32)

    @property
    def steps(self) -> int:
        """Environment steps so far, re-evaluations included."""
        return int(self.children["steps"].sum()) + int(self.reevaluations["steps"].sum())

    def add(self, records: Records) -> None:
        """Add awaited records, each with its index."""
        self.awaited[records["index"]] = records
        if self.phase is Phase.CHILDREN and _complete(self.children):
            # Done early, so the ranks need not wait for it between the last result and the next command.
            self.contenders = self._strategy.contenders(self.state, self.children)
            number = len(self.contenders) * self._strategy.sizes.num_episodes
            self.reevaluations = np.zeros(number, self.children.dtype)
            self.phase = Phase.REEVALUATIONS
        if self.phase is Phase.REEVALUATIONS and _complete(self.reevaluations):
            self.phase = Phase.SELECTION


def finished(records: Records) -> Records:
    """Return those records that hold a finished evaluation."""
    return records[(records["flags"] & DONE) != 0]


def _complete(records: Records) -> bool:
    return bool(np.all(records["flags"] & DONE))
