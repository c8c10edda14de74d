"""A population's driver and all drivers of a job, on a relay and a run log of this process, with a real strategy."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from doubles import FakeWindow

from gamaml import config as cfg
from gamaml.engine.commit_thread import Commits
from gamaml.engine.drivers import Driven, Drivers
from gamaml.engine.info import GenerationInfo
from gamaml.engine.node_rates import NodeRates
from gamaml.engine.plan import Plan, plans
from gamaml.engine.population_driver import PopulationDriver
from gamaml.engine.vector_buffers import VectorBuffers
from gamaml.errors import GamamlError, RunFileError, SelectionError
from gamaml.evolution.genetic_algorithm import GeneticAlgorithm
from gamaml.evolution.noise_table import LazyNoise
from gamaml.evolution.records import DONE, FAILED
from gamaml.parallel.board import Kind
from gamaml.parallel.command import END, Command
from gamaml.runlog import Generation, History, Summary
from gamaml.types import Records

CHILDREN, CONTENDERS, EPISODES = 6, 2, 2


class Problem:
    """The part of a problem that a driver looks at."""

    num_params = 5
    num_rounds = 1
    scalars = ()
    metric = "return"


def a_plan(strategy: str = "ga", generations: int = 3) -> Plan:
    ga = {
        "population_size": CHILDREN,
        "num_parents": 2,
        "elite": {"candidates": CONTENDERS, "episodes": EPISODES},
    }
    settings = {"ga": ga} if strategy == "ga" else {"es": {"population_size": CHILDREN}}
    config = cfg.from_mapping(
        {"strategy": strategy, "task": {"name": "x"}, "stop": {"generations": generations}, "noise": {"size": 1000}}
        | settings
    )
    return plans([config], cast(Any, [Problem()]), [Path("run.h5")])[0]


def records_of(plan: Plan, indices: list[int], fitness: float | None = None) -> Records:
    """Return finished records; a child's fitness is its index unless another is given."""
    records = np.zeros(len(indices), plan.layout.board.record_dtype)
    records["index"] = indices
    records["fitness"] = indices if fitness is None else fitness
    records["flags"] = np.where(np.isfinite(records["fitness"]), DONE, DONE | FAILED)
    records["steps"] = 10
    records["seconds"] = 1.0
    return records


def a_history(plan: Plan, **changes: Any) -> History:
    nothing = records_of(plan, [])
    history = History(
        entries=[],
        num_generations=0,
        total_steps=0,
        incumbent_fitness=np.nan,
        children=nothing,
        reevaluations=nothing,
        snapshot=None,
        finished=False,
        fruitless_restarts=0,
    )
    return cast(History, type(history)(**{**vars(history), **changes}))


@dataclass
class FakeRelay:
    """Carries commands out when the test says so."""

    plan: Plan
    commands: list[Command] = field(default_factory=list[Command])
    results: Records | None = None
    idle: bool = True

    def post(self, command: Command) -> None:
        assert self.idle, "a command while another is being carried out"
        self.commands.append(command)
        self.idle = False

    def take_results(self) -> Records | None:
        results, self.results = self.results, None
        return results

    @property
    def items(self) -> list[int]:
        """Items of the last command."""
        return self.commands[-1].items(0).tolist()

    def answer(self, only: list[int] | None = None, fitness: float | None = None) -> None:
        """Finish the last command, with records of all its items or of some."""
        self.results = records_of(self.plan, self.items if only is None else only, fitness)
        self.idle = True


@dataclass
class FakeLog:
    """Notes what is written; raises what it is told to."""

    history: History
    written: list[str] = field(default_factory=list[str])
    generations: list[Generation] = field(default_factory=list[Generation])
    error: Exception | None = None

    def commit(self, generation: Generation) -> None:
        self._write(f"generation {generation.generation}")
        self.generations.append(generation)

    def save_partial(self, generation: int, children: Records, reevaluations: Records) -> None:
        self._write(f"{len(children)} + {len(reevaluations)} of {generation}")

    def save_snapshot(self, snapshot: Any) -> None:
        self._write(f"vectors of {snapshot.generation}")

    def renew_lock(self) -> None:
        self._write("lock")

    def close(self, *, finished: bool = False) -> None:
        self.written.append("closed, finished" if finished else "closed")

    def _write(self, text: str) -> None:
        if self.error is not None:
            raise self.error
        self.written.append(text)


class HeldThread:
    """A commit thread that runs what was submitted when the test says so, or at once."""

    held = False

    def __init__(self) -> None:
        self._submitted: list[tuple[Future[None], Callable[[], None]]] = []

    def submit(self, action: Callable[[], None]) -> Future[None]:
        self._submitted.append((Future(), action))
        future = self._submitted[-1][0]
        if not self.held:
            self.run()
        return future

    def run(self) -> None:
        while self._submitted:
            future, action = self._submitted.pop(0)
            try:
                action()
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(None)


