"""What a rank does with the items that it claims from one population: decode, evaluate, record."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gamaml.config import Config
from gamaml.engine.evaluation import (
    Address,
    ChildKeys,
    batch_size,
    evaluate,
    reevaluation_key,
)
from gamaml.evolution import chosen_strategy
from gamaml.evolution.decode import Sources
from gamaml.evolution.entries import Entries
from gamaml.evolution.noise_table import NoiseTable
from gamaml.evolution.records import record_dtype
from gamaml.evolution.strategy import Part, State
from gamaml.job.signals import SignalWatch, Stopped
from gamaml.parallel.board import Batch, Claim, Kind
from gamaml.parallel.windows import SharedWindow
from gamaml.runlog import CurrentFile
from gamaml.types import Float32Array, Problem, Records

log = logging.getLogger(__name__)

_CLAIM_SECONDS = 2e-3
"""Short evaluations are claimed in blocks that last about this long: a claim and its hand-over cost 40 microseconds."""

_CLAIMS_LEFT = 2
"""But each rank of the node shall find this many blocks, so that the last of them end together."""


@dataclass(frozen=True)
class _Generation:
    """What the children of a generation are."""

    number: int
    children: Entries
    keys: ChildKeys


class Worker:
    """One population's work on one rank.

    Args:
        config: the population's config.
        problem: its fitness function.
        noise: the node's noise table.
        window: the window that holds `vectors`.
        vectors: float32[2, num_vectors, num_params], the node's two buffers of vectors.
        watch: breaks off evaluations when the job is to end.
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
        vectors: Float32Array,
        watch: SignalWatch,
        path: Path,
        rank: int,
        host: str,
    ) -> None:
        self._config = config
        self._strategy = chosen_strategy.make(config)
        self._sizes = self._strategy.sizes
        self._problem = problem
        self._noise = noise
        self._window = window
        self._vectors = vectors
        self._space = chosen_strategy.space_of(config, problem.num_params)
        self._watch = watch
        self._path = path
        self._rank = rank
        self._host = host
        self._dtype = record_dtype(problem.num_rounds, problem.scalars)
        self._params = np.empty((batch_size(problem), problem.num_params), np.float32)
        self._decoded: tuple[int, bytes] | None = None
        self._generation: _Generation | None = None
        self._item_seconds: float | None = None
        self._current: CurrentFile | None = None

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

    def claim_size(self, num_left: int, num_ranks: int) -> int:
        """Return how many items to claim at once.

        Args:
            num_left: items that the batch has left.
            num_ranks: ranks of the node, which share them.
        """
        batch = len(self._params)
        if self._item_seconds is None:
            return batch
        short = int(_CLAIM_SECONDS / (self._item_seconds * batch))
        fair = num_left // (_CLAIMS_LEFT * num_ranks * batch)
        return batch * max(1, min(short, fair))

    def carry_out(self, claim: Claim) -> Records | None:
        """Do the claimed items.

        Returns:
            One record per item, None for items that have none (updates). The records of what was broken off have no
            flags.

        Raises:
            EvaluationError: the problem raised.
        """
        if claim.batch.kind is Kind.UPDATE:
            self._update(claim)
            return None
        self._window.sync()
        start = time.perf_counter()
        records = np.zeros(len(claim.items), self._dtype)
        try:
            for first in range(0, len(records), len(self._params)):
                part = slice(first, first + len(self._params))
                # Within the block only, so that results that were written are complete.
                with self._watch.evaluation():
                    found = self._evaluate(claim.batch, claim.items[part])
                records[part] = found
        except Stopped:
            pass
        else:
            self._measure((time.perf_counter() - start) / len(records))
        if self._current is not None:
            self._current.write(claim.batch.generation, "idle")
        return records

    def _measure(self, seconds: float) -> None:
        last = self._item_seconds
        self._item_seconds = seconds if last is None else 0.5 * (last + seconds)

    def _update(self, claim: Claim) -> None:
        batch, problem, sizes = claim.batch, self._problem, self._sizes
        before, after = self._vectors[1 - batch.buffer], self._vectors[batch.buffer]
        state = State(self._config.seed, self._space, batch.generation, batch.entries)
        self._window.sync()
        for number in claim.items.tolist():
            rows, where = sizes.part(number, problem.num_params)
            sources = Sources(self._noise, problem, before[:, where], where.start, where.stop - where.start)
            self._strategy.update(state, sources, Part(rows, after[rows.start : rows.stop, where]))
        self._window.sync()

    def _evaluate(self, batch: Batch, items: npt.NDArray[np.int32]) -> Records:
        def address(item: int) -> Address:
            index, episode = (item, None) if children else divmod(item, episodes)
            return Address(self._path, self._config.seed, batch.generation, index, episode)

        children, episodes = batch.kind is Kind.CHILDREN, self._sizes.num_episodes
        if self._current is not None:
            first = address(int(items[0]))
            phase = "child" if children else "re-evaluation"
            self._current.write(batch.generation, phase, first.index, first.episode or 0, len(items))
        if children:
            generation = self._open(batch)
            entries = generation.children[items]
            keys = [generation.keys[item] for item in items.tolist()]
        else:
            entries = batch.entries[items // episodes]
            keys = [reevaluation_key(self._config.seed, batch.generation, item % episodes) for item in items.tolist()]
        self._decode(batch, entries)
        return evaluate(
            self._problem, self._params, keys, items=items, address=address, rank=self._rank, host=self._host
        )

    def _open(self, batch: Batch) -> _Generation:
        if self._generation is None or self._generation.number != batch.generation:
            state = State(self._config.seed, self._space, batch.generation, batch.entries)
            children = self._strategy.children(state)
            keys = ChildKeys(self._config.seed, batch.generation, children)
            self._generation = _Generation(batch.generation, children, keys)
        return self._generation

    def _decode(self, batch: Batch, entries: Entries) -> None:
        """Decode entries into the rows of `_params`; the re-evaluations of one follow each other: once for all."""
        rows, sources = self._params, Sources.whole(self._noise, self._problem, self._vectors[batch.buffer])
        decoded, self._decoded = self._decoded, None
        for row, entry in enumerate(entries):
            if row > 0 and entry == entries[row - 1]:
                rows[row] = rows[row - 1]
            elif row > 0 or decoded != (batch.generation, entry.tobytes()):
                self._strategy.decode(entry, sources, rows[row])
        self._decoded = (batch.generation, entries[0].tobytes())
