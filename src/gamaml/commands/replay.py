"""Repeat one evaluation of a run on one core, and compare it bit by bit with the record in the run file."""

from __future__ import annotations

import logging
import socket
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits  # pyright: ignore[reportMissingTypeStubs] - it has none

from gamaml import problems
from gamaml.engine.evaluation import (
    Address,
    child_key,
    evaluate,
    reevaluation_key,
    use_constants,
)
from gamaml.envs.film import Film
from gamaml.errors import ConfigError
from gamaml.evolution import genetic_algorithm as ga
from gamaml.evolution.noise_table import LazyNoise
from gamaml.evolution.records import NOT_SCIENCE
from gamaml.job.versions import library_versions, machine_description
from gamaml.problems import CompleteProblem
from gamaml.runlog import Run
from gamaml.types import EvaluationKey, Float32Array, Problem, Records

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Replay:
    """What a repeated evaluation gave.

    Attributes:
        address: which evaluation it was.
        record: its record, a structured array of shape ().
        logged: the record in the run file, None where the generation was never finished.
        differences: names of the scientific fields whose bits differ; empty without a logged record.
        reproducible: whether the run says that its evaluations can be repeated.
        changes: what changed since the run: libraries and CPU, as "name: was -> is".
    """

    address: Address
    record: Records
    logged: Records | None
    differences: tuple[str, ...]
    changes: tuple[str, ...]
    reproducible: bool = True


class _Evaluator:
    """Evaluates children and candidates of a run as its ranks did."""

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
        return address, self._evaluate(params, child_key(run.config, generation, index), index, address)

    def candidate(self, generation: int, candidate: int, episode: int) -> tuple[Address, Records]:
        """Re-evaluate a candidate; return the address and the record."""
        run = self._run
        if generation < run.num_generations:
            params = self._parameters(generation, candidate=candidate)
        else:
            params = self._open_candidate(generation, candidate)
        address = Address(run.path, run.config.seed, generation, candidate, episode)
        key = reevaluation_key(run.config, generation, episode)
        item = candidate * run.strategy.num_episodes + episode
        return address, self._evaluate(params, key, item, address)

    def _parameters(self, generation: int, index: int | None = None, candidate: int | None = None) -> Float32Array:
        return self._run.parameters(generation, index, candidate=candidate, problem=self.problem, noise=self._noise)

    def _open_candidate(self, generation: int, candidate: int) -> Float32Array:
        """Return a candidate of the open generation, whose children have no records that say who is best."""
        certain = self._run.strategy.certain(self._run.state(generation))
        if candidate < len(certain):
            return self._parameters(generation, candidate=candidate)
        number = self._run.strategy.population_size
        log.warning("generation %d was not finished: evaluating its %d children first", generation, number)
        fitness = [float(self.child(generation, index)[1]["fitness"]) for index in range(number)]
        best = ga.ranking(fitness)
        _in_range("candidate", candidate, len(certain) + len(best), "failed children are no candidates")
        return self._parameters(generation, best[candidate - len(certain)])

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
    candidate: int | None = None,
    episode: int | None = None,
    problem: Problem | None = None,
    video: Path | None = None,
) -> Replay:
    """Repeat one evaluation.

    Args:
        run: from `runlog.load`.
        generation: the last committed one by default. The open one, `run.num_generations`, has no records
            yet, but its children are known: that is where an evaluation that raised is found.
        index: a child.
        candidate: a re-evaluated candidate; without `index` and `candidate`, the elite that was selected.
        episode: number of the re-evaluation, 0 by default.
        problem: the fitness function; made from the run's config by default.
        video: a file, .mp4 or .gif, that shows the episodes; not together with `problem`.

    Raises:
        ConfigError: there is no such evaluation, or nothing to film.
        EvaluationError: the evaluation raised, perhaps as it did in the run.
    """
    generation = run.num_generations - 1 if generation is None else generation
    _in_range("generation", generation, run.num_generations + 1, "the last of them is the open one")
    if index is None and candidate is None:
        index, candidate = _elite(run, generation)
    if index is not None and episode is not None:
        raise ConfigError(f"episode={episode}: expected with a re-evaluated candidate, got child {index}; leave it out")
    film = Film(video) if video is not None else None
    made = problems.make_problem(run.config, film=film) if problem is None else problems.complete(problem)
    evaluator = _Evaluator(run, made)
    # One thread, as in the run: the number of threads may change the order of a sum.
    with threadpool_limits(1):
        if candidate is None:
            assert index is not None
            address, record = evaluator.child(generation, index)
        else:
            _check_reevaluation(run, candidate, episode or 0)
            address, record = evaluator.candidate(generation, candidate, episode or 0)
    if film is not None:
        film.close()
    logged = None
    if generation < run.num_generations:
        table = run.records if candidate is None else run.reevaluations
        logged = table[generation, int(record["index"]), ...]
    differences = () if logged is None else differing_fields(record, logged)
    return Replay(address, record, logged, differences, _changes(run, evaluator.problem), run.header.reproducible)