class FakeClock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


class Rig:
    """A driver with all that it works on."""

    def __init__(self, plan: Plan, **history: Any) -> None:
        self.plan, self.clock, self.thread = plan, FakeClock(), HeldThread()
        self.relay = FakeRelay(plan)
        self.log = FakeLog(a_history(plan, **history))
        buffers = VectorBuffers(FakeWindow(0), np.zeros(plan.layout.vectors_shape, np.float32))
        commits = Commits(plan, buffers, cast(Any, self.log), cast(Any, self.thread))
        noise, rates = LazyNoise(size=1000, seed=5), NodeRates([0])
        self.driver = PopulationDriver(plan, self.log.history, noise, buffers, self.relay, commits, rates, self.clock)

    def advance(self, closing: bool = False) -> None:
        """Let the driver do all that it can do now."""
        while self.driver.progress(closing=closing):
            pass

    def answer(self, fitness: float | None = None) -> None:
        self.relay.answer(fitness=fitness)
        self.advance()

    def generation(self) -> GenerationInfo:
        """Evaluate a whole generation, and take it as the caller does."""
        self.advance()
        self.answer()
        self.answer()
        info = self.driver.info
        assert info is not None
        self.driver.info = None
        return info

    @property
    def last(self) -> Command:
        return self.relay.commands[-1]


def test_children_then_contenders_then_the_next_children_at_once() -> None:
    rig = Rig(a_plan())
    rig.advance()
    assert (rig.last.kind, rig.last.generation, rig.last.num_parts) == (Kind.CHILDREN, 0, 0)
    assert rig.relay.items == [0, 1, 2, 3, 4, 5]
    rig.answer()
    assert (rig.last.kind, rig.last.generation, rig.last.num_parts) == (Kind.REEVALUATIONS, 0, 0)
    assert rig.relay.items == [0, 1, 2, 3]
    assert len(rig.last.entries) == CONTENDERS
    rig.answer()
    assert (rig.last.kind, rig.last.generation) == (Kind.CHILDREN, 1)
    assert rig.last.num_parts == len(rig.last.entries) == 2
    assert rig.log.written == ["generation 0"]


def test_records_that_are_missing_are_asked_for_again() -> None:
    rig = Rig(a_plan())
    rig.advance()
    rig.relay.answer(only=[1, 4])
    rig.advance()
    assert rig.last.kind is Kind.CHILDREN
    assert rig.relay.items == [0, 2, 3, 5]


def test_selection_waits_for_the_loop_body_and_children_do_not() -> None:
    rig = Rig(a_plan())
    rig.advance()
    rig.answer()
    rig.answer()
    rig.answer()
    assert (rig.last.kind, rig.last.generation) == (Kind.REEVALUATIONS, 1)
    rig.answer()
    assert rig.last.kind is Kind.REEVALUATIONS
    rig.driver.info = None
    rig.advance()
    assert (rig.last.kind, rig.last.generation) == (Kind.CHILDREN, 2)


def test_commands_wait_for_the_commit_that_is_in_flight() -> None:
    rig = Rig(a_plan())
    rig.thread.held = True
    rig.generation()
    rig.answer()
    assert rig.last.kind is Kind.CHILDREN
    assert rig.log.written == []
    rig.thread.run()
    rig.advance()
    assert rig.last.kind is Kind.REEVALUATIONS


def test_told_generation_holds_its_summary_and_where_the_run_stands() -> None:
    rig = Rig(a_plan(generations=4))
    rig.clock.now += 2.0
    info = rig.generation()
    assert (info.generation, info.fitness_best, info.fitness_mean) == (0, 5.0, 2.5)
    assert (info.num_evaluations, info.steps, info.total_steps) == (10, 100, 100)
    assert (info.seconds, info.eta_seconds) == (2.0, 6.0)
    assert (info.name, info.population, info.metric) == ("run", 0, "return")
    summary = rig.log.generations[0].summary
    assert summary is rig.log.generations[0].summary, "computed once"
    shared = {each.name for each in fields(Summary)} - {"contender"}
    assert shared < {each.name for each in fields(GenerationInfo)}
    for name in shared:
        np.testing.assert_array_equal(getattr(info, name), getattr(summary, name))


def test_population_ends_when_its_criterion_is_met() -> None:
    rig = Rig(a_plan(generations=2))
    rig.generation()
    rig.generation()
    assert (rig.last.kind, rig.last.generation, rig.last.num_parts) == (END, 2, 2)
    assert rig.driver.ended
    assert rig.driver.finished
    assert not rig.driver.interrupted
    assert not rig.driver.progress(closing=True)


