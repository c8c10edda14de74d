"""A rank's work on the items that it claims from one population: decode, evaluate, record."""

from __future__ import annotations

import dataclasses
import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gamaml.engine.evaluation import Address, ChildKeys, evaluate, reevaluation_key
from gamaml.engine.plan import Plan
from gamaml.engine.vector_buffers import VectorBuffers
from gamaml.evolution.decode import NoiseSource, Sources, decode_rows
from gamaml.evolution.entries import Entries
from gamaml.evolution.strategy import Part, State
from gamaml.job.signals import SignalWatch, Stopped
from gamaml.parallel.board import Batch, Claim, Kind
from gamaml.problems.jax_problem import JaxProblem
from gamaml.runlog import CurrentFile
from gamaml.types import Records

log = logging.getLogger(__name__)

_CLAIM_SECONDS = 20e-3
"""Short evaluations are claimed in blocks of about this duration: a claim and its hand-over cost 80 microseconds, and
several times as much where other processes want the core."""

_SHORT_SECONDS, _ENOUGH = 2e-3, 32
"""After so many evaluations of one child at a time, shorter ones than this would pay in batches: on `sinusoid` and
`bandit`, 1 ms each, a batch of 8 is 1.7 times as fast; on `navigation`, 15 ms, there is nothing to gain."""

_CLAIMS_LEFT = 2
"""Each rank of the node should still find this many blocks, so that their last ones end together."""


@dataclass(frozen=True)
class Place:
    """The place of a rank.

    Attributes:
        rank: world rank.
        host: this host's name.
        node: index of the node.
        rank_in_node: rank within the node.
    """

    rank: int
    host: str
    node: int
    rank_in_node: int


@dataclass(frozen=True)
class _Generation:
    """The children of a generation, and their randomness."""

    number: int
    children: Entries
    keys: ChildKeys


