"""One evaluation on one rank: its candidate, its randomness, its record, and its address when it fails."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gamaml import streams
from gamaml.config import Config
from gamaml.errors import EvaluationError
from gamaml.population import fill_record, record_dtype
from gamaml.streams import Purpose
from gamaml.types import EvaluationKey, Float32Array, Problem, Records


@dataclass(frozen=True)
class Address:
    """Which evaluation of which run this is; `episode` and `candidate` are None for a child's own evaluation.

    Attributes:
        run: path of the run file.
        seed: the population's seed.
        generation: generation of the evaluation.
        index: the child's index, or the candidate's for a re-evaluation.
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
        what = f"--index {self.index}" if self.episode is None else f"--candidate {self.index} --episode {self.episode}"
        return f"gamaml replay {shlex.quote(str(self.run))} --generation {self.generation} {what}"

    def __str__(self) -> str:
        what = f"child {self.index}" if self.episode is None else f"candidate {self.index}, episode {self.episode}"
        return f"run {self.run.stem}, generation {self.generation}, {what}, seed {self.seed}"


def child_key(config: Config, generation: int, index: int) -> EvaluationKey:
    """Return the randomness of a child's evaluation; children share tasks unless `inner.share_tasks` is false."""
    task_index = 0 if config.inner.share_tasks else index
    return EvaluationKey(
        task=streams.key(config.seed, Purpose.TASKS, generation, task_index),
        episode=streams.key(config.seed, Purpose.EPISODES, generation, index),
    )


def reevaluation_key(config: Config, generation: int, episode: int) -> EvaluationKey:
    """Return the randomness of a re-evaluation: fresh tasks and episodes, the same for all candidates."""
    return EvaluationKey(
        task=streams.key(config.seed, Purpose.ELITE_TASKS, generation, episode=episode),
        episode=streams.key(config.seed, Purpose.ELITE_EPISODES, generation, episode=episode),
    )


def evaluate(
    problem: Problem,
    params: Float32Array,
    key: EvaluationKey,
    *,
    item: int,
    address: Address,
    rank: int,
    host: str,
) -> Records:
    """Evaluate one candidate.

    Args:
        problem: the fitness function.
        params: float32[num_params].
        key: its randomness.
        item: the record's index.
        address: named in errors.
        rank: world rank, recorded and named in errors.
        host: named in errors.

    Returns:
        One record, a structured array of shape ().

    Raises:
        EvaluationError: the problem raised.
    """
    record = np.zeros((), record_dtype(problem.num_rounds, problem.scalars))
    start = time.perf_counter()
    try:
        evaluation = problem.evaluate(params, key)
        seconds = time.perf_counter() - start
        fill_record(record, item, evaluation, problem.scalars, seconds=seconds, rank=rank)
    except (Exception, SystemExit) as error:  # code of others may call sys.exit
        raise EvaluationError(
            f"rank {rank} on {host}: {address}: {type(error).__name__}: {error}; repeat it with: {address.replay}"
        ) from error
    return record