def differing_fields(record: Records, logged: Records) -> tuple[str, ...]:
    """Return the names of the scientific fields in which two records of shape () differ by any bit."""
    names = [name for name in logged.dtype.names or () if name not in NOT_SCIENCE]
    return tuple(name for name in names if record[name].tobytes() != logged[name].tobytes())


def text(result: Replay) -> str:
    """Return a replay as a table of both records and a verdict."""
    lines = [str(result.address), *_table(result)]
    if result.logged is None:
        lines.append("the run file holds no record of this evaluation: nothing to compare with")
    elif not result.differences:
        lines.append("equal: every scientific field has the same bits")
    else:
        lines.append(f"different: {', '.join(result.differences)}")
        lines.append(_explanation(result))
    return "\n".join(lines)


def _elite(run: Run, generation: int) -> tuple[int | None, int | None]:
    """Return (index, None) or (None, candidate): who of a generation was selected as elite."""
    _in_range("generation", generation, run.num_generations, "an elite needs a finished generation")
    candidates = np.flatnonzero(run.candidates[generation] == run.lineage[generation, 0])
    if len(candidates):
        return None, int(candidates[0])
    return ga.ranking(run.records[generation]["fitness"])[0], None


def _check_reevaluation(run: Run, candidate: int, episode: int) -> None:
    es = run.config.es is not None
    candidates = "the centre is the only one" if es else "set by ga.elite.candidates"
    if run.config.maml is not None:
        candidates = "the centre of a generation is its child: --index 0"
    _in_range("candidate", candidate, run.strategy.num_candidates, candidates)
    _in_range("episode", episode, run.strategy.num_episodes, f"set by {'es' if es else 'ga.elite'}.episodes")


def _in_range(name: str, value: int, length: int, why: str) -> None:
    if not 0 <= value < length:
        there = f"0 to {length - 1}" if length else "none to exist"
        raise ConfigError(f"{name}={value}: expected {there} ({why}), got {value}; choose another")


def _changes(run: Run, problem: CompleteProblem) -> tuple[str, ...]:
    was = {**run.header.versions, "cpu": run.header.machine.get("cpu", "unknown")}
    now = {**library_versions(run.header.versions), **problem.environment_versions, "cpu": machine_description()["cpu"]}
    return tuple(f"{name}: {was[name]} -> {now[name]}" for name in was if name in now and was[name] != now[name])


def _explanation(result: Replay) -> str:
    if not result.reproducible:
        return "the run says that it is not reproducible: its environment gives other numbers when it is asked again"
    if result.changes:
        return f"since the run, this changed: {'; '.join(result.changes)}; replay with what the run used"
    return "libraries and CPU are those of the run: the task is not a pure function, or it was edited"


def _table(result: Replay) -> list[str]:
    rows = [("field", "replayed", "logged")]
    for name in result.record.dtype.names or ():
        if name not in NOT_SCIENCE:
            logged = "-" if result.logged is None else _value(result.logged[name])
            rows.append((name, _value(result.record[name]), logged))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return [f"  {name:<{widths[0]}}  {one:<{widths[1]}}  {other}".rstrip() for name, one, other in rows]


def _value(field: np.ndarray) -> str:
    """Return a field's numbers in the fewest digits that tell its bits from their neighbours'."""
    return "  ".join(str(value) for value in field.ravel())
