"""Evaluations on one rank: their randomness, their records, and their address if they fail."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gamaml.errors import EvaluationError
from gamaml.evolution import streams
from gamaml.evolution.entries import Entries
from gamaml.evolution.records import fill_records, record_dtype
from gamaml.evolution.streams import Purpose
from gamaml.types import Evaluation, EvaluationKey, Float32Array, Records

if TYPE_CHECKING:
    from gamaml.problems import CompleteProblem


@dataclass(frozen=True)
class Address:
    """The address of one evaluation of one run; `episode` is None for a child's own evaluation.

    Attributes:
        run: path of the run file.
        seed: the population's seed.
        generation: generation of the evaluation.
        index: the child's index, or the contender's for a re-evaluation.
        episode: number of the re-evaluation, None for a child.
    """

    run: Path
    seed: int
    generation: int
    index: int
    episode: int | None = None

    @property
    def replay(self) -> str:
        """The command that repeats exactly this evaluation on one core."""
        what = f"--index {self.index}" if self.episode is None else f"--contender {self.index} --episode {self.episode}"
        return f"gamaml replay {shlex.quote(str(self.run))} --generation {self.generation} {what}"

    def __str__(self) -> str:
        what = f"child {self.index}" if self.episode is None else f"contender {self.index}, episode {self.episode}"
        return f"run {self.run.stem}, generation {self.generation}, {what}, seed {self.seed}"


class ChildKeys:
    """The randomness of all children of one generation.

    Args:
        seed: the population's seed.
        generation: the generation.
        children: the children's entries, which say which children share tasks and episodes.
    """

    def __init__(self, seed: int, generation: int, children: Entries) -> None:
        # Lists, since an entry of a structured array takes a microsecond to read.
        self._task_of, self._episode_of = children["task"].tolist(), children["episode"].tolist()
        self._tasks = streams.keys(seed, Purpose.TASKS, generation, max(self._task_of) + 1)
        self._episodes = streams.keys(seed, Purpose.EPISODES, generation, max(self._episode_of) + 1)

    def __getitem__(self, index: int) -> EvaluationKey:
        return EvaluationKey(task=self._tasks[self._task_of[index]], episode=self._episodes[self._episode_of[index]])


def child_key(seed: int, generation: int, *, task: int, episode: int) -> EvaluationKey:
    """Return the randomness of a child with this task and this episode of its generation."""
    return EvaluationKey(
        task=streams.key(seed, Purpose.TASKS, generation, task),
        episode=streams.key(seed, Purpose.EPISODES, generation, episode),
    )


def reevaluation_key(seed: int, generation: int, episode: int) -> EvaluationKey:
    """Return the randomness of a re-evaluation: fresh tasks and episodes, the same for all contenders."""
    return EvaluationKey(
        task=streams.key(seed, Purpose.CONTENDER_TASKS, generation, episode=episode),
        episode=streams.key(seed, Purpose.CONTENDER_EPISODES, generation, episode=episode),
    )


def measured_constants(problem: CompleteProblem) -> dict[str, list[float]]:
    """Return the constants that a problem measures for a new run, as lists."""
    return {name: array.tolist() for name, array in problem.measure_constants().items()}


def use_constants(problem: CompleteProblem, constants: Mapping[str, list[float]]) -> None:
    """Give a problem the constants of its run."""
    problem.use_constants({name: np.array(values, np.float32) for name, values in constants.items()})


def evaluate_rows(
    problem: CompleteProblem, params: Float32Array, keys: Sequence[EvaluationKey]
) -> Sequence[Evaluation]:
    """Evaluate one candidate per key, all at once.

    Args:
        problem: the fitness function.
        params: float32[problem.batch_size, num_params], a candidate per row; rows beyond the keys are overwritten.
        keys: the randomness of each, at most as many as rows.
    """
    number, size = len(keys), len(params)
    if size == 1:
        return [problem.evaluate(params[0], keys[0])]
    # Always the full batch, because a program of another shape rounds differently.
    params[number:] = params[number - 1]
    padded = [*keys, *[keys[-1]] * (size - number)]
    return problem.evaluate_batch(params, padded)[:number]


def evaluate(
    problem: CompleteProblem,
    params: Float32Array,
    keys: Sequence[EvaluationKey],
    *,
    items: npt.NDArray[np.int32],
    address: Callable[[int], Address],
    rank: int,
    host: str,
) -> Records:
    """Evaluate as many candidates as the problem takes at once, or fewer.

    Args:
        problem: the fitness function.
        params: float32[problem.batch_size, num_params], a candidate per row; spare rows are overwritten.
        keys: the randomness of each candidate; at most one per row.
        items: int32[len(keys)], the records' indices.
        address: the address of an item, named in errors.
        rank: world rank, recorded and named in errors.
        host: named in errors.

    Returns:
        One record per key.

    Raises:
        EvaluationError: the problem raised.
    """
    number = len(keys)
    records = np.zeros(number, record_dtype(problem.num_rounds, tuple(problem.scalars)))
    start = time.perf_counter()
    try:
        evaluations = evaluate_rows(problem, params, keys)
        seconds = (time.perf_counter() - start) / number
        fill_records(records, items, evaluations, problem.scalars, seconds=seconds, rank=rank)
    except (Exception, SystemExit) as error:  # a user's problem may call sys.exit
        first = address(int(items[0]))
        others = f" or one of the {number - 1} evaluated with it" if number > 1 else ""
        raise EvaluationError(
            f"rank {rank} on {host}: {first}{others}: {type(error).__name__}: {error}; repeat it with: {first.replay}"
        ) from error
    return records
