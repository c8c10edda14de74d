"""Repeat one evaluation of a run on one core, and compare it bit by bit with the record in the run file."""

from __future__ import annotations

import logging
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gamaml import problems
from gamaml.engine.evaluation import (
    Address,
    child_key,
    evaluate,
    reevaluation_key,
    use_constants,
)
from gamaml.envs.film import Film
from gamaml.errors import ConfigError, check_index
from gamaml.evolution.noise_table import LazyNoise
from gamaml.evolution.ranks import ranking
from gamaml.evolution.records import NOT_SCIENCE
from gamaml.job.versions import library_versions, machine_description
from gamaml.types import EvaluationKey, Float32Array, Problem, Records

if TYPE_CHECKING:
    from gamaml.problems import CompleteProblem
    from gamaml.runlog import Run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Replay:
    """The result of a repeated evaluation.

    Attributes:
        address: the evaluation.
        record: its record, a structured array of shape ().
        logged: the record in the run file, None if the generation was never finished.
        differences: names of the scientific fields whose bits differ; empty without a logged record.
        changes: libraries and CPU that changed since the run, as "name: was -> is".
        reproducible: whether the run's evaluations can be repeated, as the run file states.
    """

    address: Address
    record: Records
    logged: Records | None
    differences: tuple[str, ...]
    changes: tuple[str, ...]
    reproducible: bool = True


class _Evaluator:
    """Evaluates children and contenders of a run as its ranks did."""

    def __init__(self, run: Run, problem: CompleteProblem) -> None:
        self._run = run
        self.problem = problem
        use_constants(problem, run.header.constants)
        self._noise = LazyNoise(size=run.config.noise.size, seed=run.config.noise.seed)

    def child(self, generation: int, index: int) -> tuple[Address, Records]:
        """Evaluate a child; return its address and its record."""
        run = self._run
        address = Address(run.path, run.config.seed, generation, index)
        params = self._parameters(generation, index)
        child = run.strategy.children(run.state(generation))[index]
        key = child_key(run.config.seed, generation, task=int(child["task"]), episode=int(child["episode"]))
        return address, self._evaluate(params, key, index, address)

    def contender(self, generation: int, contender: int, episode: int) -> tuple[Address, Records]:
        """Re-evaluate a contender; return the address and the record."""
        run = self._run
        if generation < run.num_generations:
            params = self._parameters(generation, contender=contender)
        else:
            params = self._open_contender(generation, contender)
        address = Address(run.path, run.config.seed, generation, contender, episode)
        key = reevaluation_key(run.config.seed, generation, episode)
        item = contender * run.header.sizes.num_episodes + episode
        return address, self._evaluate(params, key, item, address)

    def _parameters(self, generation: int, index: int | None = None, contender: int | None = None) -> Float32Array:
        return self._run.parameters(generation, index, contender=contender, problem=self.problem, noise=self._noise)

    def _open_contender(self, generation: int, contender: int) -> Float32Array:
        """Return a contender of the open generation, whose children must be evaluated to rank them."""
        certain = self._run.strategy.contenders(self._run.state(generation), None)
        if contender < len(certain):
            return self._parameters(generation, contender=contender)
        number = self._run.header.sizes.population_size
        log.warning("generation %d was not finished: evaluating its %d children first", generation, number)
        fitness = [float(self.child(generation, index)[1]["fitness"]) for index in range(number)]
        best = ranking(fitness)
        check_index("contender", contender, len(certain) + len(best), "failed children are no contenders")
        return self._parameters(generation, best[contender - len(certain)])

    def _evaluate(self, params: Float32Array, key: EvaluationKey, item: int, address: Address) -> Records:
        return evaluate(
            self.problem,
            params[np.newaxis],
            [key],
            items=np.array([item], np.int32),
            address=lambda _: address,
            rank=0,
            host=socket.gethostname(),
        )[0, ...]


def replay(
    run: Run,
    *,
    generation: int | None = None,
    index: int | None = None,
    contender: int | None = None,
    episode: int | None = None,
    problem: Problem | None = None,
    video: Path | str | None = None,
) -> Replay:
    """Repeat one evaluation of a run on one core.

    Args:
        run: from `gamaml.load`.
        generation: the last committed one by default. The open one, `run.num_generations`, has no records yet, but its
            children are known; an evaluation that raised belongs to it.
        index: a child.
        contender: a re-evaluated contender; without `index` and `contender`, the incumbent's.
        episode: number of the re-evaluation, 0 by default.
        problem: the fitness function; made from the run's config by default.
        video: a file, .mp4 or .gif, that shows the episodes; not together with `problem`.

    Returns:
        The record, and the fields in which it differs from the logged one.

    Raises:
        ConfigError: there is no such evaluation, or nothing to film.
        EvaluationError: the evaluation raised, perhaps as it did in the run.
    """
    # Imported here, so that `import gamaml` loads only NumPy.
    from threadpoolctl import threadpool_limits  # pyright: ignore[reportMissingTypeStubs] - it has none

    generation = run.num_generations - 1 if generation is None else generation
    check_index("generation", generation, run.num_generations + 1, "the last of them is the open one")
    if index is None and contender is None:
        index, contender = _incumbent(run, generation)
    if index is not None and episode is not None:
        raise ConfigError(f"episode={episode}: expected with a re-evaluated contender, got child {index}; leave it out")
    film = Film(Path(video)) if video is not None else None
    made = problems.make_problem(run.config, film=film) if problem is None else problems.complete(problem)
    evaluator = _Evaluator(run, made)
    # One thread, as in the run: the number of threads may change the order of a sum.
    with threadpool_limits(1):
        if contender is None:
            assert index is not None
            address, record = evaluator.child(generation, index)
        else:
            _check_reevaluation(run, contender, episode or 0)
            address, record = evaluator.contender(generation, contender, episode or 0)
    if film is not None:
        film.close()
    logged = None
    if generation < run.num_generations:
        table = run.records if contender is None else run.reevaluations
        logged = table[generation, int(record["index"]), ...]
    differences = () if logged is None else differing_fields(record, logged)
    return Replay(address, record, logged, differences, _changes(run, evaluator.problem), run.header.reproducible)


def differing_fields(record: Records, logged: Records) -> tuple[str, ...]:
    """Return the names of the scientific fields in which two records of shape () differ by any bit."""
    names = [name for name in logged.dtype.names or () if name not in NOT_SCIENCE]
    return tuple(name for name in names if record[name].tobytes() != logged[name].tobytes())


def _incumbent(run: Run, generation: int) -> tuple[int | None, int | None]:
    """Return a generation's incumbent as (index, None) or (None, contender)."""
    check_index("generation", generation, run.num_generations, "an incumbent needs a finished generation")
    contender = int(run.summary["contender"][generation])
    return (None, contender) if contender >= 0 else (ranking(run.records[generation]["fitness"])[0], None)


def _check_reevaluation(run: Run, contender: int, episode: int) -> None:
    sizes = run.header.sizes
    most = f"the most that strategy {run.config.strategy!r} re-evaluates"
    check_index("contender", contender, sizes.num_contenders, most)
    check_index("episode", episode, sizes.num_episodes, "re-evaluations of each")


def _changes(run: Run, problem: CompleteProblem) -> tuple[str, ...]:
    was = {**run.header.versions, "cpu": run.header.machine.get("cpu", "unknown")}
    now = {**library_versions(run.header.versions), **problem.environment_versions, "cpu": machine_description()["cpu"]}
    return tuple(f"{name}: {was[name]} -> {now[name]}" for name in was if name in now and was[name] != now[name])