class Worker:
    """One population's work on one rank.

    It keeps a note of the current evaluation in the run's folder, in case this process is killed.

    Args:
        plan: the population.
        noise: the node's noise table.
        buffers: the node's vectors.
        watch: breaks off evaluations when the job stops.
        place: this rank's place.
    """

    def __init__(
        self, plan: Plan, noise: NoiseSource, buffers: VectorBuffers, watch: SignalWatch, place: Place
    ) -> None:
        self._plan = plan
        self._strategy = plan.strategy
        self._problem = plan.problem
        self._noise = noise
        self._buffers = buffers
        self._watch = watch
        self._place = place
        self._params = np.empty((plan.problem.batch_size, plan.problem.num_params), np.float32)
        self._sizes = plan.strategy.sizes
        self._decoded: tuple[int, int] | None = None
        self._generation: _Generation | None = None
        self._item_seconds: float | None = None
        self._until_hint = _ENOUGH if place.rank == 0 and _takes_batches(plan) else 0
        self._current = _current_file(plan.path.with_suffix(".run"), place)

    def close(self) -> None:
        """Close the file of notes."""
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
        """Carry out the claimed items.

        Returns:
            One record per item, None for an update. A record of an evaluation that was broken off has no flags.

        Raises:
            EvaluationError: the problem raised.
        """
        if claim.batch.kind is Kind.UPDATE:
            self._update(claim)
            return None
        self._buffers.sync()
        start = time.perf_counter()
        records = np.zeros(len(claim.items), self._plan.layout.board.record_dtype)
        try:
            for first in range(0, len(records), len(self._params)):
                part = slice(first, first + len(self._params))
                # The records are stored outside, so they are complete or missing.
                with self._watch.evaluation():
                    found = self._evaluate(claim.batch, claim.items[part])
                records[part] = found
        except Stopped:
            pass
        else:
            self._measure((time.perf_counter() - start) / len(records))
            self._hint_at_batches(len(records))
        if self._current is not None:
            self._current.write(claim.batch.generation, "idle")
        return records

    def _measure(self, seconds: float) -> None:
        last = self._item_seconds
        self._item_seconds = seconds if last is None else 0.5 * (last + seconds)

    def _hint_at_batches(self, number: int) -> None:
        """Say once, after some evaluations, that they are so short that batches would pay."""
        if self._until_hint <= 0 or self._item_seconds is None:
            return
        self._until_hint -= number
        if self._until_hint <= 0 and self._item_seconds < _SHORT_SECONDS:
            log.warning(
                "%s: an evaluation takes %.1f ms, much of it outside its program; inner.batch_size = 8 evaluates 8 "
                "children per call, which is often 1.5 times as fast (evaluations of many milliseconds gain nothing)",
                self._plan.path.stem,
                1e3 * self._item_seconds,
            )

    def _update(self, claim: Claim) -> None:
        problem, state = self._problem, self._state(claim.batch)
        before, after = self._buffers.of(state.generation - 1), self._buffers.of(state.generation)
        self._buffers.sync()
        for number in claim.items.tolist():
            rows, where = self._sizes.part(number, problem.num_params)
            sources = Sources(self._noise, problem, before[:, where], where.start, where.stop - where.start)
            self._strategy.update(state, sources, Part(rows, after[rows.start : rows.stop, where]))
        self._buffers.sync()

    def _state(self, batch: Batch) -> State:
        return dataclasses.replace(self._plan.layout.initial, generation=batch.generation, entries=batch.entries)

    def _evaluate(self, batch: Batch, items: npt.NDArray[np.int32]) -> Records:
        def address(item: int) -> Address:
            index, episode = (item, None) if children else divmod(item, episodes)
            return Address(self._plan.path, seed, batch.generation, index, episode)

        seed, episodes, place = self._plan.config.seed, self._sizes.num_episodes, self._place
        children = batch.kind is Kind.CHILDREN
        listed: list[int] = items.tolist()
        if self._current is not None:
            first = address(listed[0])
            phase = "child" if children else "re-evaluation"
            self._current.write(batch.generation, phase, first.index, first.episode or 0, len(listed))
        sources = Sources.whole(self._noise, self._problem, self._buffers.of(batch.generation))
        if children:
            generation = self._open(batch)
            self._decode_children(generation.children, listed, sources)
            keys = [generation.keys[item] for item in listed]
        else:
            self._decode_contenders(batch, [item // episodes for item in listed], sources)
            keys = [reevaluation_key(seed, batch.generation, item % episodes) for item in listed]
        return evaluate(
            self._problem, self._params, keys, items=items, address=address, rank=place.rank, host=place.host
        )

    def _open(self, batch: Batch) -> _Generation:
        if self._generation is None or self._generation.number != batch.generation:
            children = self._strategy.children(self._state(batch))
            keys = ChildKeys(self._plan.config.seed, batch.generation, children)
            self._generation = _Generation(batch.generation, children, keys)
        return self._generation

    def _decode_children(self, children: Entries, items: list[int], sources: Sources) -> None:
        self._decoded = None
        if self._sizes.plain:
            decode_rows(children[items], sources, self._params[: len(items)])
            return
        for row, item in enumerate(items):
            self._strategy.decode(children[item], sources, self._params[row])

    def _decode_contenders(self, batch: Batch, contenders: list[int], sources: Sources) -> None:
        """Decode contenders into the rows; re-evaluations of one follow each other and are decoded once."""
        rows, decoded = self._params, self._decoded
        self._decoded = None
        for row, contender in enumerate(contenders):
            if row > 0 and contender == contenders[row - 1]:
                rows[row] = rows[row - 1]
            elif row > 0 or decoded != (batch.generation, contender):
                self._strategy.decode(batch.entries[contender], sources, rows[row])
        self._decoded = (batch.generation, contenders[0])


def _takes_batches(plan: Plan) -> bool:
    """Return whether one child at a time is evaluated though the config could ask for more."""
    is_jax = isinstance(plan.problem.wrapped, JaxProblem)
    return is_jax and plan.config.inner.batch_size == 1 and plan.strategy.sizes.derivative == 0


def _current_file(folder: Path, place: Place) -> CurrentFile | None:
    try:
        return CurrentFile(folder, place.node, place.rank_in_node, place.rank)
    except OSError as error:
        log.warning("%s: cannot note what rank %d evaluates: %s", folder, place.rank, error)
        return None