def test_population_has_not_ended_before_its_last_commit() -> None:
    rig = Rig(a_plan(generations=1))
    rig.thread.held = True
    rig.generation()
    assert rig.last.kind == END
    assert not rig.driver.ended
    rig.thread.run()
    assert rig.driver.ended


def test_closing_saves_the_finished_records_and_ends() -> None:
    rig = Rig(a_plan())
    rig.advance()
    rig.relay.answer(only=[1, 4])
    rig.advance(closing=True)
    assert rig.log.written == ["2 + 0 of 0"]
    assert (rig.last.kind, rig.last.generation) == (END, 0)
    assert rig.driver.interrupted
    assert not rig.driver.finished


def test_closing_selects_a_generation_that_is_whole() -> None:
    rig = Rig(a_plan())
    rig.advance()
    rig.answer()
    rig.relay.answer()
    rig.advance(closing=True)
    assert rig.log.written == ["generation 0"]
    rig.relay.answer(only=[])
    rig.advance(closing=True)
    assert rig.log.written == ["generation 0"]
    assert (rig.last.kind, rig.last.generation) == (END, 1)


def test_withdrawn_caller_gets_no_more_generations_and_a_whole_one_is_saved() -> None:
    rig = Rig(a_plan())
    rig.advance()
    rig.answer()
    rig.driver.withdraw()
    rig.answer()
    assert rig.log.written == []
    rig.advance(closing=True)
    assert rig.log.written == [f"{CHILDREN} + {CONTENDERS * EPISODES} of 0"]
    assert rig.last.kind == END


def test_strategy_without_genomes_computes_its_vectors_again_before_they_are_stored() -> None:
    rig = Rig(a_plan("es"))
    rig.advance()
    rig.answer()
    rig.answer()
    assert (rig.last.kind, rig.last.generation) == (Kind.CHILDREN, 1)
    num_parts = rig.last.num_parts
    assert num_parts > 0
    rig.driver.info = None
    rig.relay.answer(only=[])  # broken off, perhaps within the update
    rig.advance(closing=True)
    assert (rig.last.kind, rig.last.num_parts) == (END, num_parts)
    rig.driver.settle()
    assert rig.log.written[-1] == "vectors of 1"


def test_run_goes_on_where_an_earlier_job_left_it() -> None:
    first = Rig(a_plan())
    first.generation()
    committed = first.log.generations[0]
    plan = a_plan()
    rig = Rig(
        plan,
        entries=[committed.entries],
        num_generations=1,
        total_steps=100,
        incumbent_fitness=committed.incumbent_fitness,
        children=records_of(plan, [0, 3]),
    )
    rig.advance()
    assert (rig.last.kind, rig.last.generation) == (Kind.CHILDREN, 1)
    assert rig.last.num_parts == 0, "every node has computed its vectors already"
    assert rig.relay.items == [1, 2, 4, 5]
    rig.answer()
    rig.answer()
    assert rig.driver.info is not None
    assert rig.driver.info.total_steps == 200


def test_run_goes_on_among_its_reevaluations() -> None:
    plan = a_plan()
    rig = Rig(plan, children=records_of(plan, list(range(CHILDREN))), reevaluations=records_of(plan, [0, 3]))
    rig.advance()
    assert rig.last.kind is Kind.REEVALUATIONS
    assert rig.relay.items == [1, 2]


def test_finished_run_ends_at_once() -> None:
    first = Rig(a_plan(generations=1))
    first.generation()
    rig = Rig(a_plan(generations=1), entries=[first.log.generations[0].entries], num_generations=1)
    rig.advance()
    assert [command.kind for command in rig.relay.commands] == [END]
    assert not rig.driver.interrupted


@pytest.mark.parametrize(
    ("restarts", "known", "answered", "exhausted"),
    [(0, 0, 0, False), (1, 0, 0, False), (2, 0, 0, True), (1, 2, 0, True), (0, 2, 0, False), (2, 0, 1, False)],
)
def test_second_restart_in_vain_is_noticed(restarts: int, known: int, answered: int, exhausted: bool) -> None:
    plan = a_plan()
    rig = Rig(plan, children=records_of(plan, list(range(known))), fruitless_restarts=restarts)
    rig.advance()
    rig.relay.answer(only=[5] * answered)
    rig.advance(closing=True)
    assert rig.driver.result().exhausted is exhausted


def test_generation_without_a_finite_fitness_is_an_error_and_its_records_are_saved() -> None:
    rig = Rig(a_plan())
    rig.advance()
    rig.relay.answer(fitness=np.nan)
    with pytest.raises(SelectionError, match="generation 0: expected at least one child with a finite fitness"):
        rig.advance()
    assert not rig.driver.progress(closing=False), "another try would end the same"
    rig.advance(closing=True)
    assert rig.log.written == ["6 + 0 of 0"]
    assert rig.last.kind == END
    assert rig.driver.ended
    assert not rig.driver.finished


