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
from gamaml.evolution.noise_table import LazyNoise
from gamaml.evolution.ranks import ranking
from gamaml.evolution.records import NOT_SCIENCE
from gamaml.job.versions import library_versions, machine_description
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

    def __init__(self, run: Run, problem: Problem) -> None:
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
            params = self._open_candidate(generation, contender)
        address = Address(run.path, run.config.seed, generation, contender, episode)
        key = reevaluation_key(run.config.seed, generation, episode)
        item = contender * run.strategy.sizes.num_episodes + episode
        return address, self._evaluate(params, key, item, address)

    def _parameters(self, generation: int, index: int | None = None, contender: int | None = None) -> Float32Array:
        return self._run.parameters(generation, index, contender=contender, problem=self.problem, noise=self._noise)

    def _open_candidate(self, generation: int, contender: int) -> Float32Array:
        """Return a contender of the open generation, whose children have no records that say who is best."""
        certain = self._run.strategy.contenders(self._run.state(generation), None)
        if contender < len(certain):
            return self._parameters(generation, contender=contender)
        number = self._run.strategy.sizes.population_size
        log.warning("generation %d was not finished: evaluating its %d children first", generation, number)
        fitness = [float(self.child(generation, index)[1]["fitness"]) for index in range(number)]
        best = ranking(fitness)
        _in_range("contender", contender, len(certain) + len(best), "failed children are no candidates")
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
    video: Path | None = None,
) -> Replay:
    """Repeat one evaluation.

    Args:
        run: from `runlog.load`.
        generation: the last committed one by default. The open one, `run.num_generations`, has no records
            yet, but its children are known: that is where an evaluation that raised is found.
        index: a child.
        contender: a re-evaluated contender; without `index` and `contender`, the elite that was selected.
        episode: number of the re-evaluation, 0 by default.
        problem: the fitness function; made from the run's config by default.
        video: a file, .mp4 or .gif, that shows the episodes; not together with `problem`.

    Raises:
        ConfigError: there is no such evaluation, or nothing to film.
        EvaluationError: the evaluation raised, perhaps as it did in the run.
    """
    generation = run.num_generations - 1 if generation is None else generation
    _in_range("generation", generation, run.num_generations + 1, "the last of them is the open one")
    if index is None and contender is None:
        index, contender = _elite(run, generation)
    if index is not None and episode is not None:
        raise ConfigError(f"episode={episode}: expected with a re-evaluated contender, got child {index}; leave it out")
    film = Film(video) if video is not None else None
    evaluator = _Evaluator(run, problems.make_problem(run.config, film=film) if problem is None else problem)
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
    """Return (index, None) or (None, contender): who of a generation was selected as elite."""
    _in_range("generation", generation, run.num_generations, "an elite needs a finished generation")
    contender = int(run.summary["contender"][generation])
    return (None, contender) if contender >= 0 else (ranking(run.records[generation]["fitness"])[0], None)


def _check_reevaluation(run: Run, contender: int, episode: int) -> None:
    sizes = run.strategy.sizes
    _in_range(
        "contender", contender, sizes.num_contenders, f"the most that strategy {run.config.strategy!r} re-evaluates"
    )
    _in_range("episode", episode, sizes.num_episodes, "re-evaluations of each")


def _in_range(name: str, value: int, length: int, why: str) -> None:
    if not 0 <= value < length:
        there = f"0 to {length - 1}" if length else "none to exist"
        raise ConfigError(f"{name}={value}: expected {there} ({why}), got {value}; choose another")


def _changes(run: Run, problem: Problem) -> tuple[str, ...]:
    was = {**run.header.versions, "cpu": run.header.machine.get("cpu", "unknown")}
    of_environment: dict[str, str] = getattr(problem, "environment_versions", {})
    now = {**library_versions(run.header.versions), **of_environment, "cpu": machine_description()["cpu"]}
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
