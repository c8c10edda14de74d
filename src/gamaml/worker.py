"""What a rank does with the items that it claims from one population: decode, evaluate, record."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from gamaml import ga
from gamaml.config import Config
from gamaml.evaluate import Address, child_key, evaluate, reevaluation_key
from gamaml.noise import NoiseTable
from gamaml.parallel.board import Claim, Kind
from gamaml.parallel.windows import SharedWindow
from gamaml.population import Candidate, GAState, candidate_at, decode, record_dtype
from gamaml.runlog import CurrentFile
from gamaml.types import Float32Array, Problem, Records

log = logging.getLogger(__name__)


class Worker:
    """One population's work on one rank.

    Args:
        config: the population's config.
        problem: its fitness function.
        noise: the node's noise table.
        window: the window that holds `parents`.
        parents: float32[2, num_parents, num_params], the node's two buffers of decoded parents.
        path: the run file, named in errors.
        rank: world rank.
        host: this host.
    """

    def __init__(
        self,
        config: Config,
        problem: Problem,
        noise: NoiseTable,
        window: SharedWindow,
        parents: Float32Array,
        path: Path,
        rank: int,
        host: str,
    ) -> None:
        self._config = config
        self._problem = problem
        self._noise = noise
        self._window = window
        self._parents = parents
        self._path = path
        self._rank = rank
        self._host = host
        self._params = np.empty(problem.num_params, np.float32)
        self._decoded: tuple[int, Candidate] | None = None
        self._current: CurrentFile | None = None
        self._num_offsets = config.noise.size - problem.num_params + 1

    def report_to(self, folder: Path, node: int, rank_in_node: int) -> None:
        """Keep a note of the evaluation in progress in the run's folder, for the case that this process is killed."""
        try:
            self._current = CurrentFile(folder, node, rank_in_node, self._rank)
        except OSError as error:
            log.warning("%s: cannot note what rank %d evaluates: %s", folder, self._rank, error)

    def close(self) -> None:
        """Close what `report_to` opened."""
        if self._current is not None:
            self._current.close()

    def carry_out(self, claim: Claim) -> Records | None:
        """Do the claimed items.

        Returns:
            One record per item, None for items that have none (decoding).

        Raises:
            EvaluationError: the problem raised.
        """
        if claim.batch.kind is Kind.DECODE:
            self._decode_parents(claim)
            return None
        self._window.sync()
        records = np.zeros(len(claim.items), record_dtype(self._problem.num_rounds, self._problem.scalars))
        for position, item in enumerate(claim.items):
            records[position] = self._evaluate(claim, int(item))
        if self._current is not None:
            self._current.write(claim.batch.generation, "idle")
        return records

    def _decode_parents(self, claim: Claim) -> None:
        target, source = self._parents[claim.batch.buffer], self._parents[1 - claim.batch.buffer]
        self._window.sync()
        for slot in claim.items:
            decode(candidate_at(claim.batch.table, slot), source, self._noise, self._problem, target[slot])
        self._window.sync()

    def _evaluate(self, claim: Claim, item: int) -> Records:
        config, batch, generation = self._config, claim.batch, claim.batch.generation
        if batch.kind is Kind.CHILDREN:
            state = GAState(config.seed, self._num_offsets, generation, batch.table)
            candidate = ga.propose(state, config.ga, item)
            key = child_key(config, generation, item)
            address = Address(self._path, config.seed, generation, item)
        else:
            number, episode = divmod(item, config.ga.elite.episodes)
            candidate = candidate_at(batch.table, number)
            key = reevaluation_key(config, generation, episode)
            address = Address(self._path, config.seed, generation, number, episode)
        if self._current is not None:
            phase = "child" if address.episode is None else "re-evaluation"
            self._current.write(generation, phase, address.index, address.episode or 0)
        # The re-evaluations of one candidate follow each other: decode it once.
        if self._decoded != (generation, candidate):
            self._decoded = None
            decode(candidate, self._parents[batch.buffer], self._noise, self._problem, self._params)
            self._decoded = (generation, candidate)
        return evaluate(self._problem, self._params, key, item=item, address=address, rank=self._rank, host=self._host)