def test_answer_that_breaks_the_driver_is_an_error_once_and_the_population_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = Rig(a_plan())
    rig.advance()
    rig.answer()
    rig.relay.answer()
    monkeypatch.setattr(GeneticAlgorithm, "next", lambda *arguments: None)
    with pytest.raises(AttributeError):
        rig.advance()
    assert not rig.driver.progress(closing=False), "another try would end the same"
    rig.advance(closing=True)
    assert rig.last.kind == END
    assert rig.driver.ended
    assert not rig.driver.finished


def test_failed_commit_is_an_error_while_the_next_children_are_evaluated_and_nothing_more_is_written() -> None:
    rig = Rig(a_plan("es"))
    rig.log.error = RunFileError("the disk is full")
    rig.advance()
    rig.answer()
    rig.relay.answer()
    with pytest.raises(RunFileError, match="the disk is full"):
        rig.advance()
    rig.log.error = None
    assert not rig.driver.progress(closing=True), "the children of generation 1 are still being evaluated"
    rig.relay.answer(only=[0, 1])
    rig.advance(closing=True)
    assert rig.last.kind == END
    rig.driver.settle()
    assert rig.log.written == []
    assert not rig.driver.finished


class Job:
    """Two populations and their drivers."""

    def __init__(self, caught: type[Exception] = GamamlError) -> None:
        self.rigs = [Rig(a_plan(generations=1)), Rig(a_plan(generations=1))]
        self.clock = FakeClock()
        driven = [Driven(rig.driver, cast(Any, rig.log)) for rig in self.rigs]
        self.drivers = Drivers(driven, caught, self.clock)

    def advance(self, closing: bool = False) -> None:
        while self.drivers.advance(closing=closing):
            pass

    def evaluate(self) -> None:
        """Evaluate the only generation of both, children and contenders."""
        self.advance()
        for _ in range(2):
            for rig in self.rigs:
                rig.relay.answer()
            self.advance()


def test_error_of_one_population_ends_the_others_and_is_raised_with_the_results() -> None:
    job = Job()
    job.advance()
    job.rigs[0].relay.answer(fitness=np.nan)
    job.rigs[1].relay.answer(only=[2])
    job.advance()
    assert isinstance(job.drivers.error, SelectionError)
    job.rigs[1].relay.answer(only=[])
    job.advance(closing=True)
    assert job.drivers.ended
    job.drivers.finish(updated=True)
    assert [rig.log.written for rig in job.rigs] == [["6 + 0 of 0", "closed"], ["1 + 0 of 0", "closed"]]
    with pytest.raises(SelectionError):
        job.drivers.ends()


def test_error_at_the_very_end_is_raised_with_the_results_and_the_file_is_not_marked() -> None:
    job = Job()
    job.rigs[0].thread.held = True
    job.evaluate()
    job.rigs[0].log.error = RunFileError("the disk is full")
    job.rigs[0].thread.run()
    assert [info.generation for info in job.drivers.infos()] == [0, 0]
    assert job.drivers.ended
    job.drivers.finish(updated=True)
    assert job.rigs[0].log.written == ["closed"]
    assert job.rigs[1].log.written == ["generation 0", "closed, finished"]
    with pytest.raises(RunFileError, match="the disk is full"):
        job.drivers.ends()


def test_bug_that_comes_again_while_the_populations_end_passes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: PopulationDriver, *, closing: bool) -> bool:
        raise ZeroDivisionError("a bug")

    job = Job(Exception)
    monkeypatch.setattr(PopulationDriver, "progress", broken)
    with pytest.raises(ZeroDivisionError):
        job.advance(closing=True)
    assert isinstance(job.drivers.error, ZeroDivisionError)


def test_lost_lock_is_noticed_within_seconds() -> None:
    job = Job()
    job.advance()
    job.rigs[1].log.error = RunFileError("another job took the run over")
    job.clock.now += 11
    job.advance()
    assert job.rigs[0].log.written == ["lock"]
    with pytest.raises(RunFileError, match="took the run over"):
        job.drivers.ends()


def test_bug_passes_through_unless_the_rank_is_alone() -> None:
    for caught in (GamamlError, Exception):
        job = Job(caught)
        job.rigs[0].relay.post = lambda command: 1 / 0  # type: ignore[method-assign,assignment,return-value]
        if caught is GamamlError:
            with pytest.raises(ZeroDivisionError):
                job.advance()
        else:
            job.drivers.advance(closing=False)
            with pytest.raises(ZeroDivisionError):
                job.drivers.ends()


def test_results_say_how_the_populations_ended() -> None:
    job = Job()
    job.evaluate()
    list(job.drivers.infos())
    job.drivers.finish(updated=True)
    for result, _ in job.drivers.ends():
        assert (result.num_generations, result.total_steps, result.interrupted) == (1, 100, False)
        assert result.parameters is None
