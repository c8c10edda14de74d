"""One population's course on rank 0: commands, results and commits, in their order.

Children -> re-evaluations -> selection -> the next children at once, while a thread commits. A selection waits for the
previous commit, and for the caller's loop body that follows the previous generation.

`decisions.next_action` decides; the driver looks, and acts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from gamaml.engine.commit_thread import Commits
from gamaml.engine.decisions import Action, Facts, Phase, next_action
from gamaml.engine.info import GenerationInfo, TrainResult
from gamaml.engine.node_rates import NodeRates
from gamaml.engine.open_generation import OpenGeneration
from gamaml.engine.plan import Plan
from gamaml.engine.stopping import seconds_left, share_done, stop_reached
from gamaml.engine.tally import Tally
from gamaml.engine.vector_buffers import VectorBuffers
from gamaml.evolution.decode import NoiseSource, Sources
from gamaml.evolution.rebuild import Course
from gamaml.evolution.strategy import Outcome, Progress, State
from gamaml.parallel.board import Kind
from gamaml.parallel.command import END, Command
from gamaml.parallel.relay import split
from gamaml.runlog import Generation, History, Summary
from gamaml.types import Records


class Leaders(Protocol):
    """The part of a relay that gives commands on rank 0."""

    @property
    def idle(self) -> bool:
        """Whether a command may be posted."""
        ...

    def post(self, command: Command) -> None:
        """Send a command to all leaders."""
        ...

    def take_results(self) -> Records | None:
        """Return the finished records of the last command, once, when they have arrived."""
        ...


class PopulationDriver:
    """Drives one population. Nothing here waits; `progress` advances it.

    Attributes:
        info: the last finished generation, until the caller has taken it and its loop body is over.
        tally: the run's counts.
        interrupted: whether the population ended before its stop criterion.

    Args:
        plan: the population.
        history: the run up to its opening.
        noise: the node's noise table.
        buffers: the node's vectors.
        leaders: its relay, on rank 0.
        commits: its commits.
        rates: the nodes' speeds, which decide their shares.
        clock: gives seconds.
    """

    def __init__(
        self,
        plan: Plan,
        history: History,
        noise: NoiseSource,
        buffers: VectorBuffers,
        leaders: Leaders,
        commits: Commits,
        rates: NodeRates,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan = plan
        self._noise = noise
        self._buffers = buffers
        self._leaders = leaders
        self._commits = commits
        self._rates = rates
        self._clock = clock
        state = Course(plan.layout.initial, history.entries).state
        self._open = OpenGeneration(plan.strategy, state, plan.layout.board.record_dtype)
        self._open.add(history.children)
        if self._open.phase is Phase.REEVALUATIONS:
            self._open.add(history.reevaluations)
        self._phase = self._open.phase
        self._vectors_of = state.generation
        self._failed = self._withdrawn = False
        self.interrupted = False
        self.tally = Tally.of(history, clock())
        self.info: GenerationInfo | None = None
        self._finished = self._stop_reached()

    @property
    def ended(self) -> bool:
        """Whether the last command was given and nothing is being committed."""
        return self._phase is Phase.ENDED and not self._commits.busy

    @property
    def finished(self) -> bool:
        """Whether it ended because a stop criterion is met, and everything is committed."""
        return self.ended and not self.interrupted and not self._failed

    @property
    def state(self) -> State:
        """The strategy's state after the last selection."""
        return self._open.state

    @property
    def num_generations(self) -> int:
        """Generations selected so far, over all jobs."""
        return self._open.state.generation

    @property
    def fruitless(self) -> bool:
        """Whether two restarts in a row, this job the second, would leave no new record if it ended right now."""
        return not self.ended and self.num_generations == self.tally.generations_before and self.tally.restarted_in_vain

    def result(self) -> TrainResult:
        """Return how the population ended, without parameters."""
        return TrainResult(
            path=self._plan.path,
            num_generations=self.num_generations,
            total_steps=self.tally.total_steps,
            incumbent_fitness=self.tally.incumbent_fitness,
            interrupted=self.interrupted,
            exhausted=self.interrupted and self.tally.new_records == 0 and self.tally.restarted_in_vain,
        )

    def withdraw(self) -> None:
        """Select no more, and do not wait for the caller, who takes no more generations."""
        self._withdrawn = True
        self.info = None

    def progress(self, *, closing: bool) -> bool:
        """Advance without waiting; return whether anything happened.

        Args:
            closing: the job stops: give no more work, and save the finished records.

        Raises:
            GamamlError: no selection is possible, or a commit failed. The population then ends by further calls, once
                `closing` is true.
        """
        if self._phase is Phase.ENDED:
            return False
        committed = not self._commits.busy
        if committed:
            self.check_commit()
        ready = committed and self._leaders.idle
        records = self._leaders.take_results() if ready else None
        action = next_action(
            self._phase,
            Facts(
                ready=ready,
                arrived=records is not None,
                finished=self._finished,
                failed=self._failed,
                wanted=self.info is None and not self._withdrawn,
                closing=closing,
            ),
        )
        try:
            self._act(action, records)
        except Exception:
            # Another try would end the same. The records are saved when the job closes.
            self._withdrawn = True
            raise
        return action is not Action.WAIT

    def check_commit(self) -> None:
        """Wait for the last commit.

        Raises:
            GamamlError: it failed; raised once.
        """
        try:
            self._commits.wait()
        except Exception:
            self._failed = True
            raise

    def settle(self, *, updated: bool = True) -> None:
        """Wait for the last commit, and store the last vectors, once the last command was carried out.

        Args:
            updated: whether every update was carried out; else the vectors are not stored.

        Raises:
            GamamlError: a commit failed.
        """
        self.check_commit()
        if updated and not self._failed:
            self._commits.save_snapshot(self.num_generations)

    def _act(self, action: Action, records: Records | None) -> None:
        if records is not None:
            self._merge(records)
        elif action is Action.GIVE_WORK:
            self._give_work()
        elif action is Action.SELECT:
            self._select()
        elif action is Action.SAVE:
            self._commits.save(self._open)
            self._phase = Phase.SAVING
        elif action in (Action.FINISH, Action.BREAK_OFF):
            self._end(interrupted=action is Action.BREAK_OFF)

    def _merge(self, records: Records) -> None:
        self._rates.add(records)
        self.tally.new_records += len(records)
        self._open.add(records)
        self._phase = self._open.phase

    def _give_work(self) -> None:
        opened, known = self._open, self._open.known
        children = self._phase is Phase.CHILDREN
        self._leaders.post(
            Command(
                kind=Kind.CHILDREN if children else Kind.REEVALUATIONS,
                generation=opened.state.generation,
                entries=opened.state.entries if children else opened.contenders,
                num_parts=self._num_parts() if children else 0,
                num_items=len(opened.awaited),
                skip=known,
                shares=split(len(opened.awaited) - len(known), self._rates.weights()),
            )
        )

    def _select(self) -> None:
        opened = self._open
        self.tally.total_steps += opened.steps
        outcome = self._plan.strategy.next(opened.state, opened.children, opened.reevaluations, self._progress())
        generation = self._generation(opened, outcome)
        self.tally.incumbent_fitness = outcome.fitness
        self._open = OpenGeneration(self._plan.strategy, outcome.state, opened.children.dtype)
        self._phase = self._open.phase
        self._finished = self._stop_reached()
        if self._finished:
            self._end(interrupted=False)
        else:
            self._give_work()
        # The leaders have the new entries and work on. The vectors that the generation began with are overwritten only
        # after the next selection, which waits for this commit.
        self.info = self._info(generation.summary)
        self._commits.commit(generation)

    def _progress(self) -> Progress:
        """Return how far the run is once the open generation is selected."""
        generation, total_steps = self.num_generations, self.tally.total_steps
        share = share_done(self._plan.config.stop, generations=generation + 1, environment_steps=total_steps)
        vectors = self._buffers.of(generation)
        self._buffers.sync()
        return Progress(share, Sources.whole(self._noise, self._plan.problem, vectors))

    def _generation(self, opened: OpenGeneration, outcome: Outcome) -> Generation:
        now = self._clock()
        seconds, self.tally.selected = now - self.tally.selected, now
        return Generation(
            generation=opened.state.generation,
            records=opened.children,
            contenders=opened.contenders,
            reevaluations=opened.reevaluations,
            entries=outcome.state.entries,
            contender=outcome.contender,
            std=outcome.std,
            incumbent_fitness=outcome.fitness,
            seconds=seconds,
        )

    def _end(self, *, interrupted: bool) -> None:
        self.interrupted = interrupted
        num_parts = self._num_parts()
        sizes = self._plan.strategy.sizes
        if interrupted and not sizes.has_genomes and self.num_generations > self.tally.generations_before:
            # The last command may have been broken off before its vectors were complete, which are stored now.
            num_parts = self._all_parts()
        state = self._open.state
        self._leaders.post(Command(END, state.generation, state.entries, num_parts=num_parts))
        self._phase = Phase.ENDED

    def _num_parts(self) -> int:
        """Return the number of parts of the update to the present vectors; 0 if an earlier command asked for it."""
        generation = self.num_generations
        before, self._vectors_of = self._vectors_of, generation
        return 0 if before == generation else self._all_parts()

    def _all_parts(self) -> int:
        return self._plan.strategy.sizes.num_parts(self._plan.problem.num_params, len(self._open.state.entries))

    def _stop_reached(self) -> bool:
        return stop_reached(
            self._plan.config.stop,
            generations=self.num_generations,
            environment_steps=self.tally.total_steps,
            fitness=self.tally.incumbent_fitness,
            seconds=self._clock() - self.tally.started,
        )

    def _info(self, summary: Summary) -> GenerationInfo:
        seconds = self._clock() - self.tally.started
        shared = {name: value for name, value in vars(summary).items() if name != "contender"}
        return GenerationInfo(
            population=self._plan.index,
            name=self._plan.path.stem,
            total_steps=self.tally.total_steps,
            eta_seconds=seconds_left(
                self._plan.config.stop,
                generations=self.num_generations,
                total_steps=self.tally.total_steps,
                steps=summary.steps,
                pace=seconds / (self.num_generations - self.tally.generations_before),
                elapsed=seconds,
            ),
            metric=self._plan.problem.metric,
            **shared,
        )
