"""One population's course on rank 0: which command follows which results, and what is committed when.

Children -> re-evaluations -> selection -> the next children at once, while a writer thread commits. A selection waits
for the previous commit, and for the caller's loop body that follows the previous generation.
"""

from __future__ import annotations

import enum
import time
from concurrent.futures import Future
from functools import partial

import numpy as np

from gamaml import config as cfg
from gamaml.config import Config, StopConfig
from gamaml.engine.commit_thread import Writer
from gamaml.engine.info import GenerationInfo
from gamaml.engine.node_rates import NodeRates
from gamaml.evolution import chosen_strategy
from gamaml.evolution.entries import new_entries
from gamaml.evolution.rebuild import Snapshot
from gamaml.evolution.records import DONE, record_dtype
from gamaml.evolution.strategy import State
from gamaml.parallel.board import Kind
from gamaml.parallel.command import END, Command
from gamaml.parallel.relay import Relay, split
from gamaml.runlog import Generation, History, RunLog, summarise
from gamaml.types import Float32Array, Problem, Records


class _Phase(enum.Enum):
    CHILDREN = enum.auto()
    REEVALUATIONS = enum.auto()
    SELECTION = enum.auto()
    SAVING = enum.auto()
    ENDED = enum.auto()


class Evolution:
    """Drives one population. Nothing here waits; `progress` advances it.

    Args:
        index: index of the population in this job.
        config: its config.
        problem: its fitness function.
        log: its open run log, with the history to go on from.
        state: the strategy's state after that history.
        relay: its relay, on rank 0.
        rates: measures the nodes' speeds, which decide their shares.
        writer: commits behind the evolution's back.
        vectors: float32[2, num_vectors, num_params], the two buffers of this node.
    """

    def __init__(
        self,
        index: int,
        config: Config,
        problem: Problem,
        log: RunLog,
        state: State,
        relay: Relay,
        rates: NodeRates,
        writer: Writer,
        vectors: Float32Array,
    ) -> None:
        self._index = index
        self._config = config
        self._strategy = chosen_strategy.make(config)
        self._sizes = self._strategy.sizes
        self._problem = problem
        self._log = log
        self._state = state
        self._relay = relay
        self._rates = rates
        self._writer = writer
        self._dtype = record_dtype(problem.num_rounds, problem.scalars)
        self._vectors = vectors
        self._snapshot_period = self._period()
        self._unsaved_seconds = 0.0
        self._future: Future[None] | None = None
        self._started = self._generation_started = time.monotonic()
        self._generations_before = state.generation
        self._total_steps = log.history.total_steps
        self._decoded_generation = state.generation
        self._interrupted = False
        self._withdrawn = False
        self.incumbent_fitness = log.history.incumbent_fitness
        self._num_new_records = 0
        self.info: GenerationInfo | None = None
        """The last finished generation, until the caller has taken it and its loop body is over."""
        self._begin(log.history)

    @property
    def ended(self) -> bool:
        """Whether the last command was given and everything is committed."""
        return self._phase is _Phase.ENDED and (self._future is None or self._future.done())

    @property
    def interrupted(self) -> bool:
        """Whether the population ended before its stop criterion."""
        return self._interrupted

    @property
    def num_generations(self) -> int:
        """Generations selected so far, over all jobs."""
        return self._state.generation

    @property
    def total_steps(self) -> int:
        """Environment steps so far, over all jobs."""
        return self._total_steps

    @property
    def exhausted(self) -> bool:
        """Whether two restarts in a row, this job the second, were interrupted without a new record."""
        return self._interrupted and self._num_new_records == 0 and self._restarted_in_vain

    @property
    def fruitless(self) -> bool:
        """Whether two restarts in a row, this job the second, would leave no new record if it ended right now."""
        return not self.ended and self._state.generation == self._generations_before and self._restarted_in_vain

    def withdraw(self) -> None:
        """The caller takes no more generations: select no more, and do not wait for it."""
        self._withdrawn = True
        self.info = None

    def check_commit(self) -> None:
        """Raise what the last commit raised, if it did; waits for it."""
        if self._future is not None:
            self._future.result()

    def progress(self, closing: bool) -> bool:
        """Advance without waiting; return whether anything happened.

        Args:
            closing: the job is to end: give no more work, save what there is.
        """
        if self._phase is _Phase.ENDED or not self._relay.idle or not self._committed():
            return False
        results = self._relay.take_results()
        if results is not None:
            self._merge(results)
            return True
        if self._phase is _Phase.SAVING:
            self._end(interrupted=True)
            return True
        if self._phase is _Phase.SELECTION and self.info is None and not self._withdrawn:
            self._select()
            return True
        if closing:
            self._save()
            return True
        if self._phase is _Phase.SELECTION:
            return False
        self._give_work()
        return True

    @property
    def _restarted_in_vain(self) -> bool:
        """Whether the last restart left no new record."""
        history = self._log.history
        never = history.num_generations == 0 and len(history.children) == 0
        # The first start of a run is no restart.
        return history.fruitless_restarts >= (2 if never else 1)

    def _begin(self, history: History) -> None:
        """Set up the open generation from what an earlier job left of it."""
        self._children = np.zeros(self._sizes.population_size, self._dtype)
        self._children[history.children["index"]] = history.children
        self._contenders = new_entries(0, self._sizes.entry_dtype)
        self._reevaluations = np.zeros(0, self._dtype)
        self._phase = _Phase.CHILDREN
        if _complete(self._children):
            self._begin_reevaluations()
            if len(self._reevaluations):
                self._reevaluations[history.reevaluations["index"]] = history.reevaluations
                self._advance()
        if self._stop_reached():
            self._end(interrupted=False)

    def _begin_reevaluations(self) -> None:
        # Done now, so that the ranks need not wait for it between the last result and the next command.
        self._contenders = self._strategy.contenders(self._state, self._children)
        self._reevaluations = np.zeros(len(self._contenders) * self._sizes.num_episodes, self._dtype)
        self._phase = _Phase.REEVALUATIONS if len(self._contenders) else _Phase.SELECTION

    def _advance(self) -> None:
        """Go to the next phase if the present one has all its results."""
        if self._phase is _Phase.CHILDREN and _complete(self._children):
            self._begin_reevaluations()
        if self._phase is _Phase.REEVALUATIONS and _complete(self._reevaluations):
            self._phase = _Phase.SELECTION

    def _merge(self, results: Records) -> None:
        target = self._children if self._phase is _Phase.CHILDREN else self._reevaluations
        target[results["index"]] = results
        self._num_new_records += len(results)
        self._rates.add(results)
        self._advance()

    def _give_work(self) -> None:
        state = self._state
        children = self._phase is _Phase.CHILDREN
        records = self._children if children else self._reevaluations
        known = np.flatnonzero(records["flags"] & DONE).astype(np.int32)
        num_parts = self._num_parts() if children else 0
        self._relay.post(
            Command(
                kind=Kind.CHILDREN if children else Kind.REEVALUATIONS,
                generation=state.generation,
                buffer=state.generation % 2,
                entries=state.entries if children else self._contenders,
                num_parts=num_parts,
                num_items=len(records),
                skip=known,
                shares=split(len(records) - len(known), self._rates.weights()),
            )
        )

    def _period(self) -> int:
        """Return the generations between snapshots, so that these take no more room than the records."""
        sizes = self._sizes
        records = sizes.population_size + sizes.num_reevaluations
        committed = records * self._dtype.itemsize + sizes.num_entries * sizes.entry_dtype.itemsize
        return -(-self._vectors[0].nbytes // committed)

    def _num_parts(self) -> int:
        """Return in how many parts the next command computes the state's vectors, 0 if no longer."""
        if self._decoded_generation == self._state.generation:
            return 0
        self._decoded_generation = self._state.generation
        return self._sizes.num_parts(self._problem.num_params, len(self._state.entries))

    def _select(self) -> None:
        before, children, reevaluations = self._state, self._children, self._reevaluations
        outcome = self._strategy.next(before, children, reevaluations)
        self._state, self.incumbent_fitness = outcome.state, outcome.fitness
        now = time.monotonic()
        generation = Generation(
            generation=before.generation,
            records=children,
            contenders=self._contenders,
            reevaluations=reevaluations,
            entries=outcome.state.entries,
            contender=outcome.contender,
            std=outcome.std,
            incumbent_fitness=outcome.fitness,
            seconds=now - self._generation_started,
        )
        self._generation_started = now
        self._total_steps += generation.steps
        self._children = np.zeros_like(children)
        self._reevaluations = np.zeros(0, self._dtype)
        self._phase = _Phase.CHILDREN
        if self._stop_reached():
            self._end(interrupted=False)
        else:
            self._give_work()
        # The leaders have the new entries; what follows runs behind their work. The vectors that the generation began
        # with are overwritten only after the next selection, which waits for this commit.
        self._future = self._writer.submit(partial(self._commit, generation))
        self.info = self._tell(generation)

    def _commit(self, generation: Generation) -> None:
        self._log.commit(generation)
        self._unsaved_seconds += generation.seconds
        due = self._unsaved_seconds > self._sizes.snapshot_seconds
        if due or generation.generation % self._snapshot_period == 0:
            self._unsaved_seconds = 0.0
            self.save_snapshot(generation.generation)

    def save_snapshot(self, generation: int) -> None:
        """Store the vectors of a generation, one of the last two, if the strategy's candidates have no genomes."""
        if not self._sizes.has_genomes and generation > 0:
            self._log.save_snapshot(Snapshot(generation, self._vectors[generation % 2]))

    def _save(self) -> None:
        """Journal the open generation's finished records, then end."""
        children = self._children[(self._children["flags"] & DONE) != 0]
        reevaluations = self._reevaluations[(self._reevaluations["flags"] & DONE) != 0]
        if len(children):
            generation = self._state.generation
            self._future = self._writer.submit(partial(self._log.save_partial, generation, children, reevaluations))
        self._phase = _Phase.SAVING

    def _end(self, *, interrupted: bool) -> None:
        state, sizes = self._state, self._sizes
        self._interrupted = interrupted
        num_parts = self._num_parts()
        if interrupted and not sizes.has_genomes and state.generation > self._generations_before:
            # The last command may have been broken off before its vectors were complete, which are stored now.
            num_parts = sizes.num_parts(self._problem.num_params, len(state.entries))
        self._relay.post(
            Command(
                kind=END,
                generation=state.generation,
                buffer=state.generation % 2,
                entries=state.entries,
                num_parts=num_parts,
            )
        )
        self._phase = _Phase.ENDED

    def _committed(self) -> bool:
        if self._future is None:
            return True
        if not self._future.done():
            return False
        self._future.result()
        self._future = None
        return True

    def _stop_reached(self) -> bool:
        return stop_reached(
            self._config.stop,
            generations=self._state.generation,
            environment_steps=self._total_steps,
            fitness=self.incumbent_fitness,
            seconds=time.monotonic() - self._started,
        )

    def _tell(self, generation: Generation) -> GenerationInfo:
        summary = summarise(generation)
        done = self._state.generation - self._generations_before
        seconds = time.monotonic() - self._started
        return GenerationInfo(
            population=self._index,
            name=self._log.path.stem,
            generation=generation.generation,
            fitness_best=summary.fitness_best,
            fitness_mean=summary.fitness_mean,
            fitness_median=summary.fitness_median,
            incumbent_fitness=summary.incumbent_fitness,
            incumbent_returns=summary.incumbent_returns,
            mean_returns=summary.mean_returns,
            num_failed=summary.num_failed,
            steps=summary.steps,
            total_steps=self._total_steps,
            num_evaluations=summary.num_evaluations,
            std=summary.std,
            seconds=summary.seconds,
            eta_seconds=cfg.seconds_left(
                self._config.stop,
                generations=self._state.generation,
                total_steps=self._total_steps,
                steps=summary.steps,
                pace=seconds / done,
                elapsed=seconds,
            ),
            metric=self._problem.metric,
        )


def stop_reached(stop: StopConfig, *, generations: int, environment_steps: int, fitness: float, seconds: float) -> bool:
    """Return whether any stop criterion is met; `fitness` may be NaN before the first generation."""
    return (
        (stop.generations is not None and generations >= stop.generations)
        or (stop.environment_steps is not None and environment_steps >= stop.environment_steps)
        or (stop.fitness is not None and fitness >= stop.fitness)
        or (stop.seconds is not None and generations > 0 and seconds >= stop.seconds)
    )


def _complete(records: Records) -> bool:
    return bool(np.all(records["flags"] & DONE))
